# SPDX-License-Identifier: Apache-2.0
"""Answers of a board, read strictly: the answer to this very request, or a ChipError."""

import contextlib

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError, ChipFull, ChipRefused
from birthmark.silicon.smp.messages import Answer, Request, is_answer_to, read_answer
from birthmark_mcu.smp import registry as smp

REQUEST = Request(smp.WRITE, smp.GENERATE, 7, {"rev": 1, "slot": 0, "alg": 0}, "make a key")
LIMIT = 384


def frame(
    payload: object, *, first: int = 0x0B, flags: int = 0, group: int = 0x424D, tail: bytes = b"\x07\x04"
) -> bytes:
    data = payload if isinstance(payload, bytes) else cbor2.dumps(payload, canonical=True)
    return bytes((first, flags)) + len(data).to_bytes(2, "big") + group.to_bytes(2, "big") + tail + data


def error(code: int) -> bytes:
    return frame({"err": {"group": smp.GROUP, "rc": code}})


def test_a_request_has_the_documented_bytes() -> None:
    assert REQUEST.frame.hex() == "0a000011424d0704a363616c67006372657601" + "64736c6f7400"


def test_an_answer_gives_its_fields() -> None:
    answer = read_answer(REQUEST, frame({"n": 5, "b": b"x", "t": "y", "l": [1, 2]}), LIMIT).must_have(
        "n", "b", "t", "l"
    )
    assert (answer.integer("n"), answer.octets("b"), answer.text("t"), answer.integers("l")) == (5, b"x", "y", [1, 2])


NO_ANSWERS = {
    "nothing": b"",
    "a header cut short": frame({})[:7],
    "a frame cut short": frame({"a": 1})[:-1],
    "bytes behind the frame": frame({}) + b"\x00",
    "the answer to a read": frame({}, first=0x09),
    "a request": frame({}, first=0x0A),
    "another version of SMP": frame({}, first=0x03),
    "reserved bits": frame({}, first=0x2B),
    "flags": frame({}, flags=1),
    "another group": frame({}, group=0),
    "another sequence number": frame({}, tail=b"\x08\x04"),
    "another command": frame({}, tail=b"\x07\x05"),
    "a list": frame([]),
    "a map with numbers as keys": frame({1: 2}),
    "CBOR in another form": frame(b"\xbf\xff"),
    "no CBOR": frame(b"\xff"),
    "an error of another group": frame({"err": {"group": 5, "rc": 1}}),
    "an error with more beside it": frame({"err": {"group": smp.GROUP, "rc": 2}, "x": 1}),
    "an error without a number": frame({"err": {"group": smp.GROUP, "rc": "2"}}),
    "success without what the command gives": frame({"rc": 0}),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
def test_what_does_not_answer_the_request_is_a_communication_error(what: str) -> None:
    with pytest.raises(ChipCommunication, match="make a key"):
        read_answer(REQUEST, NO_ANSWERS[what], LIMIT)


def test_an_answer_that_is_longer_than_agreed_is_a_communication_error() -> None:
    longest = frame({"d": bytes(LIMIT - 8 - 6)})
    assert len(longest) == LIMIT
    read_answer(REQUEST, longest, LIMIT)
    with pytest.raises(ChipCommunication, match="384 were agreed"):
        read_answer(REQUEST, frame({"d": bytes(LIMIT - 8 - 5)}), LIMIT)


ERRORS = {
    frame({"rc": smp.NOT_SUPPORTED}): ChipRefused,
    frame({"rc": smp.INVALID, "rsn": "what?"}): ChipRefused,
    frame({"rc": smp.TOO_NEW}): ChipRefused,
    frame({"rc": smp.BAD_STATE}): ChipCommunication,
    frame({"rc": smp.BUSY}): ChipCommunication,
    frame({"rc": 99}): ChipCommunication,
    error(smp.ABSENT): ChipAbsent,
    error(smp.LINK_FAILED): ChipCommunication,
    error(smp.STALE): ChipCommunication,
    error(smp.NOT_STAGED): ChipCommunication,
    error(smp.NO_RESULT): ChipCommunication,
    error(smp.TOO_LONG): ChipFull,
    error(smp.WRONG_VERSION): ChipRefused,
    error(smp.UNKNOWN): ChipCommunication,
    error(0x6985): ChipRefused,
    error(0x6A84): ChipFull,
    error(0x6A88): ChipRefused,
    error(0x7000): ChipCommunication,
}


@pytest.mark.parametrize("answer", ERRORS, ids=lambda answer: cbor2.loads(answer[8:]).__repr__())
def test_each_error_is_the_one_of_its_kind(answer: bytes) -> None:
    with pytest.raises(ChipError, match="make a key") as raised:
        read_answer(REQUEST, answer, LIMIT)
    assert type(raised.value) is ERRORS[answer]


@pytest.mark.parametrize("value", [-1, True, b"octets", "text", [1], {}, None])
def test_a_field_of_another_type_is_a_communication_error(value: object) -> None:
    answer = Answer(REQUEST, {"x": value})  # type: ignore[dict-item] # that is the point
    reads = {"integer": int, "octets": bytes, "text": str, "integers": list}
    for name, kind in reads.items():
        if type(value) is kind and value != -1:
            continue
        with pytest.raises(ChipCommunication, match="not what the command gives"):
            getattr(answer, name)("x")


@pytest.mark.parametrize("items", [[-1], [True], ["1"], [1, None]])
def test_a_list_of_anything_but_numbers_is_a_communication_error(items: list[object]) -> None:
    with pytest.raises(ChipCommunication):
        Answer(REQUEST, {"x": items}).integers("x")  # type: ignore[dict-item] # that is the point


@pytest.mark.parametrize("names", [(), ("a",), ("a", "b", "c")])
def test_other_keys_than_the_command_gives_are_a_communication_error(names: tuple[str, ...]) -> None:
    with pytest.raises(ChipCommunication):
        Answer(REQUEST, {"a": 1, "b": 2}).must_have(*names)


@settings(deadline=None)
@given(st.binary(max_size=500))
def test_any_bytes_are_an_answer_or_a_chip_error(data: bytes) -> None:
    is_answer_to(REQUEST, data)
    with contextlib.suppress(ChipError):
        read_answer(REQUEST, data, LIMIT)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.binary(max_size=9) | st.text(max_size=9) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["rc", "err", "group", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["rc", "err", "size", "x"]), VALUES, max_size=3))
def test_any_map_is_an_answer_or_a_chip_error(payload: dict[str, object]) -> None:
    with contextlib.suppress(ChipError):
        answer = read_answer(REQUEST, frame(payload), 10_000)
        for read in (answer.integer, answer.octets, answer.text, answer.integers):
            with contextlib.suppress(ChipCommunication):
                read("x")
