# SPDX-License-Identifier: Apache-2.0
"""
The rigs' records of units, and of the attempts at them, for rigs that reach no database of their own.

These records are the line's memory and no facts of the ledger: nothing that is signed rests on them, the log says
nothing of them, and `ledger check` does not look at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import FORBIDDEN, MALFORMED
from birthmark.ca.errors import CAError, Refused
from birthmark.ca.people.roles import Officer
from birthmark.ca.units.ports import UnitStore
from birthmark.ca.units.reach import Reach
from birthmark.ca.units.rules import demand_attempt, demand_change
from birthmark.core.attempts import Attempt, Cell, Grain, Period
from birthmark.core.attempts_wire import CELLS_MAX, NewAttempt, attempt_of
from birthmark.core.work import UnitChange, UnitWork
from birthmark.core.work_wire import CHANGES_MAX, NewWork, version_of, work_of

MOMENT_MAX: Final = timedelta(seconds=2)
"""How old the moment may be that a rig was given and comes back with."""


class _Moved(CAError):
    """The record is not the one that the rig saw, or its moment is over. Not for clients: they are told what is now."""

    def __init__(self, work: UnitWork, at: datetime) -> None:
        super().__init__("the record has moved on")
        self.work = work
        self.at = at


@dataclass(frozen=True, slots=True)
class UnitDesk:
    """
    Works for rigs that have been recognised. Calls may come from several threads.

    Each raises Refused (ca.work.off, ca.work.order) and StoreError. `store` is None where none is configured.
    """

    store: UnitStore | None
    reach: Reach

    def units(self, rig: Officer, serials: Sequence[str]) -> tuple[datetime, tuple[UnitWork, ...]]:
        """Return the store's moment, and the records as they stand at it or later."""
        store = self._store()
        self.reach.demand(rig, serials)
        return store.now(), store.units(serials)

    def change(self, rig: Officer, serial: str, asked: NewWork) -> tuple[bool, datetime, UnitWork]:
        """
        Make the change if the record is still the one that the rig saw.

        Return whether it was made, the moment of the store and the record as it stands. Refused: ca.work.*.
        """
        store = self._store()
        self.reach.demand(rig, (serial,))
        after = work_of(asked.work)

        def apply(before: UnitWork, now: datetime) -> UnitWork:
            _demand_same(before, now, asked)
            demand_change(before, after, rig.name, asked.at)
            return after

        try:
            return True, asked.at, store.change(serial, apply)
        except _Moved as moved:
            return False, moved.at, moved.work

    def end(self, rig: Officer, serial: str, asked: NewAttempt) -> tuple[Attempt | None, datetime, UnitWork]:
        """
        Keep an attempt, and what its unit becomes by it, if the record is still the one that the rig saw.

        Return the attempt as it is kept, or None; the moment of the store; the record as it stands. Refused: ca.work.*.
        """
        store = self._store()
        self.reach.demand(rig, (serial,))
        self.reach.demand_order(rig, asked.attempt.order)
        after, attempt = work_of(asked.work), attempt_of(asked.attempt)

        def apply(before: UnitWork, now: datetime) -> tuple[UnitWork, Attempt]:
            _demand_same(before, now, asked)
            demand_attempt(before, after, attempt, rig.name, asked.at)
            return after, attempt

        try:
            return store.end(serial, apply), asked.at, after
        except _Moved as moved:
            return None, moved.at, moved.work

    def sharing(self, rig: Officer, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units with this chip or key; of those out of the rig's orders, not what persons said of them."""
        found = self._store().sharing(chip_serial, key_sha256)
        return tuple(work if self.reach.holds(rig, work.unit) else replace(work, by="", reason="") for work in found)

    def history(self, rig: Officer, after: int, limit: int) -> tuple[tuple[UnitChange, ...], int | None]:
        """Return the changes that the rig sees among the next ones, and the number after which to go on."""
        found = self._store().history(after, limit)
        seen = tuple(change for change in found if self.reach.holds(rig, change.work.unit))
        return seen, found[-1].number if len(found) == limit else None

    def history_of(self, rig: Officer, serial: str, after: int) -> tuple[tuple[UnitChange, ...], int | None]:
        """Return the next changes of one unit, and the number after which to go on."""
        store = self._store()
        self.reach.demand(rig, (serial,))
        found = [change for change in store.history_of(serial) if change.number > after]
        page = tuple(found[:CHANGES_MAX])
        return page, page[-1].number if len(found) > CHANGES_MAX else None

    # --- attempts, of the orders that name the rig ---

    def cells(self, rig: Officer, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to. Refused: ca.work.period."""
        return self._told(rig, self._store().cells(period, grain))

    def unfinished(self, rig: Officer, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now. Refused: ca.work.period."""
        return self._told(rig, self._store().unfinished(period, grain))

    def last(self, rig: Officer, at_rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        return self._seen(rig, self._store().last(at_rig, limit))

    def attempts(
        self, rig: Officer, period: Period, after: Attempt | None, limit: int
    ) -> tuple[tuple[Attempt, ...], Attempt | None]:
        """Return those that the rig sees of the next attempts of a period, and the one behind which to go on."""
        found = self._store().attempts(period, after, limit)
        return self._seen(rig, found), found[-1] if len(found) == limit else None

    def passed(self, rig: Officer, order: str) -> int:
        """Return how many attempts passed under an order that names the rig; none under another one."""
        return self._store().passed(order) if order in self.reach.orders(rig) else 0

    def _told(self, rig: Officer, cells: Sequence[Cell]) -> tuple[Cell, ...]:
        orders = self.reach.orders(rig)
        found = tuple(cell for cell in cells if cell.order in orders)
        if len(found) > CELLS_MAX:
            hint = "ask for a shorter period"
            raise Refused(MALFORMED, "ca.work.period", f"{len(found)} cells; at most {CELLS_MAX} are told", hint=hint)
        return found

    def _seen(self, rig: Officer, attempts: Sequence[Attempt]) -> tuple[Attempt, ...]:
        orders = self.reach.orders(rig)
        return tuple(attempt for attempt in attempts if attempt.order in orders)

    def _store(self) -> UnitStore:
        if self.store is None:
            raise Refused(
                FORBIDDEN, "ca.work.off", "this CA keeps no records of units", hint="units_database in ca.toml"
            )
        return self.store


def _demand_same(before: UnitWork, now: datetime, asked: NewWork | NewAttempt) -> None:
    """Pass what was made of this very record, a moment ago. Raises _Moved."""
    fresh = max(now - MOMENT_MAX, before.changed_at) <= asked.at <= now
    if not fresh or version_of(before) != asked.version:
        raise _Moved(before, now)
