# SPDX-License-Identifier: Apache-2.0
"""What the line says while it works: one event at a time, in the order in which things happened."""

import threading

from birthmark.line.ports import Emit


class Events:
    """Hands events to one listener from many threads, one at a time."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._lock = threading.Lock()

    def emit(self, **event: object) -> None:
        """Return once the listener has taken the event: an act that is announced comes after its announcement."""
        with self._lock:
            self._emit(event)
