# SPDX-License-Identifier: Apache-2.0
"""An answer that is repeated for a while to whoever asks: many pages ask no server more often than one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from birthmark.line.ports import Stopwatch

T = TypeVar("T")


@dataclass(slots=True)
class Remembered(Generic[T]):
    """Asks when somebody asks here, at most once in `memory_s`. Calls may come from any thread."""

    ask: Callable[[], T]
    memory_s: float
    stopwatch: Stopwatch
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: tuple[float, T] | None = None

    def now(self) -> T:
        """Return the answer, at most so old."""
        with self._lock:
            if self._known is None or self.stopwatch() - self._known[0] > self.memory_s:
                answer = self.ask()
                self._known = self.stopwatch(), answer
            return self._known[1]
