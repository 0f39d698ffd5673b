# SPDX-License-Identifier: Apache-2.0
"""The host's side of T=1': retries, RESYNCH, time extensions, and waits that end."""

import errno
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birthmark.silicon.simulator.armed import MESSAGE, Fault
from birthmark_mcu import blocks
from birthmark_mcu.bus import I2C
from birthmark_mcu.chip import APPLET
from birthmark_mcu.errors import LinkError, LinkFailed, NoChip
from birthmark_mcu.link import FIRST_CONTACT_MS, RETRY_LIMIT, WTX_LIMIT, Link
from support.chip_buses import LocalBus, ScriptedBus

SELECT = b"\x00\xa4\x04\x00" + bytes((len(APPLET),)) + APPLET + b"\x00"
COMMAND = b"\x80\x02\x00\x00\x00"
RESPONSE = b"\x90\x00"


def answer(pcb: int, inf: bytes = b"") -> bytes:
    return blocks.encode(blocks.NAD_FROM_CHIP, pcb, inf)


def broken(block: bytes) -> bytes:
    return block[:-1] + bytes((block[-1] ^ 0x80,))


RESYNCHED = answer(0xE0)
WTX = answer(0xC3, b"\x02")


@pytest.fixture
def bus(tmp_path: Path) -> LocalBus:
    return LocalBus(tmp_path / "chip.json")


@pytest.fixture
def link(bus: LocalBus) -> Link:
    opened = Link(bus)
    opened.open()
    opened.exchange(SELECT)
    return opened


def arm(bus: LocalBus, fault: Fault, count: int) -> None:
    bus.faults.take_message(MESSAGE.pack(fault, count, 0, 0))


def test_first_contact_learns_the_chips_block_size(link: Link) -> None:
    assert link.chip_information_bytes == 1024


def test_nothing_on_the_bus_is_no_chip_after_the_first_contact_time() -> None:
    start = time.monotonic()
    with pytest.raises(NoChip):
        Link(ScriptedBus([])).open()
    assert time.monotonic() - start < 2 * FIRST_CONTACT_MS / 1000


class BrokenBus(I2C):
    def writeto(self, address: int, data: bytes) -> int:
        raise OSError(errno.ENOTCONN, f"no wire to {address} for {len(data)} bytes")


def test_a_broken_bus_is_told_at_once_and_not_taken_for_a_busy_chip() -> None:
    with pytest.raises(LinkFailed, match="no wire"):
        Link(BrokenBus()).open()


def test_another_kind_of_chip_is_not_taken_for_ours() -> None:
    with pytest.raises(LinkFailed):
        Link(ScriptedBus([b"\x00" * 8] * (RETRY_LIMIT + 1))).open()


@pytest.mark.parametrize("cip", ["", "0100", "010002000401f4", "0100020004000000", "01000200040064ffff00"])
def test_unusable_interface_parameters_are_refused(cip: str) -> None:
    with pytest.raises(LinkFailed):
        Link(ScriptedBus([RESYNCHED, answer(0xE4, bytes.fromhex(cip))])).open()


@pytest.mark.parametrize("fault", [Fault.BREAK_BLOCKS_FROM_CHIP, Fault.BREAK_BLOCKS_TO_CHIP])
@pytest.mark.parametrize("count", range(1, RETRY_LIMIT + 1))
def test_broken_blocks_up_to_the_limit_are_mended(link: Link, bus: LocalBus, fault: Fault, count: int) -> None:
    arm(bus, fault, count)
    assert link.exchange(COMMAND).endswith(RESPONSE)


@pytest.mark.parametrize("fault", [Fault.BREAK_BLOCKS_FROM_CHIP, Fault.BREAK_BLOCKS_TO_CHIP])
def test_more_broken_blocks_fail_and_leave_a_link_that_works(link: Link, bus: LocalBus, fault: Fault) -> None:
    arm(bus, fault, RETRY_LIMIT + 1)
    with pytest.raises(LinkFailed):
        link.exchange(COMMAND)
    assert link.exchange(COMMAND).endswith(RESPONSE)


def test_after_the_retry_limit_the_link_is_set_back_with_resynch() -> None:
    bus = ScriptedBus([broken(answer(0x00, RESPONSE))] * (RETRY_LIMIT + 1) + [RESYNCHED, answer(0x00, RESPONSE)])
    link = Link(bus)
    with pytest.raises(LinkFailed, match="too many broken blocks"):
        link.exchange(COMMAND)
    assert bus.written[1:-1] == [blocks.encode(blocks.NAD_TO_CHIP, 0x81)] * RETRY_LIMIT
    assert bus.written[-1] == blocks.encode(blocks.NAD_TO_CHIP, 0xC0)
    assert link.exchange(COMMAND) == RESPONSE
    assert bus.written[-1][1] == 0x00  # N(S) starts again


def test_a_command_that_the_chip_already_has_is_not_sent_again() -> None:
    # The chip has the command, lost our request to repeat its answer, and says so with the next number.
    bus = ScriptedBus([broken(answer(0x00, RESPONSE)), answer(0x91), answer(0x00, RESPONSE)])
    assert Link(bus).exchange(COMMAND) == RESPONSE
    assert [frame[1] for frame in bus.written] == [0x00, 0x81, 0x81]


def test_a_time_extension_is_granted_and_waited_for() -> None:
    bus = ScriptedBus([WTX, WTX, answer(0x00, RESPONSE)])
    assert Link(bus).exchange(COMMAND) == RESPONSE
    assert bus.written[1:] == [blocks.encode(blocks.NAD_TO_CHIP, 0xE3, b"\x02")] * 2


def test_time_extensions_come_to_an_end() -> None:
    with pytest.raises(LinkFailed):
        Link(ScriptedBus([WTX] * (WTX_LIMIT + 1) + [RESYNCHED])).exchange(COMMAND)


def test_a_silent_chip_ends_the_wait_after_its_block_waiting_time(link: Link, bus: LocalBus) -> None:
    arm(bus, Fault.HANG_AT_COMMAND, 1)
    start = time.monotonic()
    with pytest.raises(LinkFailed, match=r"silent.*RESYNCH"):
        link.exchange(COMMAND)
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("pcb", [0x40, 0x90, 0xE0, 0xC2])
def test_a_block_out_of_turn_is_a_failed_link(pcb: int) -> None:
    script = [answer(pcb, b"" if pcb & 0x80 else RESPONSE)] * 2
    with pytest.raises(LinkFailed):
        Link(ScriptedBus(script)).exchange(COMMAND)


def test_an_answer_longer_than_agreed_is_a_broken_block() -> None:
    bus = ScriptedBus([answer(0x00, bytes(1025)), answer(0x00, RESPONSE)])
    assert Link(bus).exchange(COMMAND) == RESPONSE


@pytest.mark.parametrize("length", [1, 253, 254, 255, 508, 509, 1000])
def test_a_long_command_goes_out_in_chained_blocks(length: int) -> None:
    parts = -(-length // 254)
    bus = ScriptedBus([answer(0x80 | ((part + 1) & 1) << 4) for part in range(parts - 1)] + [answer(0x00, RESPONSE)])
    apdu = bytes(index & 0xFF for index in range(length))
    assert Link(bus).exchange(apdu) == RESPONSE
    assert b"".join(frame[4:-2] for frame in bus.written) == apdu
    assert [bool(frame[1] & 0x20) for frame in bus.written] == [True] * (parts - 1) + [False]


def test_a_long_answer_comes_in_chained_blocks() -> None:
    bus = ScriptedBus([answer(0x20, b"a" * 1024), answer(0x60, b"b" * 1024), answer(0x00, RESPONSE)])
    assert Link(bus).exchange(COMMAND) == b"a" * 1024 + b"b" * 1024 + RESPONSE
    assert [frame[1] for frame in bus.written] == [0x00, 0x90, 0x80]


@pytest.mark.parametrize("inf", [b"", bytes(1024)])
def test_a_chained_answer_without_end_comes_to_an_end(inf: bytes) -> None:
    bus = ScriptedBus([answer(0x20 | (number & 1) << 6, inf) for number in range(20)])
    with pytest.raises(LinkFailed, match="no end"):
        Link(bus).exchange(COMMAND)


FAULTS = st.lists(
    st.tuples(
        st.sampled_from([Fault.BREAK_BLOCKS_FROM_CHIP, Fault.BREAK_BLOCKS_TO_CHIP, Fault.NAK_TRANSFERS]),
        st.integers(0, RETRY_LIMIT + 2),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FAULTS)
def test_whatever_breaks_the_answer_is_right_or_there_is_none(tmp_path: Path, faults: list[tuple[Fault, int]]) -> None:
    bus = LocalBus(tmp_path / "chip.json")
    link = Link(bus)
    link.open()
    right = link.exchange(SELECT)
    for fault, count in faults:
        if count:
            arm(bus, fault, count)
        try:
            assert link.exchange(SELECT) == right
        except LinkError:
            link.open()
