# SPDX-License-Identifier: Apache-2.0
"""
Requests to a board, and its answers, read strictly.

An answer counts when it is whole, answers this very request (operation, group, command, sequence number) and its map is
in deterministic form. Everything else is a communication error.
"""

import struct
from dataclasses import dataclass

from birthmark.core import cbor
from birthmark.core.cbor import CBORValue
from birthmark.core.errors import DecodeError
from birthmark.silicon.apdu.status import refusal
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError, ChipFull, ChipRefused
from birthmark_mcu.smp import registry as smp

_HEADER = struct.Struct(">BBHHBB")
_VERSION = smp.VERSION_2 << smp.VERSION_SHIFT
LOOK_AGAIN = "the link is opened anew; observe the chip's state before the next act"

_REFUSALS = {
    smp.NOT_SUPPORTED: "the board does not know the command",
    smp.INVALID: "the board does not understand the request",
    smp.TOO_OLD: "the board speaks a later version of SMP",
    smp.TOO_NEW: "the board speaks an earlier version of SMP",
}
"""Errors of SMP itself after which nothing has been done and nothing will be: another firmware is needed."""

_FAILURES = {
    smp.LINK_FAILED: "the board's way to its chip failed",
    smp.STALE: "the board was reset, or somebody else spoke to it",
    smp.NOT_STAGED: "the board did not receive what was sent to it in parts",
    smp.NO_RESULT: "the board has lost what it had to say",
}
"""Errors of our group after which the chip is looked at again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `doing` says in plain words what for: "make a key in device-identity"."""

    operation: int
    command: int
    sequence: int
    fields: dict[int | str, CBORValue]
    doing: str

    @property
    def frame(self) -> bytes:
        """The bytes on the wire."""
        payload = cbor.encode(self.fields)
        head = (_VERSION | self.operation, 0, len(payload), smp.GROUP, self.sequence, self.command)
        return _HEADER.pack(*head) + payload

    def failed(self, problem: str) -> ChipCommunication:
        """Return the error that says that the way to the chip failed."""
        return ChipCommunication(f"cannot {self.doing}: {problem}", hint=LOOK_AGAIN)


class Answer:
    """The map of an answer. Every reading raises ChipCommunication for what the command does not give."""

    def __init__(self, request: Request, found: dict[str, CBORValue]) -> None:
        self._request = request
        self._found = found

    def must_have(self, *names: str) -> "Answer":
        """Return the answer itself, which has these keys and no other."""
        if set(self._found) != set(names):
            raise self._malformed()
        return self

    def integer(self, name: str) -> int:
        """Return an unsigned integer."""
        value = self._found.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise self._malformed()
        return value

    def octets(self, name: str) -> bytes:
        """Return a byte string."""
        value = self._found.get(name)
        if not isinstance(value, bytes):
            raise self._malformed()
        return value

    def text(self, name: str) -> str:
        """Return text."""
        value = self._found.get(name)
        if not isinstance(value, str):
            raise self._malformed()
        return value

    def integers(self, name: str) -> list[int]:
        """Return an array of unsigned integers."""
        value = self._found.get(name)
        if not isinstance(value, list):
            raise self._malformed()
        items = [item for item in value if isinstance(item, int) and not isinstance(item, bool) and item >= 0]
        if len(items) != len(value):
            raise self._malformed()
        return items

    def _malformed(self) -> ChipCommunication:
        return self._request.failed("the board's answer is not what the command gives")


def is_answer_to(request: Request, frame: bytes) -> bool:
    """Return whether the frame carries the sequence number of the request."""
    return len(frame) >= _HEADER.size and frame[6] == request.sequence


def read_answer(request: Request, frame: bytes, frame_bytes: int) -> Answer:
    """
    Return what the frame answers to the request.

    Raises:
        ChipCommunication: it is no answer to it, is longer than agreed, or says that the link failed.
        ChipRefused: board or chip refused; nothing was done.
        ChipAbsent: the board has no chip.

    """
    payload = _payload(request, frame, frame_bytes)
    try:
        found = cbor.decode(payload, "the board's answer") if payload else {}
    except DecodeError as error:
        raise request.failed(error.message) from error
    if not isinstance(found, dict):
        raise request.failed("the board's answer is not a map")
    fields = {key: value for key, value in found.items() if isinstance(key, str)}
    if len(fields) != len(found):
        raise request.failed("the board's answer is not a map with text as keys")
    if smp.RC in fields or smp.ERR in fields:
        raise _error(request, fields)
    return Answer(request, fields)


def _payload(request: Request, frame: bytes, frame_bytes: int) -> bytes:
    if len(frame) > frame_bytes:
        raise request.failed(f"the board's answer has {len(frame)} bytes, and {frame_bytes} were agreed")
    if len(frame) < _HEADER.size:
        raise request.failed("the board's answer is cut short")
    first, flags, length, *rest = _HEADER.unpack_from(frame)
    if rest != [smp.GROUP, request.sequence, request.command]:
        raise request.failed("the board answered another request")
    if (first, flags) != (_VERSION | request.operation | smp.ANSWER, 0) or length != len(frame) - _HEADER.size:
        raise request.failed("the board's answer is malformed")
    return frame[_HEADER.size :]


def _error(request: Request, fields: dict[str, CBORValue]) -> ChipError:
    match fields:
        case {"rc": int(code), **rest} if not set(rest) - {"rsn"}:
            if code in _REFUSALS:
                return ChipRefused(f"cannot {request.doing}: {_REFUSALS[code]} (SMP error {code})")
            if code == smp.BAD_STATE:
                return request.failed("the board was reset")
            return request.failed(f"the board failed (SMP error {code})")
        case {"err": {"group": smp.GROUP, "rc": int(code)}} if len(fields) == 1:
            return _group_error(request, code)
    return request.failed("the board's answer is an error that the command does not have")


def _group_error(request: Request, code: int) -> ChipError:
    if smp.STATUS_FIRST <= code <= smp.STATUS_LAST:
        return refusal(code, request.doing)
    if code == smp.ABSENT:
        return ChipAbsent(f"cannot {request.doing}: the board finds no chip", hint="replace the board, or its firmware")
    if code == smp.TOO_LONG:
        return ChipFull(f"cannot {request.doing}: the board has no room for it")
    if code == smp.WRONG_VERSION:
        return ChipRefused(
            f"cannot {request.doing}: the board speaks another version of the link than {smp.LINK_VERSION}",
            hint="load the firmware that belongs to this rig's version",
        )
    return request.failed(_FAILURES.get(code, f"the board failed (error {code})"))
