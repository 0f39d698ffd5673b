# SPDX-License-Identifier: Apache-2.0
"""
Command and response APDUs (ISO/IEC 7816-4): short and extended, command chaining and GET RESPONSE.

A command that does not fit into one block of the link is cut into chained commands (CLA bit 10), so that the chip
needs to buffer no more than a block at the link's level.
"""

from birthmark_mcu.errors import LinkFailed, Refused
from birthmark_mcu.link import RESPONSE_LIMIT, Link

OK = 0x9000
CLA_CHAINING = 0x10
_SHORT = 256
_EXTENDED_HEADER = 7
_LE_BYTES = 2
_STATUS_BYTES = 2
_MORE_DATA = 0x61
_GET_RESPONSE = 0xC0


def encode(head: tuple[int, int, int, int], data: bytes, expected: int) -> bytes:
    """
    Return a command APDU.

    Args:
        head: CLA, INS, P1, P2.
        data: the command data, up to 65,535 bytes; more than 255 make the APDU an extended one.
        expected: the most response data that is wanted (Ne); 0 for none, more than 256 for an extended APDU.

    """
    apdu = bytes(head)
    if len(data) < _SHORT and expected <= _SHORT:
        if data:
            apdu += bytes((len(data),)) + data
        return apdu + bytes((expected & 0xFF,)) if expected else apdu
    apdu += b"\x00"
    if data:
        apdu += len(data).to_bytes(2, "big") + data
    return apdu + (expected & 0xFFFF).to_bytes(2, "big") if expected else apdu


class Channel:
    """Carries commands of any length over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def transmit(self, head: tuple[int, int, int, int], data: bytes, expected: int, hints: tuple[int, int]) -> bytes:
        """
        Send a command, in chained parts if need be, and return all its response data.

        Args:
            head: CLA, INS, P1, P2.
            data: the command data.
            expected: the most response data that is wanted.
            hints: likely busy time in microseconds, and likely length of the response data.

        Raises:
            Refused: the chip answered with an error status.
            LinkFailed: the link failed, or the response is longer than RESPONSE_LIMIT.

        """
        part = self._link.chip_information_bytes - _EXTENDED_HEADER - _LE_BYTES
        while len(data) > part:
            self._one((head[0] | CLA_CHAINING, head[1], head[2], head[3]), data[:part], 0, (0, 0))
            data = data[part:]
        return self._one(head, data, expected, hints)

    def _one(self, head: tuple[int, int, int, int], data: bytes, expected: int, hints: tuple[int, int]) -> bytes:
        received, status = self._exchange(encode(head, data, expected), hints)
        while status >> 8 == _MORE_DATA:
            wanted = status & 0xFF or _SHORT
            more, status = self._exchange(encode((0, _GET_RESPONSE, 0, 0), b"", wanted), (0, wanted))
            received += more
            if len(received) > RESPONSE_LIMIT:
                raise LinkFailed("the chip's response has no end")
        if status != OK:
            raise Refused(status, f"instruction {head[1]:02X}")
        return received

    def _exchange(self, apdu: bytes, hints: tuple[int, int]) -> tuple[bytes, int]:
        response = self._link.exchange(apdu, hints[0], hints[1] + _STATUS_BYTES)
        if len(response) < _STATUS_BYTES:
            raise LinkFailed("the chip's response has no status")
        return response[:-2], response[-2] << 8 | response[-1]
