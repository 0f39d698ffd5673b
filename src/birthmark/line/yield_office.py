# SPDX-License-Identifier: Apache-2.0
"""What the attempts of a line came to, for people: the numbers of a period, and the attempts themselves."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import time, timedelta
from types import TracebackType
from typing import Final, Self

from birthmark.core.attempts import Attempt, Cell, Grain, Period
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.line.leases import reached
from birthmark.line.periods import read_moment
from birthmark.line.ports import UnitStore
from birthmark.line.yields import Bar, By, Group, Trouble, Yields, compared, pareto, yields

PAGE: Final = 1_000
"""Attempts that are read at once."""
AHEAD: Final = timedelta(minutes=5)
"""How far the clock of the attempts may be ahead of this one in a period that goes on."""
BY_HOUR: Final = timedelta(days=3)
"""A longer period is compared by its days."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a period came to, at one rig or at all."""

    period: Period
    rig: str
    whole: Yields
    groups: Mapping[By, tuple[Group, ...]]
    bars: Mapping[Trouble, tuple[Bar, ...]]


class YieldOffice(AbstractContextManager["YieldOffice"]):
    """The attempts at all rigs that share a units' store. Every call raises UnitsAway when it cannot be reached."""

    def __init__(self, store: UnitStore, shifts: Sequence[time], clock: Clock) -> None:
        self._store = store
        self._shifts = tuple(shifts)
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def period(self, since: str, until: str = "") -> Period:
        """
        Return the period that two texts say (`line.periods`); without `until` it goes on.

        Raises:
            DecodeError: line.yields.period.

        """
        now = self._clock()
        begin = read_moment(since, now, self._shifts)
        # The attempts' clock is the store's, which may be ahead of this one.
        end = read_moment(until, now, self._shifts) if until else now + AHEAD
        if begin >= end:
            raise DecodeError("a period ends after it began", finding="line.yields.period")
        return Period(begin, end)

    def numbers(self, period: Period, rig: str = "") -> Numbers:
        """Return what a period came to: at one rig, or at all."""
        cells, unfinished = self._cells(period, Grain.PLACES, rig)
        spans = self._cells(period, Grain.DAYS if period.until - period.since > BY_HOUR else Grain.HOURS, rig)
        return Numbers(
            period=period,
            rig=rig,
            whole=yields(cells, unfinished),
            groups={by: compared(*(spans if by is By.HOUR else (cells, unfinished)), by) for by in By},
            bars={by: pareto(cells, by) for by in Trouble},
        )

    def _cells(self, period: Period, grain: Grain, rig: str) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
        """Return a period's cells, and those of its units that are not good now."""
        with reached():
            found = self._store.cells(period, grain), self._store.unfinished(period, grain)
        cells, unfinished = (tuple(each for each in those if rig in {"", each.rig}) for those in found)
        return cells, unfinished

    def attempts(self, period: Period) -> Iterator[Attempt]:
        """Return the attempts of a period in the order of their ends, read page by page."""
        last: Attempt | None = None
        while True:
            with reached():
                page = self._store.attempts(period, last, PAGE)
            if not page:
                return
            yield from page
            last = page[-1]

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        with reached():
            return self._store.last(rig, limit)

    def passed(self, order: str) -> int:
        """Return how many units passed under an order, as far back as attempts are kept."""
        with reached():
            return self._store.passed(order)
