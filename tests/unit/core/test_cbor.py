# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import cbor
from birthmark.core.errors import DecodeError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_what_is_encoded_is_read_back(value: cbor.CBORValue) -> None:
    assert cbor.decode(cbor.encode(value), "a value") == value


@given(st.binary(max_size=64))
def test_any_bytes_give_a_value_or_a_decode_error_and_only_one_spelling_of_it(data: bytes) -> None:
    try:
        value = cbor.decode(data, "a value")
    except DecodeError:
        return
    assert cbor.encode(value) == data


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a trailing byte", "0100"),
        ("an integer in too many bytes", "1801"),
        ("an indefinite length", "9f01ff"),
        ("the same key twice", "a2 0101 0102"),
        ("keys out of order", "a2 0201 0102"),
        ("a truncated string", "45 6162"),
        ("a tag", "c1 01"),
        ("a float", "fb 3ff0000000000000"),
        ("undefined", "f7"),
        ("nothing", ""),
        ("nesting beyond the limit", "81" * 9 + "01"),
    ],
)
def test_a_form_that_is_not_ours_is_refused(name: str, data: str) -> None:
    with pytest.raises(DecodeError, match="a value"):
        cbor.decode(bytes.fromhex(data), "a value")
    assert name


def test_more_bytes_than_the_limit_are_not_looked_at() -> None:
    with pytest.raises(DecodeError, match="at most 65536"):
        cbor.decode(cbor.encode(bytes(cbor.CBOR_MAX_BYTES)), "a value")
