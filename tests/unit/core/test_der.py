# SPDX-License-Identifier: Apache-2.0
from typing import Annotated

import pytest
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError


@der.sequence
class Pair:
    name: ObjectIdentifier
    value: der.TLV
    note: Annotated[bytes | None, der.Implicit(0)]


def pair(note: bytes | None = None) -> bytes:
    value = der.decode(der.TLV, der.encode(7), "an integer")
    return der.encode(Pair(name=ObjectIdentifier("1.2.3"), value=value, note=note))


@given(st.none() | st.binary(max_size=200))
def test_what_is_encoded_is_read_back(note: bytes | None) -> None:
    read = der.decode(Pair, pair(note), "a pair")
    assert (read.name.dotted_string, read.note) == ("1.2.3", note)
    assert der.parse(int, read.value, "the value") == 7


@given(st.binary(max_size=64))
def test_any_bytes_give_a_pair_or_a_decode_error(data: bytes) -> None:
    try:
        read = der.decode(Pair, data, "a pair")
    except DecodeError:
        return
    assert der.encode(read) == data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a trailing byte", pair() + b"\x00"),
        ("one byte too few", pair()[:-1]),
        ("a length in too many bytes", b"\x30\x81" + pair()[1:]),
        ("an indefinite length", b"\x30\x80" + pair()[2:] + b"\x00\x00"),
        ("nothing", b""),
    ],
)
def test_der_has_one_form_and_the_others_are_refused(name: str, data: bytes) -> None:
    with pytest.raises(DecodeError, match="a pair is not the DER"):
        der.decode(Pair, data, "a pair")
    assert name


def test_an_any_of_another_type_is_refused() -> None:
    with pytest.raises(DecodeError, match="the value is not the DER"):
        der.parse(bytes, der.decode(Pair, pair(), "a pair").value, "the value")
