# SPDX-License-Identifier: Apache-2.0
"""
Thousands of simulated boards, each chip and each MCU a process of its own, without the time that Python needs to start.

This file is run as a program: it has the simulator imported, forks a process for each order (a JSON line on stdin) and
answers with its pid. `Magazine` is the other side. What the processes do is what the simulator's own programs do.
"""

import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

READY_S = 30.0
_POLL_S = 0.002


class Fork:
    """One process of a chip or an MCU. Held by a pidfd, so that no later process with its pid is ever meant."""

    def __init__(self, pid: int, out: Path) -> None:
        self._out = out
        self._handle: int | None = None
        with suppress(ProcessLookupError):
            self._handle = os.pidfd_open(pid)

    def await_ready(self) -> dict[str, Any]:
        """Return the first line that it prints."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            text = self._out.read_bytes()
            if b"\n" in text:
                return dict(json.loads(text.split(b"\n", 1)[0]))
            time.sleep(_POLL_S)
        raise AssertionError(f"it did not start: {self._out.with_suffix('.log').read_text()[-1000:]}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal, and return when it is no more."""
        if self._handle is None:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)
        assert select.select([self._handle], [], [], READY_S)[0], "it does not end"
        os.close(self._handle)
        self._handle = None


class Magazine:
    """Starts processes. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # What it has forked ends with it.
        self._process.communicate(timeout=READY_S)

    def start(self, program: str, name: str, *options: str | Path) -> Fork:
        """Start `chip` or `mcu` with these options; its output goes to NAME.out and NAME.log."""
        out = self._folder / f"{name}.out"
        out.write_bytes(b"")
        order = {"program": program, "options": [str(option) for option in options], "out": str(out)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            pid = int(self._process.stdout.readline())
        return Fork(pid, out)


# --- the program ---


def _serve() -> None:
    from birthmark.silicon.simulator import __main__ as chip  # noqa: PLC0415 of the program alone
    from birthmark.silicon.simulator import board  # noqa: PLC0415 as above

    programs = {"chip": chip.main, "mcu": board.main}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: they are not to stay as zombies
    os.setpgid(0, 0)
    gc.freeze()  # what is imported is shared with the forks, and not looked at again by each
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
            programs[order["program"]]()
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def _become(order: dict[str, Any]) -> None:
    """Give the new process input, output and arguments of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, order["out"], os.O_WRONLY | os.O_TRUNC),
        (2, Path(order["out"]).with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        file = os.open(path, mode, 0o600)
        os.dup2(file, number)
        os.close(file)
    sys.argv = [order["program"], *order["options"]]


if __name__ == "__main__":
    _serve()
