# SPDX-License-Identifier: Apache-2.0
"""
Years of rigs that fail and are repaired: panels as a fluid, at the rates that the floor was found to reach.

A panel takes a second, a repair an hour, a failure comes every month: no board-by-board run shows all three. So the
floor gives the rate with k rigs alive, and here only rigs live and die, on SimPy. The buffer fills while the rigs
alive are slower than the takt; when it is full, the line before it stands and that output is lost. A failure adds one
panel of work: the one that the rig held is counted as worked on again, which is more than it costs, since its boards
go on where they were.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import simpy

from birthmark.line.plan.chance import Chance

HOURS_PER_YEAR: Final = 8_766.0


@dataclass(frozen=True, slots=True)
class Season:
    """What years came to. Hours are per year of operation (8,766 h)."""

    panels_per_h: float
    availability: float
    stopped_h_per_year: float
    failures_per_year: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """Rigs that fail. `rates` are panels per hour with 0, 1, 2, ... rigs alive; `demand` None: always one waiting."""

    rates: Sequence[float]
    demand: float | None
    buffer_panels: int
    mtbf_h: float
    mttr_h: float


class _Years:
    """One run of the fleet. Time is in hours."""

    def __init__(self, fleet: Fleet, name: tuple[object, ...]) -> None:
        self._fleet = fleet
        self._clock = simpy.Environment()
        self._alive = len(fleet.rates) - 1
        self._since_h, self._waiting, self._done = 0.0, 0.0, 0.0
        self._down_h, self._stopped_h, self.failures = 0.0, 0.0, 0
        for number in range(self._alive):
            self._clock.process(self._life(Chance(*name, number)))

    def run(self, hours: float) -> Season:
        self._clock.run(hours)
        self._flow()
        per_year = HOURS_PER_YEAR / hours
        rigs = len(self._fleet.rates) - 1
        return Season(
            panels_per_h=max(self._done, 0.0) / hours,
            availability=1 - self._down_h / hours / rigs,
            stopped_h_per_year=self._stopped_h * per_year,
            failures_per_year=self.failures * per_year,
        )

    def _life(self, chance: Chance) -> Generator[simpy.Event, Any, None]:
        while True:
            yield self._clock.timeout(chance.life(self._fleet.mtbf_h))
            self._change(-1)
            yield self._clock.timeout(chance.life(self._fleet.mttr_h))
            self._change(+1)

    def _change(self, by: int) -> None:
        self._flow()
        self._alive += by
        if by < 0:
            self.failures += 1
            self._done -= 1
            self._waiting += 1

    def _flow(self) -> None:
        """Let the panels flow that flowed since the last change."""
        hours = self._clock.now - self._since_h
        self._since_h = self._clock.now
        self._down_h += hours * (len(self._fleet.rates) - 1 - self._alive)
        if not self._alive:
            self._stopped_h += hours
        rate = self._fleet.rates[self._alive]
        if self._fleet.demand is None:
            self._done, self._waiting = self._done + rate * hours, 0.0
            return
        free = max(self._fleet.buffer_panels - self._waiting, 0.0)
        taken = min(self._fleet.demand * hours, rate * hours + free)
        done = min(rate * hours, self._waiting + taken)
        self._waiting += taken - done
        self._done += done


def run_season(fleet: Fleet, years: float, *name: object) -> Season:
    """Return what so many years come to. `name` is the chance: a rig's life is the same whoever stands beside it."""
    return _Years(fleet, name).run(years * HOURS_PER_YEAR)
