# SPDX-License-Identifier: Apache-2.0
"""
A new process at every place, one place after the other, and no request is lost.

Behind the front, the next worker serves the place's listener before the one that was there is told to leave; that one
takes no new connection, answers what comes on those that it has, and ends when the last is gone (`worker`). When the
next worker does not start, nothing more is replaced. What runs beside the workers serves nobody: it ends first.
"""

import logging
import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from birthmark.net.front.description import LEAVE_TIME_S
from birthmark.net.front.processes import (
    START_TIME_S,
    WORKER_STOP_TIME_S,
    Place,
    another,
    close_stream,
    end_of,
)

LEAVE: Final = signal.SIGUSR1
"""Tells a worker to take no new connections, and to end when it has none any more."""
DISMISS_TIME_S: Final = 15.0
"""What a process beside the workers gets to end what it does."""
_LINE_MAX: Final = 4_096
_LOG: Final = logging.getLogger(__name__)


class Step(Enum):
    """What came of a step."""

    NOTHING = "nothing"
    GOING = "going"
    LAST = "last"
    FAILED = "failed"


@dataclass(slots=True)
class _Next:
    """A process that is about to take a place."""

    process: "subprocess.Popen[bytes]"
    deadline: float
    said: bytes = b""

    def is_ready(self) -> bool:
        """Say whether it has printed its line. Does not wait."""
        stream = self.process.stdout
        if stream is not None and select.select([stream], [], [], 0)[0]:
            self.said += os.read(stream.fileno(), _LINE_MAX)
        return self.said.endswith(b"\n")


@dataclass(slots=True)
class _Leaving:
    """A process that was told to go, and until when it may take."""

    process: "subprocess.Popen[bytes]"
    until: float
    warned: bool = False


class Rolling:
    """Replaces what runs at the places. Belongs to the supervisor's loop: nothing here waits."""

    def __init__(self) -> None:
        self._turn: deque[Place] = deque()
        self._next: _Next | None = None
        self._told: Place | None = None
        self._leaving: list[_Leaving] = []

    @property
    def under_way(self) -> bool:
        """Whether some place still waits for its next process."""
        return bool(self._turn)

    def begin(self, places: Sequence[Place]) -> None:
        """Begin with the first place, also when that was replaced a moment ago: what it has read may be old."""
        self._told = None
        self._drop_next()
        self._turn = deque(sorted(places, key=lambda place: place.listener is None))

    def step(self, now: float) -> Step:
        """Do what can be done now."""
        self._see_off(now)
        if not self._turn:
            return Step.NOTHING
        place = self._turn[0]
        done = self._dismissed(place, now) if place.listener is None else self._succeeded(place, now)
        if done is None:
            self._turn.clear()
            return Step.FAILED
        if done:
            self._turn.popleft()
        return Step.GOING if self._turn else Step.LAST

    def _see_off(self, now: float) -> None:
        left = [each for each in self._leaving if not _is_gone(each, now)]
        if self._leaving and not left:
            _LOG.info("net.front.left: the workers of before have ended")
        self._leaving = left

    def processes(self) -> list["subprocess.Popen[bytes]"]:
        """Return what runs besides the places' own processes."""
        coming = [] if self._next is None else [self._next.process]
        return [*(each.process for each in self._leaving), *coming]

    def _succeeded(self, place: Place, now: float) -> bool | None:
        """Return whether the next worker has taken the place; None when it never will."""
        if self._next is None:
            self._next = _Next(another(place), now + START_TIME_S)
        candidate = self._next
        if candidate.is_ready():
            self._next = None
            if place.process is not None:
                place.process.send_signal(LEAVE)
                self._leaving.append(_Leaving(place.process, now + LEAVE_TIME_S))
            place.process, place.started_at, place.dismissed = candidate.process, now, False
            return True
        if candidate.process.poll() is None and now < candidate.deadline:
            return False
        why = end_of(candidate.process)
        _LOG.error("net.front.reload-failed: %s: the next one did not start (%s); this one stays", place.name, why)
        self._drop_next()
        return None

    def _drop_next(self) -> None:
        """Let go of the next process. Should it serve already, it leaves; before that the signal ends it."""
        if self._next is not None:
            self._next.process.send_signal(LEAVE)
            self._leaving.append(_Leaving(self._next.process, time.monotonic() + LEAVE_TIME_S))
            self._next = None

    def _dismissed(self, place: Place, now: float) -> bool:
        """Return whether another process runs at a place beside the workers."""
        if self._told is not place and place.process is not None:
            self._told = place
            place.dismissed, place.dismissed_at = True, now
            place.process.terminate()
            return False
        if place.dismissed and place.process is not None and now - place.dismissed_at > DISMISS_TIME_S:
            place.process.kill()
        return not place.dismissed


def _is_gone(leaving: _Leaving, now: float) -> bool:
    if leaving.process.poll() is not None:
        close_stream(leaving.process.stdout)
        return True
    if now > leaving.until:
        (leaving.process.kill if leaving.warned else leaving.process.terminate)()
        leaving.warned, leaving.until = True, now + WORKER_STOP_TIME_S
    return False
