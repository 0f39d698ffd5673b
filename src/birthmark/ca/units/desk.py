# SPDX-License-Identifier: Apache-2.0
"""
The rigs' records of units, for rigs that reach no database of their own.

A rig sees and changes the units in range of the orders that name it, as long as those are approved and not closed.
These records are the line's memory and no facts of the ledger: nothing that is signed rests on them, the log says
nothing of them, and `ledger check` does not look at them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import FORBIDDEN
from birthmark.ca.errors import CAError, Refused
from birthmark.ca.ports import CAStore
from birthmark.ca.units.ports import UnitStore
from birthmark.ca.units.rules import demand_change
from birthmark.core.clock import Clock
from birthmark.core.issuance import Order
from birthmark.core.work import UnitChange, UnitWork
from birthmark.core.work_wire import CHANGES_MAX, NewWork, version_of, work_of

MOMENT_MAX: Final = timedelta(seconds=2)
"""How old the moment may be that a rig was given and comes back with."""
ORDERS_MEMORY: Final = timedelta(seconds=1)


class _Moved(CAError):
    """The record is not the one that the rig saw, or its moment is over. Not for clients: they are told what is now."""

    def __init__(self, work: UnitWork, at: datetime) -> None:
        super().__init__("the record has moved on")
        self.work = work
        self.at = at


@dataclass(slots=True)
class UnitDesk:
    """
    Works for rigs that have been recognised. Calls may come from several threads.

    Each raises Refused (ca.work.off, ca.work.order) and StoreError. `store` is None where none is configured.
    """

    store: UnitStore | None
    ledger: CAStore
    clock: Clock
    _orders: tuple[datetime, tuple[Order, ...]] | None = field(default=None, init=False)

    def units(self, rig: str, serials: Sequence[str]) -> tuple[datetime, tuple[UnitWork, ...]]:
        """Return the store's moment, and the records as they stand at it or later."""
        store = self._store()
        self._demand_seen(rig, serials)
        return store.now(), store.units(serials)

    def change(self, rig: str, serial: str, asked: NewWork) -> tuple[bool, datetime, UnitWork]:
        """
        Make the change if the record is still the one that the rig saw.

        Return whether it was made, the moment of the store and the record as it stands. Refused: ca.work.*.
        """
        store = self._store()
        self._demand_seen(rig, (serial,))
        after, moments = work_of(asked.work), [asked.at]

        def apply(before: UnitWork, now: datetime) -> UnitWork:
            moments.append(now)
            fresh = max(now - MOMENT_MAX, before.changed_at) <= asked.at <= now
            if not fresh or version_of(before) != asked.version:
                raise _Moved(before, now)
            demand_change(before, after, rig, asked.at)
            return after

        try:
            return True, moments[-1], store.change(serial, apply)
        except _Moved as moved:
            return False, moved.at, moved.work

    def sharing(self, rig: str, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units with this chip or key; of those out of the rig's orders, not what persons said of them."""
        found, orders = self._store().sharing(chip_serial, key_sha256), self._orders_of(rig)
        return tuple(work if _seen(orders, work.unit) else replace(work, by="", reason="") for work in found)

    def history(self, rig: str, after: int, limit: int) -> tuple[tuple[UnitChange, ...], int | None]:
        """Return the changes that the rig sees among the next ones, and the number after which to go on."""
        found, orders = self._store().history(after, limit), self._orders_of(rig)
        seen = tuple(change for change in found if _seen(orders, change.work.unit))
        return seen, found[-1].number if len(found) == limit else None

    def history_of(self, rig: str, serial: str, after: int) -> tuple[tuple[UnitChange, ...], int | None]:
        """Return the next changes of one unit, and the number after which to go on."""
        store = self._store()
        self._demand_seen(rig, (serial,))
        found = [change for change in store.history_of(serial) if change.number > after]
        page = tuple(found[:CHANGES_MAX])
        return page, page[-1].number if len(found) > CHANGES_MAX else None

    def _store(self) -> UnitStore:
        if self.store is None:
            raise Refused(
                FORBIDDEN, "ca.work.off", "this CA keeps no records of units", hint="units_database in ca.toml"
            )
        return self.store

    def _demand_seen(self, rig: str, serials: Sequence[str]) -> None:
        orders = self._orders_of(rig)
        foreign = next((serial for serial in serials if not _seen(orders, serial)), None)
        if foreign is not None:
            raise Refused(FORBIDDEN, "ca.work.order", f"no open order that names {rig} has the unit {foreign}")

    def _orders_of(self, rig: str) -> tuple[Order, ...]:
        return tuple(order for order in self._open_orders() if rig in order.rigs)

    def _open_orders(self) -> tuple[Order, ...]:
        at, known = self.clock(), self._orders
        if known is not None and known[0] <= at < known[0] + ORDERS_MEMORY:
            return known[1]
        with self.ledger.reading() as ledger:
            orders = tuple(each for each in ledger.orders() if each.approved_at is not None and each.closed_at is None)
        self._orders = at, orders
        return orders


def _seen(orders: Sequence[Order], unit_serial: str) -> bool:
    return any(order.units.holds(unit_serial) for order in orders)
