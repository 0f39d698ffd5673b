# SPDX-License-Identifier: Apache-2.0
"""The firmware's client: what it refuses by itself, and answers of a chip that make no sense."""

import pytest

from birthmark_mcu import blocks
from birthmark_mcu.chip import SecureElement, read_fields
from birthmark_mcu.errors import LinkFailed, Refused
from support.chip_buses import ScriptedBus

CIP = bytes.fromhex("0100020004006403ff00")


def script(*responses: bytes) -> ScriptedBus:
    """Return the bus of a chip that is opened and then gives these response APDUs."""
    opening = [(0xE0, b""), (0xE4, CIP), (0xE1, b"\x04\x00")]
    informing = [((number & 1) << 6, response) for number, response in enumerate(responses)]
    return ScriptedBus(blocks.encode(blocks.NAD_FROM_CHIP, pcb, inf) for pcb, inf in opening + informing)


@pytest.mark.parametrize("slot", ["", "0", "device-identity.old"])
def test_an_unknown_slot_is_refused_before_anything_is_sent(slot: str) -> None:
    bus = script()
    with pytest.raises(Refused, match="slot"):
        SecureElement(bus).state(slot)
    assert bus.written == []


def test_an_unknown_algorithm_is_refused_before_anything_is_sent() -> None:
    bus = script()
    with pytest.raises(Refused, match="RSA-1024"):
        SecureElement(bus).generate_keypair("device-identity", "RSA-1024")
    assert bus.written == []


SENSELESS = {
    "times of the wrong length": [b"\x10\x00\x90\x00"],
    "no status word": [b"\x90\x00", b"\x90"],
    "a status of the wrong length": [b"\x90\x00", b"\x00\x90\x00"],
    "an unknown state": [b"\x90\x00", b"\x00\x07\x00\x03\x90\x00"],
}


@pytest.mark.parametrize("what", SENSELESS)
def test_a_senseless_answer_is_a_failed_link(what: str) -> None:
    with pytest.raises(LinkFailed):
        SecureElement(script(*SENSELESS[what])).state("device-identity")


@pytest.mark.parametrize("fields", ["", "800001ff", "8000016d81000173", "80000161810001628200"])
def test_an_identity_without_its_three_names_is_a_failed_link(fields: str) -> None:
    with pytest.raises(LinkFailed):
        SecureElement(script(b"\x90\x00", bytes.fromhex(fields) + b"\x90\x00")).identity()


def test_fields_are_read_in_order_and_repeat() -> None:
    assert read_fields(b"\x83\x00\x01a\x80\x00\x00\x83\x00\x02bc") == {0x83: [b"a", b"bc"], 0x80: [b""]}


def test_an_endless_response_comes_to_an_end() -> None:
    endless = [b"\x90\x00"] + [bytes(900) + b"\x61\x00"] * 24
    with pytest.raises(LinkFailed, match="no end"):
        SecureElement(script(*endless)).get_certificate("device-identity")
