# SPDX-License-Identifier: Apache-2.0
"""
A rig's ticket: an act of two persons. They sign the rig's name, its orders and the ticket's SHA-256, not the ticket.

The security officer who proposes it makes the ticket and hands it to whoever sets the rig up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from birthmark.ca.demands import CONFLICT, FORBIDDEN, MALFORMED
from birthmark.ca.errors import Refused
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS, Act, Asked
from birthmark.ca.people.warranted import demand_approved
from birthmark.ca.ports import Ledger
from birthmark.core import strict_json
from birthmark.core.audit import AuditRow
from birthmark.core.clients import ClientKind, DeniedClient, read_client
from birthmark.core.errors import DecodeError
from birthmark.core.ledger_rows import rig_ticket_row, said
from birthmark.core.proposals import Proposal, ProposalDocument
from birthmark.core.tickets import RigTicket
from birthmark.pki.paths import TrustAnchors
from birthmark.pki.rig_scope import ORDERS_MAX

TICKET: Final = "rig.ticket"
TICKET_LIFE_MAX: Final = timedelta(days=31)

_OrderName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{1,31}\Z")]


class TicketTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    The terms of `rig.ticket`; its subject is the rig's name, as orders have it.

    `orders` limits the certificates of the rig to these; without any they are good for all orders that name the rig.
    """

    ticket: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    """SHA-256 of its text."""
    not_after: Annotated[datetime, msgspec.Meta(tz=True)]
    orders: Annotated[tuple[_OrderName, ...], msgspec.Meta(max_length=ORDERS_MAX)] = ()


@dataclass(frozen=True, slots=True)
class Invitation:
    """What two persons have signed about a rig."""

    rig: str
    terms: TicketTerms


def ticket_acts() -> tuple[Act, ...]:
    """Return the row of the table of acts."""
    return (Act(TICKET, TicketTerms, "", SECURITY_OFFICERS, APPROVERS, _ask, _make),)


def demand_invitation(ticket: RigTicket, proposal: Proposal | None, authority: str, trust: TrustAnchors) -> Invitation:
    """Return what two persons have signed about this very ticket. Refused: ca.rig.warrant."""
    try:
        document, _ = demand_approved(proposal, authority, trust)
        terms = _terms(document, ticket.digest)
    except (DecodeError, Refused, ValueError) as error:
        reason = f"the ticket is not what two persons have signed: {error}"
        raise Refused(FORBIDDEN, "ca.rig.warrant", reason, hint="somebody has changed the database") from error
    return Invitation(document.subject, terms)


def _terms(document: ProposalDocument, digest: str) -> TicketTerms:
    terms = strict_json.decode(document.terms, TicketTerms)
    if (document.act, terms.ticket) != (TICKET, digest):
        raise DecodeError(f"the document is for {document.act}, or for another ticket")
    return terms


def _ask(ledger: Ledger, asked: Asked) -> None:
    _demand_possible(ledger, asked)


def _make(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    """Keep the ticket. Refused: ca.rig.*."""
    terms = _demand_possible(ledger, asked)
    ticket = RigTicket(digest=terms.ticket, proposal=asked.proposal.id)
    ledger.put_rig_ticket(ticket)
    orders = ", ".join(terms.orders) or "all that name it"
    until = terms.not_after.isoformat(timespec="seconds")
    row = asked.row(f"rig:{asked.subject}, orders: {orders}, until {until}: {asked.reason}")
    return [msgspec.structs.replace(row, state=said("rig_ticket", rig_ticket_row(ticket)))]


def _demand_possible(ledger: Ledger, asked: Asked) -> TicketTerms:
    terms: TicketTerms = asked.terms
    rig = _rig(asked.subject)
    if any(each.client == rig for each in ledger.client_denials()):
        raise Refused(CONFLICT, "ca.rig.denied", f"{rig} is denied", hint="birthmark ca client allow, by two persons")
    if ledger.rig_ticket(terms.ticket) is not None:
        raise Refused(CONFLICT, "ca.rig.ticket-known", "there is such a ticket already", hint="make another one")
    if not asked.at < terms.not_after <= asked.at + TICKET_LIFE_MAX:
        days = TICKET_LIFE_MAX.days
        raise Refused(CONFLICT, "ca.rig.terms", f"a ticket ends later than now, and within {days} days")
    for name in terms.orders:
        order = ledger.order(name)
        if order is None or rig.name not in order.rigs:
            raise Refused(CONFLICT, "ca.rig.terms", f"there is no order {name} that names {rig.name}")
    return terms


def _rig(subject: str) -> DeniedClient:
    try:
        return read_client(f"{ClientKind.RIG.value}:{subject}")
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.rig.terms", error.message, hint=error.hint) from error
