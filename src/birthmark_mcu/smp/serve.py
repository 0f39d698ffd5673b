# SPDX-License-Identifier: Apache-2.0
"""
The loop around a server on a serial line.

On an MCU:

    from machine import I2C, UART
    from birthmark_mcu.chip import SecureElement
    from birthmark_mcu.smp import registry
    from birthmark_mcu.smp.board import ChipGroup
    from birthmark_mcu.smp.serve import serve
    from birthmark_mcu.smp.server import OSGroup, Server

    class Chip:
        def connect(self):
            return SecureElement(I2C(0))

    size = registry.FRAME_BYTES
    revision = int.from_bytes(os.urandom(4), "big")
    groups = {registry.GROUP_OS: OSGroup(size), registry.GROUP: ChipGroup(Chip(), revision)}
    serve(UART(1, 115200, timeout=20), Server(size, groups), size)
"""

from birthmark_mcu.smp.console import Decoder, encode
from birthmark_mcu.smp.server import Server

_READ_BYTES = 64


class Stream:
    """What the loop needs of a line. `machine.UART` has these calls; any object that has them will do."""

    def read(self, count: int) -> "bytes | None":
        """Return up to so many bytes; None when none came in time, nothing at the end of the stream."""
        raise NotImplementedError

    def write(self, data: bytes) -> "int | None":
        """Write some of the data; return how many bytes."""
        raise NotImplementedError


def serve(stream: Stream, server: Server, frame_bytes: int) -> None:
    """Answer what comes, until the stream ends."""
    decoder = Decoder(frame_bytes)
    while True:
        data = stream.read(_READ_BYTES)
        if data is None:
            continue
        if not data:
            return
        for frame in decoder.feed(data):
            _write(stream, server.answer(frame))


def _write(stream: Stream, answer: bytes) -> None:
    rest = encode(answer) if answer else b""
    while rest:
        rest = rest[stream.write(rest) or 0 :]
