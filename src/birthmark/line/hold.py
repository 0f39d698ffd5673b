# SPDX-License-Identifier: Apache-2.0
"""
Holding: CA or MES cannot go on, so positions wait, one message says why, and work resumes by itself.

Positions that wait for the same reason share one hold: the first to be turned away announces it, the first to get
through announces its end and wakes the others.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from birthmark.line.errors import Away, HoldEnded, LineStopped, UnitInWork
from birthmark.line.events import Events
from birthmark.line.ports import Stopwatch

T = TypeVar("T")


class Holds:
    """The holds of one run. Thread-safe. `retry_s` is the pause between tries when nobody names one."""

    def __init__(self, events: Events, stopwatch: Stopwatch, retry_s: float, limit_s: float | None) -> None:
        self._events = events
        self._stopwatch = stopwatch
        self._retry_s = retry_s
        self._limit_s = limit_s
        self._changed = threading.Condition()
        self._held: dict[str, str] = {}
        self._stopped = False
        self._patient = True

    def call(self, unit: str, act: Callable[[], T]) -> T:
        """
        Return what `act` returns, trying again while CA or MES is away or the unit is in work elsewhere.

        Raises:
            HoldEnded: `limit_s` has passed, or nobody is to wait any more.
            LineStopped: the run was ended.
            AuthorityRefused: the CA said no; nothing is tried again.

        """
        began = self._stopwatch()
        held: set[str] = set()
        while True:
            try:
                result = act()
            except Away as away:
                reason = unit if isinstance(away, UnitInWork) else ""
                held.add(reason)
                self._wait(reason, away, began)
            except BaseException:
                # A refusal is an answer: whoever gives it is there.
                self._leave(held)
                raise
            else:
                self._leave(held)
                return result

    def pause(self, pause_s: float) -> None:
        """Wait so long. Raises LineStopped when the run is ended meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, pause_s)
        self.check_running()

    def stop(self) -> None:
        """End every hold, now and later, with LineStopped."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wait_no_more(self) -> None:
        """End every hold, now and later, with HoldEnded. What need not wait goes on to its end."""
        with self._changed:
            self._patient = False
            self._changed.notify_all()

    def check_running(self) -> None:
        """Raise LineStopped when the run was ended: asked before each step."""
        if self._stopped:
            raise LineStopped("the run was ended", hint="run the panel again: it goes on from where it is")

    def _wait(self, reason: str, away: Away, began: float) -> None:
        pause_s = max(self._retry_s, away.retry_after_s or 0.0)
        if self._limit_s is not None and self._stopwatch() - began + pause_s > self._limit_s:
            raise HoldEnded(
                f"held for {self._limit_s:g} s: {away.message}", hint="mend the cause and run the panel again"
            ) from away
        with self._changed:
            self._check_patience(away)
            if reason not in self._held:
                self._held[reason] = away.finding
                self._events.emit(event="hold", unit=reason, what=away.message, hint=away.hint, finding=away.finding)
            self._changed.wait_for(
                lambda: self._stopped or not self._patient or reason not in self._held,
                pause_s,
            )
            self._check_patience(away)

    def _check_patience(self, away: Away) -> None:
        self.check_running()
        if not self._patient:
            raise HoldEnded(
                f"the rig is being switched off: {away.message}",
                hint="run the panel again: it goes on from where it is",
                finding="line.hold.ending",
            ) from away

    def _leave(self, reasons: set[str]) -> None:
        if not reasons:
            return
        with self._changed:
            ended = {reason: self._held.pop(reason) for reason in sorted(reasons) if reason in self._held}
            self._changed.notify_all()
            for reason, finding in ended.items():
                self._events.emit(event="resume", unit=reason, finding=finding)
