# SPDX-License-Identifier: Apache-2.0
"""What the attempts of a line came to, for people: the numbers of a period, and the attempts themselves."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Final, Self

from birthmark.core.attempts import Attempt, Period
from birthmark.core.clock import Clock
from birthmark.line.leases import reached
from birthmark.line.ports import UnitStore
from birthmark.line.yields import Bar, By, Group, Trouble, Yields, compared, pareto, yields

PAGE: Final = 1_000
"""Attempts that are read at once."""


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

    def __init__(self, store: UnitStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def until_now(self, since: datetime) -> Period:
        """Return the period that ends with the attempts of this moment; rigs' clocks may differ by a minute."""
        return Period(since, max(since, self._clock()) + timedelta(minutes=1))

    def numbers(self, period: Period, rig: str = "") -> Numbers:
        """Return what a period came to: at one rig, or at all."""
        with reached():
            cells, unfinished = self._store.cells(period), self._store.unfinished(period)
        if rig:
            cells, unfinished = (tuple(each for each in those if each.rig == rig) for those in (cells, unfinished))
        return Numbers(
            period=period,
            rig=rig,
            whole=yields(cells, unfinished),
            groups={by: compared(cells, unfinished, by) for by in By},
            bars={by: pareto(cells, by) for by in Trouble},
        )

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
