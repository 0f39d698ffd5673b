# SPDX-License-Identifier: Apache-2.0
"""An APDU chip on a bus that fails: each fault is the right chip error, in time, and the next contact works."""

import time
from collections.abc import Iterator

import pytest

from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipFull, ChipRefused
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, SLOTS, Algorithm, SecureElement, SlotState
from birthmark.silicon.simulator.commands import Instruction, StatusWord
from birthmark.silicon.simulator.faults import BusFaults, Fault
from support.chips import SimulatedChip, simulated_chip

DIGEST = bytes(32)
CERTIFICATE = bytes(range(250)) * 6
AT_MOST_S = 1.0


@pytest.fixture(scope="module")
def process() -> Iterator[SimulatedChip]:
    with simulated_chip() as chip:
        yield chip


@pytest.fixture
def bus(process: SimulatedChip) -> Iterator[SimulatedI2C]:
    """Return the bus of a chip with a key in its first slot and nothing armed."""
    connected = SimulatedI2C(process.socket)
    BusFaults(connected).clear()
    chip = APDUChip(connected)
    for slot in SLOTS:
        chip.erase(slot)
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    yield connected
    connected.deinit()


@pytest.fixture
def faults(bus: SimulatedI2C) -> BusFaults:
    return BusFaults(bus)


@pytest.fixture
def chip(bus: SimulatedI2C) -> APDUChip:
    """Return the chip, in contact."""
    connected = APDUChip(bus)
    connected.state(SLOT_IDENTITY)
    return connected


@pytest.mark.parametrize("fault", [Fault.BREAK_BLOCKS_FROM_CHIP, Fault.BREAK_BLOCKS_TO_CHIP, Fault.NAK_TRANSFERS])
def test_a_few_faults_are_mended_without_a_word(chip: APDUChip, faults: BusFaults, fault: Fault) -> None:
    faults.arm(fault, 3)
    assert chip.sign(SLOT_IDENTITY, DIGEST)


@pytest.mark.parametrize("fault", [Fault.BREAK_BLOCKS_FROM_CHIP, Fault.BREAK_BLOCKS_TO_CHIP, Fault.NAK_TRANSFERS])
def test_many_faults_are_a_communication_error_in_time(chip: APDUChip, faults: BusFaults, fault: Fault) -> None:
    faults.arm(fault, 10_000)
    start = time.monotonic()
    with pytest.raises(ChipCommunication):
        chip.sign(SLOT_IDENTITY, DIGEST)
    assert time.monotonic() - start < AT_MOST_S
    faults.clear()
    assert chip.sign(SLOT_IDENTITY, DIGEST)


def test_a_chip_that_never_acknowledges_is_absent(bus: SimulatedI2C, faults: BusFaults) -> None:
    faults.arm(Fault.NAK_TRANSFERS, 10_000)
    with pytest.raises(ChipAbsent):
        APDUChip(bus).identity()


def test_a_hanging_chip_ends_the_wait(chip: APDUChip, faults: BusFaults) -> None:
    faults.arm(Fault.HANG_AT_COMMAND, instruction=Instruction.SIGN)
    assert chip.state(SLOT_IDENTITY) is SlotState.KEYED
    start = time.monotonic()
    with pytest.raises(ChipCommunication):
        chip.sign(SLOT_IDENTITY, DIGEST)
    assert time.monotonic() - start < AT_MOST_S


def test_a_pulled_adapter_is_a_communication_error_at_once(chip: APDUChip, faults: BusFaults) -> None:
    faults.arm(Fault.DROP_AFTER_TRANSFERS, 1)
    with pytest.raises(ChipCommunication):
        chip.sign(SLOT_IDENTITY, DIGEST)


@pytest.mark.parametrize(
    ("status", "error"), [(StatusWord.FAILED, ChipRefused), (StatusWord.NO_MEMORY, ChipFull), (0x6FFF, ChipRefused)]
)
def test_an_error_status_is_a_refusal(chip: APDUChip, faults: BusFaults, status: int, error: type[Exception]) -> None:
    faults.arm(Fault.REFUSE_COMMANDS, 1, argument=status, instruction=Instruction.ERASE)
    with pytest.raises(error, match=f"{status:04X}"):
        chip.erase(SLOT_NEXT)
    chip.erase(SLOT_NEXT)


@pytest.mark.parametrize(
    ("fault", "state"),
    [(Fault.CUT_BEFORE_COMMAND, SlotState.EMPTY), (Fault.CUT_AFTER_COMMAND, SlotState.KEYED)],
)
def test_after_a_power_cut_the_chip_has_done_all_or_nothing(
    process: SimulatedChip, chip: APDUChip, faults: BusFaults, fault: Fault, state: SlotState
) -> None:
    faults.arm(fault, instruction=Instruction.GENERATE)
    with pytest.raises(ChipCommunication):
        chip.generate_keypair(SLOT_NEXT, Algorithm.P256)
    with pytest.raises(ChipAbsent):
        chip.state(SLOT_NEXT)
    chip.close()
    again = process.open()
    assert again.state(SLOT_NEXT) is state
    again.close()


def test_a_fault_can_be_armed_before_the_master_comes(process: SimulatedChip) -> None:
    with BusFaults.at(process.socket) as faults:
        faults.arm(Fault.REFUSE_COMMANDS, 1, argument=StatusWord.FAILED, instruction=Instruction.GET_STATUS)
    chip = process.open()
    with pytest.raises(ChipRefused):
        chip.active_slot()
    chip.close()


def test_a_message_that_arms_nothing_is_refused(bus: SimulatedI2C) -> None:
    for message in (b"", b"\xff" * 6, b"\x01"):
        with pytest.raises(OSError, match="refused"):
            bus.control(message)


def personalise(chip: SecureElement) -> None:
    chip.generate_keypair(SLOT_NEXT, Algorithm.P256)
    chip.import_certificate(SLOT_NEXT, CERTIFICATE)


def observe(chip: SecureElement) -> SlotState:
    """Return the state of the slot, after proving that what it holds is whole."""
    state = chip.state(SLOT_NEXT)
    assert chip.get_certificate(SLOT_NEXT) == (CERTIFICATE if state is SlotState.CERTIFIED else None)
    if state is not SlotState.EMPTY:
        assert chip.sign(SLOT_NEXT, DIGEST)
        assert chip.public_key(SLOT_NEXT)
    assert chip.active_slot() == SLOT_IDENTITY
    return state


def cut_after(process: SimulatedChip, transfers: int) -> SlotState | None:
    """Cut the power after so many bus transfers; return what the next contact finds, None when it was not cut."""
    bus = SimulatedI2C(process.socket)
    chip = APDUChip(bus)
    chip.erase(SLOT_NEXT)
    BusFaults(bus).arm(Fault.CUT_AFTER_TRANSFERS, transfers)
    try:
        personalise(chip)
    except (ChipCommunication, ChipAbsent):
        chip.close()
    else:
        BusFaults(bus).clear()
        chip.close()
        return None
    after = process.open()
    found = observe(after)
    after.erase(SLOT_NEXT)
    personalise(after)
    assert observe(after) is SlotState.CERTIFIED
    after.close()
    return found


def test_power_cut_between_any_two_bus_frames_leaves_a_whole_state_that_can_be_finished(process: SimulatedChip) -> None:
    found = []
    while (state := cut_after(process, len(found))) is not None:
        found.append(state)
    order = [SlotState.EMPTY, SlotState.KEYED, SlotState.CERTIFIED]
    assert sorted(set(found), key=order.index) == order
    assert [order.index(state) for state in found] == sorted(order.index(state) for state in found)
