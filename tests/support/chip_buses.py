# SPDX-License-Identifier: Apache-2.0
"""Buses for tests of the link: a chip in this process, and a chip that answers from a script."""

import errno
import os
import time
from collections.abc import Iterable
from pathlib import Path

from birthmark.silicon.simulator.applet import Applet
from birthmark.silicon.simulator.armed import ArmedFaults, Fault
from birthmark.silicon.simulator.chip import Chip
from birthmark.silicon.simulator.memory import MemoryFile, new_memory
from birthmark.silicon.timing import LATENCIES
from birthmark_mcu.bus import I2C


class LocalBus(I2C):
    """The simulated chip without process and socket: the same code, thousands of transfers per second."""

    def __init__(self, state: Path, model: str = "optiga-trust-m") -> None:
        latency = LATENCIES["none"]
        file = MemoryFile(state)
        memory = new_memory(model, "0A1B2C3D4E5F", "1.0.0")
        file.save(memory)
        self.faults = ArmedFaults()
        self.chip = Chip(Applet(file, memory, latency), latency, self.faults, time.monotonic)
        self.chip.power_on()
        self.transfers = 0

    def writeto(self, address: int, data: bytes) -> int:
        self.transfers += 1
        if self.faults.strikes(Fault.NAK_TRANSFERS) or not self.chip.write(address, data):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        self.transfers += 1
        answer = None if self.faults.strikes(Fault.NAK_TRANSFERS) else self.chip.read(address, count)
        if answer is None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return answer

    def deinit(self) -> None:
        self.chip.power_off()


class ScriptedBus(I2C):
    """Answers each block with the next one of a script; keeps what was written. Behind the script it is silent."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._script = list(blocks)
        self._pending = b""
        self.written: list[bytes] = []

    def writeto(self, address: int, data: bytes) -> int:
        del address
        self.written.append(data)
        self._pending = self._script.pop(0) if self._script else b""
        return len(data)

    def readfrom(self, address: int, count: int) -> bytes:
        del address
        if not self._pending:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken.ljust(count, b"\xff")

    def deinit(self) -> None:
        self._pending = b""
