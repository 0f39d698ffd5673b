# SPDX-License-Identifier: Apache-2.0
"""The chip's side of ISO/IEC 7816-4: command APDUs, status words and the instructions of the applet."""

from dataclasses import dataclass
from enum import IntEnum

APPLET = b"\xf0birthmark"
CLA_STANDARD = 0x00
CLA_APPLET = 0x80
CLA_CHAINING = 0x10
MORE_DATA = 0x61
"""First byte of the status word that announces data for GET RESPONSE; the second says how much, 0 for 256 or more."""

SHORT_LIMIT = 256
EXTENDED_LIMIT = 65536

_HEADER = 4
_EXTENDED_LENGTH = 3
_LE_SHORT = 1
_LE_EXTENDED = 2


class Instruction(IntEnum):
    """What the chip can be asked. From E0 on for the maker alone: refused once the chip has left the maker."""

    GET_IDENTITY = 0x01
    GET_STATUS = 0x02
    GENERATE = 0x10
    GET_PUBLIC_KEY = 0x11
    ATTEST = 0x12
    SIGN = 0x13
    PUT_CERTIFICATE = 0x14
    GET_CERTIFICATE = 0x15
    ACTIVATE = 0x16
    ERASE = 0x17
    EXPORT_KEY = 0x18
    """Always refused with 6985: keys stay. Known so that the refusal is one, not a gap."""
    IMPORT_KEY = 0x19
    """Always refused with 6D00: the chip has no such function."""
    SELECT = 0xA4
    GET_RESPONSE = 0xC0
    GET_AK_PUBLIC_KEY = 0xE0
    PUT_AK_CERTIFICATE = 0xE1
    LOCK = 0xE2
    """P1 is the life cycle to enter."""


class StatusWord(IntEnum):
    """ISO/IEC 7816-4 table 6."""

    OK = 0x9000
    WRONG_LENGTH = 0x6700
    CHAIN_EXPECTED = 0x6883
    NOT_ALLOWED = 0x6985
    WRONG_DATA = 0x6A80
    NO_MEMORY = 0x6A84
    WRONG_PARAMETERS = 0x6A86
    NOT_FOUND = 0x6A88
    UNKNOWN_INSTRUCTION = 0x6D00
    UNKNOWN_CLASS = 0x6E00
    FAILED = 0x6F00


class StatusError(Exception):
    """Ends a command with an error status. Nothing has been changed."""

    def __init__(self, status: StatusWord) -> None:
        super().__init__(f"{status:04X}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Command:
    """One command APDU. `expected` is the most response data that the host takes (Ne)."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes
    expected: int


def read_command(apdu: bytes) -> Command:
    """Return the command in an APDU, which it fills. Raises StatusError WRONG_LENGTH, and nothing else."""
    if len(apdu) < _HEADER:
        raise StatusError(StatusWord.WRONG_LENGTH)
    data, expected = _body(apdu[_HEADER:])
    cla, ins, p1, p2 = apdu[:_HEADER]
    return Command(cla, ins, p1, p2, data, expected)


def _body(body: bytes) -> tuple[bytes, int]:
    if len(body) <= _LE_SHORT:
        return b"", _length(body, SHORT_LIMIT)
    if body[0]:
        return _data_and_le(body, 1, body[0], (0, _LE_SHORT), SHORT_LIMIT)
    if len(body) == _EXTENDED_LENGTH:
        return b"", _length(body[1:], EXTENDED_LIMIT)
    count = int.from_bytes(body[1:_EXTENDED_LENGTH], "big")
    return _data_and_le(body, _EXTENDED_LENGTH, count, (0, _LE_EXTENDED), EXTENDED_LIMIT)


def _data_and_le(body: bytes, start: int, count: int, le_sizes: tuple[int, ...], limit: int) -> tuple[bytes, int]:
    end = start + count
    if not count or len(body) - end not in le_sizes:
        raise StatusError(StatusWord.WRONG_LENGTH)
    return body[start:end], _length(body[end:], limit)


def _length(encoded: bytes, limit: int) -> int:
    """Return Ne: absent is nothing, zero is the most that the form can say."""
    if not encoded:
        return 0
    return int.from_bytes(encoded, "big") or limit
