# SPDX-License-Identifier: Apache-2.0
"""A board's server in this process, and lines to it that lose, repeat, hold back and damage what they carry."""

import contextlib
import os
import pty
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from birthmark.silicon.simulator.board import board_server
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.memory import LifeCycle
from birthmark_mcu.chip import SecureElement
from birthmark_mcu.smp import registry as smp
from birthmark_mcu.smp.board import ChipSource
from birthmark_mcu.smp.console import Decoder, encode
from birthmark_mcu.smp.server import Server
from support.chip_buses import LocalBus
from support.chips import certify_ak

_POLL_S = 0.02
_COMMAND = 7
# What a line does with the bytes that a frame travels as: the bytes that arrive, in so many pieces.
Mangling = Callable[[bytes], list[bytes]]


class LocalChip(ChipSource):
    """A chip without process and socket, freshly reset at each connection."""

    def __init__(self, folder: Path) -> None:
        self.bus = LocalBus(folder / "chip.json")
        inject(self.bus, certify_ak, LifeCycle.OPERATIONAL)

    def connect(self) -> SecureElement:
        self.bus.chip.power_on()
        return SecureElement(self.bus)


def as_it_is(sent: bytes) -> list[bytes]:
    return [sent]


def lose(_sent: bytes) -> list[bytes]:
    return []


def repeat(sent: bytes) -> list[bytes]:
    return [sent, sent]


@dataclass
class BadLine:
    """
    A line to a server. What is armed for a command happens to its next frame.

    `asked` are the commands that reached the server, in their order.
    """

    server: Server
    asked: list[int] = field(default_factory=list)
    on_requests: dict[int, Mangling] = field(default_factory=dict)
    on_answers: dict[int, Mangling] = field(default_factory=dict)
    address: str = ""

    def carry(self, frame: bytes, wrap: Callable[[bytes], bytes]) -> list[bytes]:
        """Return what comes back for a frame, as it travels."""
        command = frame[_COMMAND]
        arriving = self.on_requests.pop(command, as_it_is)(frame)
        self.asked += [command] * len(arriving)
        answers = [self.server.answer(one) for one in arriving]
        pieces = [self.on_answers.pop(command, as_it_is)(wrap(answer)) for answer in answers if answer]
        return [piece for some in pieces for piece in some]


@contextmanager
def bad_serial_line(server: Server) -> Iterator[BadLine]:
    """Carry frames between a pseudo-terminal and the server until the block ends."""
    board, rig = pty.openpty()
    tty.setraw(rig)
    os.set_blocking(board, False)
    line = BadLine(server, address=f"smp:serial={os.ttyname(rig)}")
    decoder = Decoder(smp.FRAME_BYTES_MAX)

    def step() -> None:
        with contextlib.suppress(BlockingIOError):
            for frame in decoder.feed(os.read(board, 4096)):
                for piece in line.carry(frame, encode):
                    os.write(board, piece)

    with _repeated(step):
        yield line
    os.close(board)
    os.close(rig)


@contextmanager
def bad_network(server: Server) -> Iterator[BadLine]:
    """Carry frames between a UDP socket and the server until the block ends."""
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind(("127.0.0.1", 0))
    here.settimeout(_POLL_S)
    line = BadLine(server, address=f"smp:udp=127.0.0.1:{here.getsockname()[1]}")

    def step() -> None:
        with contextlib.suppress(TimeoutError):
            frame, rig = here.recvfrom(65535)
            for piece in line.carry(frame, bytes):
                here.sendto(piece, rig)

    with here, _repeated(step):
        yield line


@contextmanager
def _repeated(step: Callable[[], None]) -> Iterator[None]:
    ended = threading.Event()

    def work() -> None:
        while not ended.is_set():
            step()
            ended.wait(0.0005)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def reset(line: BadLine, chip: LocalChip) -> Callable[[bytes], list[bytes]]:
    """Return a mangling: the board is reset instead of taking the frame in."""

    def mangle(_sent: bytes) -> list[bytes]:
        line.server = board_server(chip, smp.FRAME_BYTES)
        return []

    return mangle
