# SPDX-License-Identifier: Apache-2.0
"""
Run the MCU of a simulated board: `python -m birthmark.silicon.simulator.board --bus P --serial LINK`.

It is the firmware library itself, between a chip at a simulated bus and a pseudo-terminal or a UDP socket. With `--udp
HOST:PORT` it is on the network. Prints one JSON line with its address when it can be spoken to. Stops on SIGTERM. Exit
code 2: it cannot start.
"""

import argparse
import json
import os
import pty
import secrets
import signal
import socket
import sys
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.errors import ChipAbsent
from birthmark.silicon.simulator.rail import ALWAYS_FED, Rail, Supply
from birthmark_mcu.chip import SecureElement
from birthmark_mcu.errors import NoChip
from birthmark_mcu.smp import registry
from birthmark_mcu.smp.board import ChipGroup, ChipSource
from birthmark_mcu.smp.serve import Stream, serve
from birthmark_mcu.smp.server import OSGroup, Server

_DATAGRAM_BYTES = 65535


class _Terminal(Stream):
    """The board's end of a pseudo-terminal, with its other end under a name."""

    def __init__(self, link: Path) -> None:
        self._board, self._rig = pty.openpty()
        # Raw, as a UART is; held open, so that the line lives while no rig has it.
        tty.setraw(self._rig)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(self._rig))

    def read(self, count: int) -> bytes | None:
        return os.read(self._board, count)

    def write(self, data: bytes) -> int | None:
        return os.write(self._board, data)


class _Bus(ChipSource):
    """The chip at a simulated bus. Its power goes off and on again at each `open`, as a board resets its chip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bus: SimulatedI2C | None = None

    def connect(self) -> SecureElement:
        try:
            self._bus = SimulatedI2C(self._path)
        except ChipAbsent as absent:
            raise NoChip(str(absent)) from absent
        return SecureElement(self._bus)

    def let_go(self) -> None:
        """Lose the bus, as a board does that loses its power."""
        if self._bus is not None:
            self._bus.deinit()


class FedServer(Server):
    """A board on a supply: without power it says nothing, and with new power it has forgotten everything."""

    def __init__(self, started: Callable[[], Server], supply: Supply, let_go: Callable[[], None]) -> None:
        self._started = started
        self._supply = supply
        self._let_go = let_go
        self._period = supply.period()
        self._now = started()

    def answer(self, frame: bytes) -> bytes:
        """Return the answer to a frame, or nothing."""
        period = self._supply.period()
        if period != self._period:
            self._period = period
            self._let_go()
            self._now = self._started()
        return self._now.answer(frame) if period else b""


def main() -> None:
    """Serve the board until SIGTERM."""
    options = _parse()
    signal.signal(signal.SIGTERM, _stop)
    try:
        _run(options)
    except BirthmarkError as error:
        sys.stderr.write(f"{error.finding}: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="birthmark.silicon.simulator.board", description="One simulated board.")
    parser.add_argument("--bus", type=Path, required=True, help="the bus of the board's chip")
    carrier = parser.add_mutually_exclusive_group(required=True)
    carrier.add_argument("--serial", type=Path, help="name of the pseudo-terminal that a rig opens")
    carrier.add_argument("--udp", help="HOST:PORT to listen at; port 0: any free one")
    parser.add_argument("--rail", type=Path, help="folder of the rail that feeds the board; without it, it always is")
    parser.add_argument("--frame", type=int, default=registry.FRAME_BYTES, help="size of the board's frame buffer")
    parser.add_argument("--stage", type=int, default=registry.STAGE_BYTES, help="longest value that it has room for")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> None:
    bus, supply = _Bus(options.bus), ALWAYS_FED if options.rail is None else Rail(options.rail)
    server = FedServer(lambda: board_server(bus, options.frame, options.stage), supply, bus.let_go)
    if options.serial is not None:
        with _named(options.serial) as line:
            _ready(f"smp:serial={options.serial}")
            serve(line, server, options.frame)
    else:
        with _datagrams(options.udp) as here:
            host, port = here.getsockname()[:2]
            _ready(f"smp:udp={host}:{port}")
            _serve_datagrams(here, server)


def board_server(source: ChipSource, frame_bytes: int, stage_bytes: int = registry.STAGE_BYTES) -> Server:
    """
    Return a server with the groups of a board, as it is after a reset.

    Raises:
        ConfigError: no board has such a frame size.

    """
    chip = ChipGroup(source, secrets.randbelow(registry.REVISION_LIMIT), frame_bytes, stage_bytes)
    try:
        return Server(frame_bytes, {registry.GROUP_OS: OSGroup(frame_bytes), registry.GROUP: chip})
    except ValueError as error:
        raise ConfigError(f"{frame_bytes} bytes: {error}") from error


@contextmanager
def _named(link: Path) -> Iterator[_Terminal]:
    try:
        yield _Terminal(link)
    finally:
        link.unlink(missing_ok=True)


@contextmanager
def _datagrams(where: str) -> Iterator[socket.socket]:
    host, _, port = where.rpartition(":")
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        here.bind((host, int(port)))
        yield here
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot listen at {where}: {error}") from error
    finally:
        here.close()


def _serve_datagrams(here: socket.socket, server: Server) -> NoReturn:
    """Answer one frame per datagram."""
    while True:
        frame, rig = here.recvfrom(_DATAGRAM_BYTES)
        answer = server.answer(frame)
        if answer:
            here.sendto(answer, rig)


def _ready(address: str) -> None:
    sys.stdout.write(json.dumps({"ready": address}) + "\n")
    sys.stdout.flush()


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(0)


if __name__ == "__main__":
    main()
