# SPDX-License-Identifier: Apache-2.0
"""
Blocks of T=1' in the form of GlobalPlatform GPC_SPE_172 version 1.0 (APDU Transport over SPI/I2C).

    NAD 1 byte | PCB 1 byte | LEN 2 bytes, big-endian | INF LEN bytes | CRC 2 bytes, big-endian, over NAD to INF

    PCB  I-block  0 N(S) M 00000         N(S) = 40, M (more follows) = 20
         R-block  100 N(R) 00 ee         N(R) = 10, ee = 0 accepted, 1 CRC error, 2 other error
         S-block  11 r ttttt             r = 20 in a response; t: 0 RESYNCH, 1 IFS, 2 ABORT, 3 WTX, 4 CIP
"""

from birthmark_mcu.crc16 import crc16

NAD_TO_CHIP = 0x5A
NAD_FROM_CHIP = 0xA5
HEADER_BYTES = 4
OVERHEAD_BYTES = 6
IFS_LIMIT = 0xFF9
"""The largest information field that the standard allows."""

I_NUMBER = 0x40
I_MORE = 0x20
R_BLOCK = 0x80
R_NUMBER = 0x10
R_ERROR = 0x03
S_BLOCK = 0xC0
S_RESPONSE = 0x20

ERROR_CRC = 1
ERROR_OTHER = 2

RESYNCH = 0
IFS = 1
WTX = 3
CIP = 4


class BadBlock(Exception):
    """Bytes that are not a block. `code` is the error that an R-block answers with."""

    def __init__(self, problem: str, code: int) -> None:
        super().__init__(problem)
        self.code = code


class Block:
    """One decoded block: its PCB and its information field."""

    def __init__(self, pcb: int, inf: bytes) -> None:
        self.pcb = pcb
        self.inf = inf

    def is_information(self) -> bool:
        """Return whether this is an I-block."""
        return not self.pcb & 0x80

    def is_ready(self) -> bool:
        """Return whether this is an R-block."""
        return self.pcb & 0xC0 == R_BLOCK

    def is_supervisory(self, kind: int) -> bool:
        """Return whether this is the S-block with that type and direction, for example `S_RESPONSE | CIP`."""
        return self.pcb == S_BLOCK | kind

    def number(self) -> int:
        """Return N(S) of an I-block or N(R) of an R-block: 0 or 1."""
        return int(bool(self.pcb & (I_NUMBER if self.is_information() else R_NUMBER)))

    def more(self) -> bool:
        """Return whether another I-block of the same chain follows."""
        return bool(self.pcb & I_MORE)


def encode(nad: int, pcb: int, inf: bytes = b"") -> bytes:
    """Return the bytes of a block."""
    head = bytes((nad, pcb, len(inf) >> 8, len(inf) & 0xFF)) + inf
    crc = crc16(head)
    return head + bytes((crc >> 8, crc & 0xFF))


def decode(nad: int, frame: bytes) -> Block:
    """
    Return the block in the frame, which it fills from the first to the last byte.

    Raises:
        BadBlock: too short, wrong length, another address, wrong CRC, or a PCB that the standard does not know.

    """
    if len(frame) < OVERHEAD_BYTES or information_length(frame) != len(frame) - OVERHEAD_BYTES:
        raise BadBlock("the length is wrong", ERROR_OTHER)
    if crc16(frame[:-2]) != frame[-2] << 8 | frame[-1]:
        raise BadBlock("the CRC is wrong", ERROR_CRC)
    if frame[0] != nad or not _known(frame[1], len(frame) - OVERHEAD_BYTES):
        raise BadBlock("the NAD or the PCB is wrong", ERROR_OTHER)
    return Block(frame[1], frame[HEADER_BYTES:-2])


def information_length(header: bytes) -> int:
    """Return LEN of a block of which at least the header is there."""
    return header[2] << 8 | header[3]


def _known(pcb: int, length: int) -> bool:
    if not pcb & 0x80:
        return not pcb & 0x1F
    if pcb & 0xC0 == R_BLOCK:
        return length == 0 and not pcb & 0x2C and pcb & R_ERROR != R_ERROR
    return True
