# SPDX-License-Identifier: Apache-2.0
"""Boards whose MCU speaks SMP: real processes between a chip's bus and a pseudo-terminal or a UDP socket."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STOP_TIMEOUT_S = 5.0
ANY_PORT = "127.0.0.1:0"


@dataclass(frozen=True)
class Board:
    """A running board. `address` is what a rig opens."""

    process: subprocess.Popen[str]
    address: str


@contextmanager
def smp_board(bus: Path, *options: str, carrier: str = "serial") -> Iterator[Board]:
    """Run the MCU of a board whose chip is at a bus, until the block ends."""
    with tempfile.TemporaryDirectory(prefix="board-") as directory:
        where = ["--serial", f"{directory}/tty"] if carrier == "serial" else ["--udp", ANY_PORT]
        command = [sys.executable, "-m", "birthmark.silicon.simulator.board", "--bus", str(bus), *where, *options]
        board = Board(*_start(command))
        try:
            yield board
        finally:
            board.process.terminate()
            board.process.communicate(timeout=STOP_TIMEOUT_S)


def _start(command: list[str]) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["ready"]
