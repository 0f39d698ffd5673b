# SPDX-License-Identifier: Apache-2.0
"""What the chip refuses, beyond the SecureElement contract: raw APDUs as an attacker would send them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.core import registry
from birthmark.evidence import pkix
from birthmark.silicon.port import SLOT_IDENTITY
from birthmark.silicon.simulator.commands import Instruction, StatusWord
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.memory import KeyAttribute, LifeCycle
from birthmark_mcu.apdu import Channel, encode
from birthmark_mcu.chip import APPLET, SecureElement
from birthmark_mcu.errors import Refused
from birthmark_mcu.link import Link
from support.chip_buses import LocalBus
from support.chips import CHIP_SERIAL, certify_ak

NONCE = bytes(range(32))


@pytest.fixture
def bus(tmp_path: Path) -> LocalBus:
    return LocalBus(tmp_path / "chip.json")


@pytest.fixture
def chip(bus: LocalBus) -> SecureElement:
    """Return a chip that its maker has finished, with a key in its first slot."""
    inject(bus, certify_ak)
    element = SecureElement(bus)
    element.generate_keypair(SLOT_IDENTITY)
    return element


@pytest.fixture
def link(bus: LocalBus) -> Iterator[Link]:
    """Return the bare link to a new chip."""
    link = Link(bus)
    link.open()
    yield link
    bus.deinit()


def status_of(chip: SecureElement, ins: int, p1: int = 0, data: bytes = b"") -> int:
    with pytest.raises(Refused) as caught:
        chip.command(ins, p1, data=data, expected=256)
    return caught.value.status


@pytest.mark.parametrize("slot", [0, 1])
def test_a_private_key_is_never_given_out(chip: SecureElement, slot: int) -> None:
    assert status_of(chip, Instruction.EXPORT_KEY, slot) == StatusWord.NOT_ALLOWED


def test_a_private_key_is_never_taken_in(chip: SecureElement) -> None:
    assert status_of(chip, Instruction.IMPORT_KEY, 1, bytes(32)) == StatusWord.UNKNOWN_INSTRUCTION
    assert chip.state("device-identity.next") == "empty"


@pytest.mark.parametrize("attribute", list(KeyAttribute))
def test_a_key_with_weak_attributes_stays_inside_too(chip: SecureElement, attribute: KeyAttribute) -> None:
    chip.command(Instruction.GENERATE, 0, 1, data=bytes((attribute,)), expected=256)
    assert status_of(chip, Instruction.EXPORT_KEY) == StatusWord.NOT_ALLOWED


ATTRIBUTES = {
    KeyAttribute.NONE: (False, (registry.CAPABILITY_SIGN,)),
    KeyAttribute.EXPORTABLE: (True, (registry.CAPABILITY_SIGN,)),
    KeyAttribute.DECRYPT: (False, (registry.CAPABILITY_SIGN, registry.CAPABILITY_DECRYPT)),
    KeyAttribute.EXPORTABLE | KeyAttribute.DECRYPT: (True, (registry.CAPABILITY_SIGN, registry.CAPABILITY_DECRYPT)),
}


@pytest.mark.parametrize("attributes", ATTRIBUTES)
def test_the_evidence_tells_the_truth_about_the_keys_attributes(chip: SecureElement, attributes: KeyAttribute) -> None:
    chip.command(Instruction.GENERATE, 0, 1, data=bytes((attributes,)), expected=256)
    evidence = pkix.read(chip.attest(SLOT_IDENTITY, NONCE))
    extractable, purpose = ATTRIBUTES[attributes]
    assert (evidence.extractable, evidence.never_extractable) == (extractable, not extractable)
    assert evidence.purpose == purpose
    assert evidence.local


@pytest.mark.parametrize("algorithm", ["P-256", "P-384"])
def test_the_evidence_names_the_key_the_chip_and_the_nonce(chip: SecureElement, algorithm: str) -> None:
    spki = chip.generate_keypair(SLOT_IDENTITY, algorithm)
    evidence = pkix.read(chip.attest(SLOT_IDENTITY, NONCE))
    assert (evidence.spki, evidence.nonce, evidence.key_identifier) == (spki, NONCE, SLOT_IDENTITY)
    assert (evidence.hw_model, evidence.hw_serial, evidence.firmware) == ("optiga-trust-m", CHIP_SERIAL, "1.0.0")


@pytest.mark.parametrize(("life_cycle", "debugstat"), [(LifeCycle.OPERATIONAL, 3), (LifeCycle.DEBUG, 0)])
def test_the_evidence_tells_an_open_debug_port(bus: LocalBus, life_cycle: LifeCycle, debugstat: int) -> None:
    inject(bus, certify_ak, life_cycle)
    chip = SecureElement(bus)
    chip.generate_keypair(SLOT_IDENTITY)
    assert pkix.read(chip.attest(SLOT_IDENTITY, NONCE)).debugstat == debugstat


@pytest.mark.parametrize("data", [b"\x04", b"\xff", b"\x00\x00"])
def test_unknown_key_attributes_are_refused(chip: SecureElement, data: bytes) -> None:
    with pytest.raises(Refused) as caught:
        chip.command(Instruction.GENERATE, 0, 1, data=data)
    assert caught.value.status == StatusWord.WRONG_DATA


@pytest.mark.parametrize("algorithm", [0, 3])
def test_unknown_algorithms_are_refused(chip: SecureElement, algorithm: int) -> None:
    with pytest.raises(Refused) as caught:
        chip.command(Instruction.GENERATE, 0, algorithm)
    assert caught.value.status == StatusWord.WRONG_PARAMETERS


@pytest.mark.parametrize(
    "instruction", [Instruction.GET_AK_PUBLIC_KEY, Instruction.PUT_AK_CERTIFICATE, Instruction.LOCK]
)
def test_the_makers_door_is_closed_for_good(chip: SecureElement, instruction: Instruction) -> None:
    assert status_of(chip, instruction, LifeCycle.OPERATIONAL, b"anything") == StatusWord.NOT_ALLOWED


def test_a_chip_that_is_still_with_its_maker_attests_nothing(bus: LocalBus) -> None:
    chip = SecureElement(bus)
    chip.generate_keypair(SLOT_IDENTITY)
    assert status_of(chip, Instruction.ATTEST, 0, NONCE) == StatusWord.NOT_ALLOWED


def test_the_maker_cannot_finish_a_chip_without_a_certificate(bus: LocalBus) -> None:
    assert status_of(SecureElement(bus), Instruction.LOCK, LifeCycle.OPERATIONAL) == StatusWord.NOT_ALLOWED


def test_a_chip_takes_no_more_attestation_certificates_than_it_has_room_for(bus: LocalBus) -> None:
    chip = SecureElement(bus)
    for _ in range(3):
        chip.command(Instruction.PUT_AK_CERTIFICATE, data=b"certificate")
    assert status_of(chip, Instruction.PUT_AK_CERTIFICATE, data=b"certificate") == StatusWord.NO_MEMORY
    assert chip.identity()[3] == [b"certificate"] * 3


def test_a_chip_that_cannot_write_its_memory_says_so_and_keeps_its_state(chip: SecureElement, tmp_path: Path) -> None:
    before = chip.public_key(SLOT_IDENTITY)
    shutil.rmtree(tmp_path)
    with pytest.raises(Refused, match="6F00"):
        chip.generate_keypair(SLOT_IDENTITY)
    assert chip.public_key(SLOT_IDENTITY) == before


def test_nothing_is_done_before_the_applet_is_selected(link: Link) -> None:
    assert link.exchange(encode((0x80, Instruction.GET_STATUS, 0, 0), b"", 256)) == b"\x6d\x00"


@pytest.mark.parametrize(
    ("apdu", "status"),
    [
        (encode((0x00, 0xA4, 4, 0), b"\xa0\x00\x00\x00\x03", 256), StatusWord.NOT_FOUND),
        (encode((0x00, 0xC0, 0, 0), b"", 256), StatusWord.UNKNOWN_INSTRUCTION),
        (encode((0x40, 0x02, 0, 0), b"", 256), StatusWord.UNKNOWN_CLASS),
        (b"\x80", StatusWord.WRONG_LENGTH),
    ],
)
def test_a_wrong_command_is_answered_with_its_status(link: Link, apdu: bytes, status: StatusWord) -> None:
    assert link.exchange(apdu) == status.to_bytes(2, "big")


def test_another_command_inside_a_chain_ends_the_chain(link: Link) -> None:
    link.exchange(encode((0x00, 0xA4, 4, 0), APPLET, 256))
    assert link.exchange(encode((0x90, Instruction.PUT_CERTIFICATE, 0, 0), b"part", 0)) == b"\x90\x00"
    assert link.exchange(encode((0x80, Instruction.GET_STATUS, 0, 0), b"", 256)) == b"\x68\x83"
    assert link.exchange(encode((0x80, Instruction.GET_STATUS, 0, 0), b"", 256)).endswith(b"\x90\x00")


def test_a_long_answer_to_a_short_command_is_collected_with_get_response(bus: LocalBus, chip: SecureElement) -> None:
    certificate = bytes(range(256)) * 4 + b"the rest"
    chip.import_certificate(SLOT_IDENTITY, certificate)
    link = Link(bus)
    link.open()
    head = (0x80, Instruction.GET_CERTIFICATE, 0, 0)
    assert link.exchange(encode(head, b"", 256))[-2:] == b"\x61\x00"
    assert Channel(link).transmit(head, b"", 256, (0, 0)) == certificate
