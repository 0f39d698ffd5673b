# SPDX-License-Identifier: Apache-2.0
"""
SMP over console: how a frame travels on a serial line, between whatever else is printed there.

    06 09 | base64(length 2 bytes | frame | CRC-16 2 bytes) | 0A

The base64 text is cut into lines of at most LINE_BYTES; all but the first begin with 04 14. The length counts
frame and CRC (CRC-16/XMODEM, over the frame).
"""

from binascii import a2b_base64, b2a_base64

from birthmark_mcu.crc16 import crc16_xmodem
from birthmark_mcu.smp.registry import CRC_BYTES, LENGTH_BYTES, LINE_BYTES, LINE_CONTINUE, LINE_END, LINE_START

_TEXT_LIMIT = (LINE_BYTES - 3) // 4 * 4
_LINE_CONTENT = _TEXT_LIMIT // 4 * 3


def encode(frame: bytes) -> bytes:
    """Return the lines that carry a frame."""
    crc = crc16_xmodem(frame)
    packet = (len(frame) + CRC_BYTES).to_bytes(2, "big") + frame + crc.to_bytes(2, "big")
    # b2a_base64 ends its text with the newline that a line ends with.
    lines = [b2a_base64(packet[at : at + _LINE_CONTENT]) for at in range(0, len(packet), _LINE_CONTENT)]
    return LINE_START + LINE_CONTINUE.join(lines)


class Decoder:
    """
    Finds the frames in a stream of bytes, however it is cut.

    What is not a frame is passed over: noise, lines of other programs, a frame with a wrong CRC or a missing line, and
    one that is longer than `frame_bytes`. It never holds more than one frame and one line.
    """

    def __init__(self, frame_bytes: int) -> None:
        self._packet_bytes = LENGTH_BYTES + frame_bytes + CRC_BYTES
        self._last = 0
        self._line = None  # type: bytearray | None
        self._starts = False
        self._packet = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take in the next bytes of the stream; return the frames that are complete with them."""
        frames = []
        for byte in data:
            if byte == LINE_END and self._line is not None:
                frame = self._end_of_line(bytes(self._line))
                self._line = None
                if frame:
                    frames.append(frame)
            else:
                self._collect(byte)
        return frames

    def _collect(self, byte: int) -> None:
        pair = bytes((self._last, byte))
        self._last = byte
        if pair in (LINE_START, LINE_CONTINUE):
            # Also in the middle of a line: the other end was cut off there and has begun anew.
            self._line = bytearray()
            self._starts = pair == LINE_START
        elif self._line is not None:
            if len(self._line) < _TEXT_LIMIT:
                self._line.append(byte)
            else:
                self._line, self._packet = None, b""

    def _end_of_line(self, text: bytes) -> bytes:
        """Return the frame that this line completes, or nothing."""
        content = _from_base64(text)
        packet = content if self._starts else self._packet + content
        in_turn = self._starts or self._packet
        self._packet = b""
        if not in_turn or not content or len(packet) < LENGTH_BYTES:
            return b""
        whole = LENGTH_BYTES + int.from_bytes(packet[:LENGTH_BYTES], "big")
        if len(packet) > whole or whole > self._packet_bytes:
            return b""
        if len(packet) == whole:
            return _checked(packet)
        self._packet = packet
        return b""


def _checked(packet: bytes) -> bytes:
    """Return the frame in a packet, or nothing when it is damaged."""
    frame = packet[LENGTH_BYTES:-CRC_BYTES]
    return frame if crc16_xmodem(frame) == int.from_bytes(packet[-CRC_BYTES:], "big") else b""


def _from_base64(text: bytes) -> bytes:
    """Return what the text stands for; nothing when it is not base64 to the last sign."""
    try:
        content = a2b_base64(text)
    except ValueError:
        return b""
    # The decoder passes over signs that do not belong there, so the text is compared.
    return content if b2a_base64(content)[:-1] == text else b""
