# SPDX-License-Identifier: Apache-2.0
"""Orders as people look at them, and what one person may say about a unit of one."""

from dataclasses import dataclass

from msgspec import structs

from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.life.scrap import end_identity
from birthmark.ca.life.units import scrapped
from birthmark.ca.people.roles import Officer
from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.issuance import Order, OrderAccount, UnitMark
from birthmark.core.ledger_rows import place_row, said, said_units

SCRAP = "unit.scrap"


@dataclass(frozen=True, slots=True)
class OrderEntry:
    """An order, and what became of its places."""

    order: Order
    account: OrderAccount


class OrderBook:
    """Reads orders and scraps units. Calls may come from several threads."""

    def __init__(self, store: CAStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def orders(self) -> tuple[Order, ...]:
        """Return every order, by id. Raises StoreError."""
        with self._store.reading() as ledger:
            return ledger.orders()

    def entry(self, order_id: str) -> OrderEntry:
        """Return an order with its account. Raises Refused (ca.8.unknown), StoreError."""
        with self._store.reading() as ledger:
            order = ledger.order(order_id)
            if order is None:
                raise Refused(UNKNOWN, "ca.8.unknown", f"there is no order {order_id[:64]}")
            return OrderEntry(order, ledger.order_account(order_id, self._clock()))

    def scrap(self, officer: Officer, order_id: str, unit_serial: str, reason: str) -> OrderEntry:
        """
        Scrap a unit: its certificates are revoked, its chip is denied, its place stays taken. A repeat changes nothing.

        That one person may do it rests on this: it gives nothing back. To make the unit again takes two
        (`unit.rework`), and so do more places (`order.extend`).

        Raises:
            Refused: ca.order.no-place; ca.unit.transition, the unit has left the line. StoreError.

        """
        at = self._clock()
        with self._store.writing() as ledger:
            use = ledger.order_use(order_id, unit_serial)
            if not use.holds_unit:
                raise Refused(UNKNOWN, "ca.order.no-place", f"unit {unit_serial} has no place in order {order_id}")
            if not use.scrapped:
                row = AuditRow(
                    at=at,
                    who=officer.holder,
                    fingerprint=officer.fingerprint,
                    act=SCRAP,
                    order=order_id,
                    unit_serial=unit_serial,
                    detail=reason,
                )
                units = scrapped(ledger.unit(unit_serial), at, reason)
                gone = end_identity(ledger, unit_serial, f"scrapped: {reason}", at)
                ledger.mark_unit(order_id, unit_serial, UnitMark.SCRAPPED)
                ledger.put_units(units)
                place = place_row(order_id, unit_serial, scrapped=True, reworked=use.reworked)
                state = said("order_unit", place) | said_units(units)
                ledger.append(gone.rows(structs.replace(row, state=state)))
        return self.entry(order_id)
