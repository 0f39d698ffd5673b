# SPDX-License-Identifier: Apache-2.0
"""The chip's side of T=1': total on any bytes, and in step with the standard."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.silicon.simulator.t1 import ChipLink, crc16
from birthmark_mcu import blocks

BLOCK_WAITING_MS = 500
RESPONSE = b"\x90\x00"


def new_link() -> ChipLink:
    return ChipLink(BLOCK_WAITING_MS, 400_000)


def sent(pcb: int, inf: bytes = b"") -> bytes:
    return blocks.encode(blocks.NAD_TO_CHIP, pcb, inf)


def pcb_of(link: ChipLink) -> int:
    return blocks.decode(blocks.NAD_FROM_CHIP, link.transmit()).pcb


@given(st.binary(max_size=200))
def test_the_chips_crc_is_the_hosts_crc(data: bytes) -> None:
    assert crc16(data) == blocks.crc16(data)


@given(st.lists(st.one_of(st.binary(max_size=30), st.builds(sent, st.integers(0, 255), st.binary(max_size=30)))))
def test_any_bytes_are_answered_with_a_block(frames: list[bytes]) -> None:
    link = new_link()
    for frame in frames:
        if link.receive(frame) is not None:
            link.respond(RESPONSE)
        blocks.decode(blocks.NAD_FROM_CHIP, link.transmit())


@given(st.binary(min_size=1, max_size=600), st.binary(min_size=2, max_size=600), st.integers(1, 254))
def test_apdus_of_any_length_pass_in_both_directions(command: bytes, response: bytes, size: int) -> None:
    link = new_link()
    link.receive(sent(0xC1, bytes((size,))))
    received = None
    parts = [command[at : at + size] for at in range(0, len(command), size)]
    for number, part in enumerate(parts):
        received = link.receive(sent((number & 1) << 6 | (0x20 if number < len(parts) - 1 else 0), part))
    assert received == command
    link.respond(response)
    collected, expecting, more = b"", 0, True
    while more:
        block = blocks.decode(blocks.NAD_FROM_CHIP, link.transmit())
        assert block.number() == expecting
        collected, more, expecting = collected + block.inf, block.more(), expecting ^ 1
        link.receive(sent(0x80 | expecting << 4))
    assert collected == response


def test_the_interface_parameters_tell_block_waiting_time_and_block_size() -> None:
    link = new_link()
    link.receive(sent(0xC4))
    block = blocks.decode(blocks.NAD_FROM_CHIP, link.transmit())
    assert block.pcb == 0xE4
    assert block.inf.endswith(b"\x04" + struct.pack(">HH", BLOCK_WAITING_MS, 1024) + b"\x00")


def test_a_broken_block_is_asked_for_again_with_its_number() -> None:
    link = new_link()
    assert link.receive(sent(0x00, b"abcd")[:-1] + b"\x00") is None
    assert pcb_of(link) == 0x81
    assert link.receive(sent(0x00, b"abcd")) == b"abcd"
    link.respond(RESPONSE)
    link.receive(sent(0x40, b"efgh")[:-1] + b"\x00")
    assert pcb_of(link) == 0x91


def test_a_repeated_request_to_repeat_still_finds_the_answer() -> None:
    link = new_link()
    link.receive(sent(0x00, b"abcd"))
    link.respond(RESPONSE)
    answer = link.transmit()
    link.receive(sent(0x81)[:-1] + b"\x00")
    link.receive(sent(0x81))
    assert link.transmit() == answer


def test_a_command_with_the_wrong_number_is_not_taken() -> None:
    link = new_link()
    assert link.receive(sent(0x40, b"abcd")) is None
    assert pcb_of(link) == 0x82


@pytest.mark.parametrize("pcb", [0xC0, 0xCF])
def test_resynch_and_reset_forget_the_numbers_and_half_a_command(pcb: int) -> None:
    link = new_link()
    link.receive(sent(0x20, b"half "))
    link.receive(sent(pcb))
    assert pcb_of(link) == pcb | 0x20
    assert link.receive(sent(0x00, b"whole")) == b"whole"


def test_a_command_without_end_is_refused() -> None:
    link = new_link()
    for number in range(5):
        link.receive(sent((number & 1) << 6 | 0x20, bytes(1024)))
    assert pcb_of(link) & 0x0F == 0x02
