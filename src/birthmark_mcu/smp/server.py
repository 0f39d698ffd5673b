# SPDX-License-Identifier: Apache-2.0
"""
An SMP server without a transport: one request frame in, one answer frame out.

    server = Server(384, {registry.GROUP_OS: OSGroup(384), registry.GROUP: ChipGroup(source, revision)})
    answer = server.answer(frame)

A firmware adds groups of its own by the same interface.
"""

from birthmark_mcu.smp import cbor
from birthmark_mcu.smp.registry import (
    ANSWER,
    ERR,
    ERR_GROUP,
    FRAME_BYTES_MAX,
    FRAME_BYTES_MIN,
    HEADER_BYTES,
    INVALID,
    NOT_SUPPORTED,
    OPERATION_BITS,
    OS_ECHO,
    OS_PARAMETERS,
    RC,
    READ,
    TOO_LARGE,
    TOO_NEW,
    UNKNOWN,
    VERSION_1,
    VERSION_2,
    VERSION_SHIFT,
    WRITE,
)


class Failed(Exception):
    """A request that is answered with an error of SMP itself, `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class GroupFailed(Exception):
    """A request that is answered with an error of its group, `code`."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Fields:
    """The map of a request. Every reading raises Failed when the map does not have what the command takes."""

    def __init__(self, found: "dict[str, object]") -> None:
        self._found = found

    def must_be(self, names: "tuple[str, ...]") -> None:
        """Raise Failed unless the map has these keys and no other."""
        if set(self._found) != set(names):
            raise Failed(INVALID)

    def integer(self, name: str) -> int:
        """Return an unsigned integer."""
        value = self._found.get(name)
        if not isinstance(value, int):
            raise Failed(INVALID)
        return value

    def octets(self, name: str) -> bytes:
        """Return a byte string."""
        value = self._found.get(name)
        if not isinstance(value, bytes):
            raise Failed(INVALID)
        return value

    def text(self, name: str) -> str:
        """Return text."""
        value = self._found.get(name)
        if not isinstance(value, str):
            raise Failed(INVALID)
        return value


class Group:
    """What the server needs of a group; any object that has the call will do."""

    def handle(self, operation: int, command: int, fields: Fields) -> "dict[str, object]":
        """
        Do what a request asks and return the fields of its answer.

        Args:
            operation: READ or WRITE.
            command: the number of the command.
            fields: the request's map.

        Raises:
            Failed: the request is not understood.
            GroupFailed: it is, and was not done.

        """
        raise NotImplementedError


class Server:
    """Answers requests to its groups; frames in both directions have at most `frame_bytes`."""

    def __init__(self, frame_bytes: int, groups: "dict[int, Group]") -> None:
        if not FRAME_BYTES_MIN <= frame_bytes <= FRAME_BYTES_MAX:
            raise ValueError("the frame size is out of range")
        self._frame_bytes = frame_bytes
        self._groups = groups

    def answer(self, frame: bytes) -> bytes:
        """Return the answer to a request, and nothing for bytes that are not a whole request; whatever they are."""
        if not _is_request(frame) or len(frame) > self._frame_bytes:
            return b""
        version = frame[0] >> VERSION_SHIFT
        group = frame[4] << 8 | frame[5]
        try:
            payload = cbor.encode(self._handled(frame, version, group))
        except Failed as failed:
            payload = cbor.encode({RC: failed.code})
        except GroupFailed as failed:
            # Version 1 has one list of errors for everything (Zephyr translates in the same way).
            error = {ERR: {ERR_GROUP: group, RC: failed.code}} if version == VERSION_2 else {RC: UNKNOWN}
            payload = cbor.encode(error)
        if HEADER_BYTES + len(payload) > self._frame_bytes:
            payload = cbor.encode({RC: TOO_LARGE})
        return bytes((frame[0] + ANSWER, 0)) + len(payload).to_bytes(2, "big") + frame[4:HEADER_BYTES] + payload

    def _handled(self, frame: bytes, version: int, group: int) -> "dict[str, object]":
        if version not in (VERSION_1, VERSION_2):
            raise Failed(TOO_NEW)
        if group not in self._groups:
            raise Failed(NOT_SUPPORTED)
        try:
            fields = cbor.decode(frame[HEADER_BYTES:]) if len(frame) > HEADER_BYTES else {}
        except cbor.NotCBOR:
            raise Failed(INVALID) from None
        if not isinstance(fields, dict):
            raise Failed(INVALID)
        return self._groups[group].handle(frame[0] & OPERATION_BITS, frame[7], Fields(fields))


def _is_request(frame: bytes) -> bool:
    if len(frame) < HEADER_BYTES or HEADER_BYTES + (frame[2] << 8 | frame[3]) != len(frame):
        return False
    reserved = frame[0] >> VERSION_SHIFT + 2
    return not reserved and not frame[1] and frame[0] & OPERATION_BITS in (READ, WRITE)


class OSGroup(Group):
    """What every SMP client expects of a board: an echo, and the size of its buffer."""

    def __init__(self, frame_bytes: int) -> None:
        self._frame_bytes = frame_bytes

    def handle(self, operation: int, command: int, fields: Fields) -> "dict[str, object]":
        """Answer `echo` (0, read and write alike: clients use either) and `mcumgr parameters` (read 6)."""
        if command == OS_ECHO:
            fields.must_be(("d",))
            return {"r": fields.text("d")}
        if (operation, command) == (READ, OS_PARAMETERS):
            fields.must_be(())
            return {"buf_size": self._frame_bytes, "buf_count": 1}
        raise Failed(NOT_SUPPORTED)
