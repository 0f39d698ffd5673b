# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.core.reader import ByteReader


def test_fields_are_read_from_front_to_back() -> None:
    with ByteReader(bytes.fromhex("01 0203 04050607 08090a0b0c0d0e0f 0002 aabb ff"), "a structure") as reader:
        assert reader.u8() == 0x01
        assert reader.u16() == 0x0203
        assert reader.u32() == 0x04050607
        assert reader.u64() == 0x08090A0B0C0D0E0F
        assert reader.sized16() == b"\xaa\xbb"
        assert reader.take(1) == b"\xff"


def test_a_byte_left_over_is_refused_with_its_place() -> None:
    with (
        pytest.raises(DecodeError, match="a structure at byte 1: 1 bytes are left over"),
        ByteReader(b"ab", "a structure") as reader,
    ):
        reader.u8()


def test_an_error_inside_is_not_hidden_by_what_is_left_over() -> None:
    with pytest.raises(DecodeError, match="mine"), ByteReader(b"ab", "a structure"):
        raise DecodeError("mine")


@given(st.binary(max_size=16), st.integers(0, 32))
def test_a_short_read_is_a_decode_error_and_never_short_data(data: bytes, count: int) -> None:
    reader = ByteReader(data, "a structure")
    if count <= len(data):
        assert reader.take(count) == data[:count]
    else:
        with pytest.raises(DecodeError, match="wanted"):
            reader.take(count)


@given(st.binary(max_size=64))
def test_a_sized_field_takes_what_its_length_says_or_fails(data: bytes) -> None:
    reader = ByteReader(data, "a structure")
    try:
        field = reader.sized16()
    except DecodeError:
        assert len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big")
    else:
        assert field == data[2 : 2 + int.from_bytes(data[:2], "big")]
