# SPDX-License-Identifier: Apache-2.0
"""What a lead sees and decides about units: a look at a record, an override, a rework. Each with who and why."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import Self

from birthmark.core.work import Holder, Transition, UnitChange, UnitWork
from birthmark.line.leases import reached
from birthmark.line.ports import UnitStore
from birthmark.line.units import overridden, reworked


class UnitOffice(AbstractContextManager["UnitOffice"]):
    """
    The units' store, for a person at one rig. Every call raises UnitsAway when it cannot be reached.

    A decision names the rig: that rig tells the factory. `tell` does so; it is called before a decision too, so that
    what cannot be told is not decided.
    """

    def __init__(self, store: UnitStore, rig: str, tell: Callable[[], None]) -> None:
        self._store = store
        self._rig = Holder(rig, "")
        self._tell = tell

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store.close()

    def show(self, unit: str) -> UnitWork:
        """Return how a unit stands."""
        with reached():
            return self._store.units((unit,))[0]

    def history(self, unit: str) -> tuple[UnitChange, ...]:
        """Return all that was ever written of a unit, oldest first."""
        with reached():
            return self._store.history_of(unit)

    def override(self, unit: str, by: str, reason: str) -> UnitWork:
        """Let a quarantined unit be worked on again. Raises UnitStopped."""

        def decide(work: UnitWork, at: datetime) -> UnitWork:
            return replace(overridden(work, by, reason, at), holder=self._rig)

        return self._decide(unit, decide)

    def rework(self, unit: str, by: str, reason: str) -> UnitWork:
        """Let a unit that did not pass begin anew, its counts at zero. Raises UnitStopped."""

        def decide(work: UnitWork, at: datetime) -> UnitWork:
            return replace(reworked(work, by, reason, at), holder=self._rig)

        return self._decide(unit, decide)

    def _decide(self, unit: str, decide: Transition) -> UnitWork:
        self._tell()
        with reached():
            work = self._store.change(unit, decide)
        self._tell()
        return work
