# SPDX-License-Identifier: Apache-2.0
"""
A scanner at the rig itself: a character device whose lines are scans, whoever has the focus on the screen.

The device may be a serial line, a USB one, or the other end of a pseudo-terminal. It may be pulled out and put back:
the reader says that it is away, and goes on when it is there again.
"""

import contextlib
import logging
import os
import select
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from birthmark.line.station.scan import SCAN_MAX_CHARACTERS

RETRY_S: Final = 0.5
"""How often a device that is away is looked for."""
_CHUNK_BYTES: Final = 1_024
_LINE_MAX_BYTES: Final = 4 * SCAN_MAX_CHARACTERS + 4
"""No longer scan is taken by anybody; what is beyond is cut off, so that nothing grows."""
_log = logging.getLogger(__name__)


class ScanDevice:
    """
    Reads scans from one device in a thread of its own.

    `take` gets each line as text, without its end. `away` is told what is wrong when the device goes, and "" when it
    is back.
    """

    def __init__(self, device: str, take: Callable[[str], None], away: Callable[[str], None]) -> None:
        self._device = device
        self._take = take
        self._away = away
        self._ending = threading.Event()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read as long as the block runs."""
        wake_read, wake_write = os.pipe()
        thread = threading.Thread(target=self._keep_reading, args=(wake_read,), name="scanner")
        thread.start()
        try:
            yield
        finally:
            self._ending.set()
            os.write(wake_write, b"\0")
            thread.join()
            os.close(wake_read)
            os.close(wake_write)

    def _keep_reading(self, wake: int) -> None:
        told = ""
        while not self._ending.is_set():
            try:
                with _opened(self._device) as device:
                    told = self._tell(told, "")
                    self._read(device, wake)
            except OSError as error:
                told = self._tell(told, f"the scanner {self._device}: {error.strerror or error}")
            self._ending.wait(RETRY_S)

    def _tell(self, told: str, now: str) -> str:
        if now != told:
            self._away(now)
        return now

    def _read(self, device: int, wake: int) -> None:
        """Hand on line after line until the station ends or the device does. Raises OSError."""
        pending = b""
        while True:
            ready, _, _ = select.select([device, wake], [], [])
            if wake in ready:
                return
            chunk = os.read(device, _CHUNK_BYTES)
            if not chunk:
                raise OSError("it has ended")
            *lines, rest = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
            pending = rest[:_LINE_MAX_BYTES]
            for line in filter(None, lines):
                self._hand_on(line)

    def _hand_on(self, line: bytes) -> None:
        try:
            self._take(line.decode(errors="replace"))
        except Exception:  # noqa: BLE001 one scan that went wrong is not the end of the scanner
            _log.exception("a scan ended with an error that nobody foresaw")


@contextmanager
def _opened(path: str) -> Iterator[int]:
    device = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if os.isatty(device):
            _without_echo(device)
        yield device
    finally:
        os.close(device)


def _without_echo(device: int) -> None:
    """Let a terminal hand over what comes as it comes: a scanner that hears itself would scan for ever."""
    with contextlib.suppress(termios.error):
        settings = termios.tcgetattr(device)
        settings[0] &= ~(termios.IXON | termios.ICRNL | termios.INLCR | termios.IGNCR)
        settings[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(device, termios.TCSANOW, settings)
