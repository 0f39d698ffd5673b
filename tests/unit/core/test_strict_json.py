# SPDX-License-Identifier: Apache-2.0
"""JSON that says each thing once."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.core.strict_json import decode


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    open: dict[str, int] = {}
    raw: msgspec.Raw = msgspec.Raw(b"null")


REPEATED = {
    "at the top": '{"name":"a","name":"b"}',
    "the same value": '{"name":"a","name":"a"}',
    "under an escape": '{"name":"a","n\\u0061me":"b"}',
    "further down": '{"name":"a","inner":{"name":"a","name":"b"}}',
    "in a list": '{"name":"a","many":[{},{"name":"a","name":"b"}]}',
    "in an open object": '{"name":"a","open":{"x":1,"x":2}}',
    "in what is read later": '{"name":"a","raw":{"x":[{"y":1,"y":2}]}}',
    "the empty name": '{"name":"a","open":{"":1,"":2}}',
}


@pytest.mark.parametrize("text", REPEATED.values(), ids=REPEATED.keys())
def test_a_member_that_stands_there_twice_is_refused(text: str) -> None:
    msgspec.json.decode(text, type=Outer)  # would be silent
    with pytest.raises(DecodeError, match="stands there twice"):
        decode(text.encode(), Outer)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"name":1}',
        b'{"name":"a","more":1}',
        b'{"name":"a"}x',
        b'{"name":"a"}{"name":"a"}',
        b'{"name":"\xff"}',
        b'\xef\xbb\xbf{"name":"a"}',
        '{"name":"a"}'.encode("utf-16"),
        b'{"name":"a","open":{"x":NaN}}',
        b'{"name":"a","open":{"x":' + b"9" * 5_000 + b"}}",
        b"[" * 100_000,
    ],
)
def test_what_is_not_the_form_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data, Outer)


def test_a_part_that_was_kept_raw_is_read_in_the_same_way() -> None:
    whole = decode(b'{"name":"a","raw":{"name":"b"}}', Outer)
    assert decode(whole.raw, Inner) == Inner("b")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_says_each_thing_once_is_read_as_it_is(value: Any) -> None:
    assert decode(json.dumps(value).encode(), object) == value


@given(st.dictionaries(st.text(), VALUES, min_size=1, max_size=4), st.data(), st.integers(0, 3))
def test_one_repetition_anywhere_is_refused(members: dict[str, Any], data: st.DataObject, depth: int) -> None:
    again = data.draw(st.sampled_from(sorted(members)))
    inside = json.dumps(members)[:-1] + f", {json.dumps(again)}: null}}"
    text = '{"in":[' * depth + inside + "]}" * depth
    with pytest.raises(DecodeError, match="stands there twice"):
        decode(text.encode(), object)
