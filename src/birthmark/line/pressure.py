# SPDX-License-Identifier: Apache-2.0
"""
Back-pressure: what the line does when more waits for the MES, or for longer, than the policy allows.

"stop": no panel begins until the MES has caught up. "hold-flags": the line goes on, and what it makes carries
`mes_hold`, so that what is downstream can keep those units back. The CA is not asked here: without it the line holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from birthmark.core.clock import Clock
from birthmark.core.delivery import CA_DESTINATION, Backlog
from birthmark.line.errors import MESBehind
from birthmark.line.events import Events
from birthmark.line.hold import Holds
from birthmark.line.journal import writable
from birthmark.line.ports import LineStore

CAUGHT_UP: Final = 0.5
"""A line that has stopped goes on when no more than this share of the limit waits: not for one panel at a time."""


_GO_ON_HINT: Final = "the line goes on; units carry mes_hold until the MES has caught up"


class MESPolicy(StrEnum):
    """What comes of it that the MES is behind."""

    STOP = "stop"
    HOLD_FLAGS = "hold-flags"


@dataclass(frozen=True, slots=True)
class Pressure:
    """The limits of one rig: parcels that wait for one destination, and the age of the oldest of them in seconds."""

    policy: MESPolicy
    waiting: int
    age_s: float

    def behind(self, backlog: Sequence[Backlog], at: datetime, share: float = 1.0) -> tuple[Backlog, ...]:
        """Return the destinations that are behind the limits, of parcels times `share`. Parked ones do not count."""
        return tuple(each for each in backlog if _is_mes(each) and self._exceeded(each, at, share))

    def _exceeded(self, backlog: Backlog, at: datetime, share: float) -> bool:
        if not backlog.waiting:
            return False
        age_s = (at - datetime.fromisoformat(backlog.oldest_at)).total_seconds()
        return backlog.waiting > self.waiting * share or age_s > self.age_s


class Gate:
    """Asked before a panel begins under the policy "stop". Once it was shut it opens when the MES has caught up."""

    def __init__(self, pressure: Pressure) -> None:
        self._pressure = pressure
        self._share = 1.0

    def demand(self, backlog: Sequence[Backlog], at: datetime) -> None:
        """Pass while no destination is behind. Raises MESBehind: what waits, since when, and why."""
        behind = self._pressure.behind(backlog, at, self._share)
        if behind:
            self._share = CAUGHT_UP
            raise MESBehind("; ".join(map(told, behind)))
        self._share = 1.0


def admit(pressure: Pressure, store: LineStore, holds: Holds, events: Events, clock: Clock) -> bool:
    """
    Let the next panel begin, by the policy; return whether it carries `mes_hold`.

    Raises:
        HoldEnded, LineStopped: the line stood still for the MES, and may do so no longer.
        JournalUnwritable: what waits cannot be read.

    """

    def backlog() -> tuple[Backlog, ...]:
        with writable():
            return store.backlog()

    if pressure.policy is MESPolicy.STOP:
        gate = Gate(pressure)
        holds.call("", lambda: gate.demand(backlog(), clock()))
        return False
    behind = pressure.behind(backlog(), clock())
    for each in behind:
        events.emit(event="mes.behind", destination=each.destination, what=told(each), hint=_GO_ON_HINT)
    return bool(behind)


def told(backlog: Backlog) -> str:
    """Return in words what waits for a destination, since when, and what it said last."""
    why = f" ({backlog.reason})" if backlog.reason else ""
    return f"{backlog.waiting} events wait for {backlog.destination}, since {backlog.oldest_at}{why}"


def _is_mes(backlog: Backlog) -> bool:
    return backlog.configured and backlog.destination != CA_DESTINATION
