# SPDX-License-Identifier: Apache-2.0
"""
What two persons can do about an order: create, extend, override and close it, and let a unit be made again.

A proposed order stands in the ledger unapproved, so that rigs are told to wait; every other act changes nothing before
its approval. Each change names the document that it replaces.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
from msgspec import structs

from birthmark.ca.demands import CONFLICT, MALFORMED, UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.life.scrap import end_identity
from birthmark.ca.life.units import made_again
from birthmark.ca.orders.documents import OrderTerms, order_of
from birthmark.ca.people.approvals import APPROVERS, LINE_LEADS, SECURITY_OFFICERS, Act, Asked
from birthmark.ca.ports import Ledger
from birthmark.core.audit import AuditRow
from birthmark.core.errors import DecodeError
from birthmark.core.issuance import Order, OrderUse, UnitMark
from birthmark.core.ledger_rows import Said, order_row, place_row, said, said_units

CREATE, EXTEND, OVERRIDE, CLOSE, REWORK = (
    "order.create",
    "order.extend",
    "order.override",
    "order.close",
    "unit.rework",
)


class CloseTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `order.close`."""

    replaces: str


class ReworkTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `unit.rework`: the order in which the unit has its place."""

    order: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


@dataclass(frozen=True, slots=True)
class OrderActs:
    """The rows of the table, and what the acts hold an order against: names of profiles and of chip models."""

    profiles: Collection[str]
    chip_models: Collection[str]

    def acts(self) -> tuple[Act, ...]:
        """Return the acts."""
        officers, approvers = SECURITY_OFFICERS, APPROVERS
        return (
            Act(CREATE, OrderTerms, "order", officers, approvers, self.ask_create, self.create, _drop),
            Act(EXTEND, OrderTerms, "order", officers, approvers, self.ask_extend, self.extend),
            Act(OVERRIDE, OrderTerms, "order", officers, approvers, self.ask_override, self.override),
            Act(CLOSE, CloseTerms, "order", officers, approvers, _ask_close, _close),
            Act(REWORK, ReworkTerms, "unit_serial", LINE_LEADS, approvers, _ask_rework, _rework),
        )

    def ask_create(self, ledger: Ledger, asked: Asked) -> Said:
        """Put the order into the ledger, unapproved. Refused: ca.order.terms, ca.order.exists."""
        order = self._order(asked)
        known = ledger.order(order.id)
        if known is not None and (known.approved_at is not None or known.closed_at is None):
            raise Refused(CONFLICT, "ca.order.exists", f"there is an order {order.id} already")
        return _put(ledger, replace(order, document=asked.proposal.id))

    def create(self, ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
        """Open the order. Refused: ca.order.terms, ca.order.exists."""
        order = self._order(asked)
        known = ledger.order(order.id)
        if known is None or known.document != asked.proposal.id or known.approved_at is not None:
            raise Refused(CONFLICT, "ca.order.exists", f"another proposal has made an order {order.id}")
        return self._put(ledger, asked, replace(order, approved_at=asked.at))

    def ask_extend(self, ledger: Ledger, asked: Asked) -> None:
        """Pass terms that give the order more of what it has. Refused: ca.order.*, ca.8.*."""
        self._extended(ledger, asked)

    def extend(self, ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
        """Give the order more. Refused: ca.order.*, ca.8.*."""
        return self._put(ledger, asked, self._extended(ledger, asked))

    def ask_override(self, ledger: Ledger, asked: Asked) -> None:
        """Pass any terms for an order that was approved once. Refused: ca.order.*, ca.8.*."""
        self._overridden(ledger, asked)

    def override(self, ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
        """Change the order to the terms, and open it again when it is closed. Refused: ca.order.*, ca.8.*."""
        return self._put(ledger, asked, self._overridden(ledger, asked))

    def _extended(self, ledger: Ledger, asked: Asked) -> Order:
        current = _replaced(ledger, asked, asked.terms.replaces)
        order = replace(self._order(asked), approved_at=current.approved_at)
        if current.closed_at is not None:
            raise Refused(CONFLICT, "ca.8.order-closed", f"order {order.id} is closed", hint="override it")
        if not _extends(order, current):
            raise Refused(
                CONFLICT,
                "ca.order.no-extension",
                "an extension has more units, a wider range or a longer window, and nothing else",
                hint=f"propose {OVERRIDE}",
            )
        return order

    def _overridden(self, ledger: Ledger, asked: Asked) -> Order:
        current = _replaced(ledger, asked, asked.terms.replaces)
        return replace(self._order(asked), approved_at=current.approved_at)

    def _order(self, asked: Asked) -> Order:
        terms: OrderTerms = asked.terms
        try:
            order = order_of(asked.subject, terms)
        except DecodeError as error:
            raise Refused(MALFORMED, "ca.order.terms", error.message, hint=error.hint) from error
        unknown = sorted({*order.chip_models} - {*self.chip_models})
        if unknown or order.profile not in self.profiles:
            what = f"chip models {', '.join(unknown)}" if unknown else f"profile {order.profile}"
            raise Refused(MALFORMED, "ca.order.terms", f"this CA does not know the {what}")
        return order

    def _put(self, ledger: Ledger, asked: Asked, order: Order) -> Sequence[AuditRow]:
        state = _put(ledger, replace(order, document=asked.proposal.id))
        window = f"{order.not_before.isoformat()} to {order.not_after.isoformat()}"
        units = f"{order.quantity} of {order.product}, {order.units.first} to {order.units.last}"
        return [structs.replace(asked.row(f"{units}, {window}, {order.profile}"), state=state)]


def _put(ledger: Ledger, order: Order) -> Said:
    """Put the order into the ledger; return what the log is to say of it."""
    ledger.put_order(order)
    return said("production_order", order_row(order))


def _extends(order: Order, current: Order) -> bool:
    more = (
        order.quantity >= current.quantity
        and order.not_before <= current.not_before
        and order.not_after >= current.not_after
        and order.units.holds(current.units.first)
        and order.units.holds(current.units.last)
    )
    grown = replace(
        current,
        quantity=order.quantity,
        not_before=order.not_before,
        not_after=order.not_after,
        units=order.units,
        document=order.document,
    )
    return more and grown == order


def _replaced(ledger: Ledger, asked: Asked, replaces: str) -> Order:
    """Return the order that is to be changed, as the proposer knew it. Refused: ca.8.unknown, ca.order.stale."""
    current = ledger.order(asked.subject)
    if current is None or current.approved_at is None:
        raise Refused(UNKNOWN, "ca.8.unknown", f"there is no approved order {asked.subject[:64]}")
    if current.document != replaces:
        raise Refused(
            CONFLICT,
            "ca.order.stale",
            f"order {current.id} stands on the document {current.document}",
            hint="look at it and sign again",
        )
    return current


def _drop(ledger: Ledger, asked: Asked) -> Said | None:
    """Close the order that nobody approved."""
    known = ledger.order(asked.subject)
    if known is None or known.document != asked.proposal.id or known.approved_at is not None:
        return None
    return _put(ledger, replace(known, closed_at=asked.at))


def _ask_close(ledger: Ledger, asked: Asked) -> None:
    _replaced(ledger, asked, asked.terms.replaces)


def _close(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    current = _replaced(ledger, asked, asked.terms.replaces)
    state = _put(ledger, replace(current, closed_at=current.closed_at or asked.at))
    return [structs.replace(asked.row(asked.reason), state=state)]


def _ask_rework(ledger: Ledger, asked: Asked) -> None:
    _demand_place(ledger, asked)


def _demand_place(ledger: Ledger, asked: Asked) -> OrderUse:
    use = ledger.order_use(asked.terms.order, asked.subject)
    if not use.holds_unit:
        reason = f"unit {asked.subject[:64]} has no place in order {asked.terms.order}"
        raise Refused(UNKNOWN, "ca.order.no-place", reason)
    return use


def _rework(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """End what the unit was, and let it be made again, with another chip, in the place that it has."""
    use = _demand_place(ledger, asked)
    gone = end_identity(ledger, asked.subject, f"reworked: {asked.reason}", asked.at)
    ledger.mark_unit(asked.terms.order, asked.subject, UnitMark.REWORKED)
    units = made_again(ledger.unit(asked.subject), asked.at, asked.reason)
    ledger.put_units(units)
    place = place_row(asked.terms.order, asked.subject, scrapped=False, reworked=use.reworked + 1)
    state = said("order_unit", place) | said_units(units)
    return gone.rows(structs.replace(asked.row(asked.reason, order=asked.terms.order), state=state))
