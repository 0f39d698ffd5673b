# SPDX-License-Identifier: Apache-2.0
"""
Which units a rig reaches: those in range of the orders that name it, and that its certificate is for.

It works on the units of orders that are approved and not closed; of what was done under its orders it may read also
when they are closed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import FORBIDDEN
from birthmark.ca.errors import Refused
from birthmark.ca.people.roles import Officer
from birthmark.ca.ports import CAStore
from birthmark.core.clock import Clock
from birthmark.core.issuance import Order
from birthmark.pki.rig_scope import in_scope

ORDERS_MEMORY: Final = timedelta(seconds=1)


@dataclass(slots=True)
class Reach:
    """Reads the orders of the ledger once a second at most. Calls may come from several threads. Raises StoreError."""

    ledger: CAStore
    clock: Clock
    _known: tuple[datetime, tuple[Order, ...]] | None = field(default=None, init=False)

    def demand(self, rig: Officer, serials: Sequence[str]) -> None:
        """Pass units that the rig may work on. Refused: ca.work.order."""
        foreign = next((serial for serial in serials if not self.holds(rig, serial)), None)
        if foreign is not None:
            raise Refused(FORBIDDEN, "ca.work.order", f"no open order that names {rig.name} has the unit {foreign}")

    def demand_named(self, rig: Officer, order: str) -> None:
        """Pass an order that names the rig, also a closed one. Refused: ca.work.order."""
        if order not in self.orders(rig):
            raise Refused(FORBIDDEN, "ca.work.order", f"{order[:64]!r} is no order that names {rig.name}")

    def demand_order(self, rig: Officer, order: str) -> None:
        """Pass an open order that names the rig. Refused: ca.work.order."""
        if order not in {each.id for each in self._orders(rig) if each.closed_at is None}:
            raise Refused(FORBIDDEN, "ca.work.order", f"{order[:64]!r} is no open order that names {rig.name}")

    def holds(self, rig: Officer, serial: str) -> bool:
        """Say whether the rig may work on a unit."""
        return any(each.units.holds(serial) for each in self._orders(rig) if each.closed_at is None)

    def orders(self, rig: Officer) -> frozenset[str]:
        """Return the ids of all orders that were approved and name the rig."""
        return frozenset(each.id for each in self._orders(rig))

    def _orders(self, rig: Officer) -> tuple[Order, ...]:
        return tuple(
            order for order in self._approved() if rig.name in order.rigs and in_scope(order.id, rig.certificate)
        )

    def _approved(self) -> tuple[Order, ...]:
        at, known = self.clock(), self._known
        if known is not None and known[0] <= at < known[0] + ORDERS_MEMORY:
            return known[1]
        with self.ledger.reading() as ledger:
            orders = tuple(each for each in ledger.orders() if each.approved_at is not None)
        self._known = at, orders
        return orders
