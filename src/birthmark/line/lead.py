# SPDX-License-Identifier: Apache-2.0
"""What a lead sees and decides about units: a look at a record, an override, a rework. Each with who and why."""

from contextlib import AbstractContextManager
from datetime import datetime
from types import TracebackType
from typing import Self

from birthmark.core.work import UnitChange, UnitWork
from birthmark.line.leases import reached
from birthmark.line.ports import UnitStore
from birthmark.line.units import overridden, reworked


class UnitOffice(AbstractContextManager["UnitOffice"]):
    """The units' store, for a person. Every call raises UnitsAway when it cannot be reached."""

    def __init__(self, store: UnitStore) -> None:
        self._store = store

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
            return overridden(work, by, reason, at)

        with reached():
            return self._store.change(unit, decide)

    def rework(self, unit: str, by: str, reason: str) -> UnitWork:
        """Let a unit that did not pass begin anew, its counts at zero. Raises UnitStopped."""

        def decide(work: UnitWork, at: datetime) -> UnitWork:
            return reworked(work, by, reason, at)

        with reached():
            return self._store.change(unit, decide)
