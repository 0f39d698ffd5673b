# SPDX-License-Identifier: Apache-2.0
"""Blocks of T=1': the published vectors, and a decoder that either reads a block or says BadBlock."""

import binascii
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark_mcu import blocks
from birthmark_mcu.blocks import BadBlock
from birthmark_mcu.crc16 import crc16

# S-blocks of GlobalPlatform's form, host to chip, computed apart from this code.
VECTORS = {
    "RESYNCH request": (blocks.S_BLOCK | blocks.RESYNCH, b"", "5AC00000FFFC"),
    "CIP request": (blocks.S_BLOCK | blocks.CIP, b"", "5AC400009C9D"),
    "software reset request": (blocks.S_BLOCK | 0x0F, b"", "5ACF0000B53B"),
    "WTX response": (blocks.S_BLOCK | blocks.S_RESPONSE | blocks.WTX, b"\x01", "5AE30001016FAB"),
}
KNOWN_PCBS = st.sampled_from([0x00, 0x20, 0x40, 0x60, 0xC0, 0xC1, 0xC3, 0xC4, 0xE0, 0xE1, 0xE3, 0xE4])


def bitwise(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


def test_the_crc_is_x25() -> None:
    assert crc16(b"123456789") == 0x906E


@given(st.binary(max_size=300))
def test_the_crc_by_table_is_the_crc_by_bits(data: bytes) -> None:
    assert crc16(data) == bitwise(data)


@pytest.mark.parametrize("name", VECTORS)
def test_a_block_is_encoded_as_published(name: str) -> None:
    pcb, inf, frame = VECTORS[name]
    assert blocks.encode(blocks.NAD_TO_CHIP, pcb, inf) == binascii.unhexlify(frame)


@given(KNOWN_PCBS, st.binary(max_size=1100))
def test_a_block_decodes_to_what_was_encoded(pcb: int, inf: bytes) -> None:
    block = blocks.decode(blocks.NAD_FROM_CHIP, blocks.encode(blocks.NAD_FROM_CHIP, pcb, inf))
    assert (block.pcb, block.inf) == (pcb, inf)


@given(st.binary(max_size=40))
def test_any_bytes_are_a_block_or_a_bad_block(data: bytes) -> None:
    with contextlib.suppress(BadBlock):
        block = blocks.decode(blocks.NAD_FROM_CHIP, data)
        assert blocks.encode(blocks.NAD_FROM_CHIP, block.pcb, block.inf) == data


@given(KNOWN_PCBS, st.binary(max_size=60), st.data())
def test_a_flipped_bit_makes_a_bad_block(pcb: int, inf: bytes, data: st.DataObject) -> None:
    frame = bytearray(blocks.encode(blocks.NAD_FROM_CHIP, pcb, inf))
    bit = data.draw(st.integers(0, len(frame) * 8 - 1))
    frame[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadBlock):
        blocks.decode(blocks.NAD_FROM_CHIP, bytes(frame))


WRONG = {
    "the host's own NAD": (blocks.NAD_TO_CHIP, 0x00, b""),
    "an I-block with a reserved bit": (blocks.NAD_FROM_CHIP, 0x01, b""),
    "an R-block with information": (blocks.NAD_FROM_CHIP, 0x80, b"x"),
    "an R-block with an unknown error": (blocks.NAD_FROM_CHIP, 0x83, b""),
    "an R-block with a reserved bit": (blocks.NAD_FROM_CHIP, 0x84, b""),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_block_that_the_standard_does_not_know_is_refused(what: str) -> None:
    with pytest.raises(BadBlock) as caught:
        blocks.decode(blocks.NAD_FROM_CHIP, blocks.encode(*WRONG[what]))
    assert caught.value.code == blocks.ERROR_OTHER


def test_a_trailing_byte_is_refused() -> None:
    with pytest.raises(BadBlock):
        blocks.decode(blocks.NAD_FROM_CHIP, blocks.encode(blocks.NAD_FROM_CHIP, 0) + b"\0")
