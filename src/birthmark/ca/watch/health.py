# SPDX-License-Identifier: Apache-2.0
"""
Whether certificates could be issued now, of all profiles or of some.

One examination answers everybody who asks while it runs and within MEMORY_S after it, so asking often costs nothing. It
runs in a thread of its own: what it waits for holds up nobody else, and while that takes too long the answer is no.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

from birthmark.ca.demands import Terms
from birthmark.ca.watch.organs import Check, Found, Organs, State, checks, is_open
from birthmark.core.clock import Clock

MEMORY_S: Final = 1.0
"""For so long an examination is repeated to whoever asks."""
ANSWER_WITHIN_S: Final = 2.0
"""An examination that takes longer has found that no certificate can be issued in a reasonable time."""


class ProfileState(Enum):
    """What is known of a profile: its certificates can be issued, cannot, or may not be any more."""

    OK = "ok"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ProfileHealth:
    """Whether a profile can issue now; `detail` names the checks that stand in its way."""

    name: str
    issuer: str
    state: ProfileState
    detail: str


@dataclass(frozen=True, slots=True)
class Health:
    """What all checks found."""

    at: datetime
    checks: tuple[Found, ...]
    profiles: tuple[ProfileHealth, ...]

    @property
    def ready(self) -> bool:
        """Whether a certificate of some profile could be issued now."""
        return any(each.state is ProfileState.OK for each in self.profiles)

    @property
    def sound(self) -> bool:
        """Whether nothing has failed: all that may be issued today could be."""
        return all(each.state is not State.FAILED for each in self.checks)


class HealthDesk:
    """Examines when it is asked. Calls may come from several threads."""

    def __init__(self, organs: Organs, clock: Clock, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` never goes back."""
        self._checks = checks(organs)
        self._terms = dict(organs.policy.terms)
        self._clock = clock
        self._now_s = now_s
        self._lock = threading.Lock()
        self._begun_s = self._ended_s = now_s()
        self._current: Future[Health] | None = None
        self._trying = ""

    def asked(self) -> "Future[Health]":
        """Return the examination that answers whoever asks now; it may have to end first. Never waits."""
        with self._lock:
            current, now_s = self._current, self._now_s()
            if current is None or (current.done() and now_s >= self._ended_s + MEMORY_S):
                self._begun_s = now_s
                self._current = current = Future()
                threading.Thread(target=self._examine, args=(current,), name="health", daemon=True).start()
            return current

    def health(self, wait_s: float = ANSWER_WITHIN_S) -> Health:
        """Return what was found now, or a moment ago; that nothing was, when it takes longer than `wait_s`."""
        try:
            return self.asked().result(wait_s)
        except TimeoutError:
            return self.unfinished()

    @property
    def is_late(self) -> bool:
        """Whether an examination runs that has taken too long already: who waits for it waits in vain."""
        current = self._current
        return current is not None and not current.done() and self._now_s() >= self._begun_s + ANSWER_WITHIN_S

    def unfinished(self) -> Health:
        """Return what is known while an examination does not end."""
        detail = f"the check of {self._trying} has not ended for {self._now_s() - self._begun_s:.1f} s"
        found = Found("examination", State.FAILED, detail, "look at what does not answer, and at the service's log")
        stuck = Check(found.name, lambda _name, _at: found)
        return self._told(self._clock(), ((stuck, found),))

    def _examine(self, examination: "Future[Health]") -> None:
        try:
            at, found = self._clock(), []
            for check in self._checks:
                self._trying = check.name
                found.append((check, check.found(at)))
            told = self._told(at, tuple(found))
        except BaseException as error:  # noqa: BLE001 a defect: whoever waits must hear of it
            self._ended_s = self._now_s()
            examination.set_exception(error)
        else:
            self._ended_s = self._now_s()
            examination.set_result(told)

    def _told(self, at: datetime, found: tuple[tuple[Check, Found], ...]) -> Health:
        failed = [check for check, each in found if each.state is State.FAILED]
        profiles = tuple(_profile(terms, failed, at) for _, terms in sorted(self._terms.items()))
        return Health(at, tuple(each for _, each in found), profiles)


def _profile(terms: Terms, failed: list[Check], at: datetime) -> ProfileHealth:
    if not is_open(terms, at):
        return ProfileHealth(terms.name, terms.issuer, ProfileState.ENDED, "see last_issue in ca.toml")
    missing = [check.name for check in failed if check.concerns(terms)]
    if missing:
        return ProfileHealth(terms.name, terms.issuer, ProfileState.FAILED, f"failed: {', '.join(missing)}")
    return ProfileHealth(terms.name, terms.issuer, ProfileState.OK, "can be issued")
