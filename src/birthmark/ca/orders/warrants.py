# SPDX-License-Identifier: Apache-2.0
"""
What an order rests on: the document that one person signed, and the ruling that another one signed on it.

The database says which orders there are; it is not believed. An order issues something only when its terms are those of
a proposal that two persons of the right roles have signed for this authority. Whoever can write the database cannot
write that; what the same persons have signed for another CA does not count here.
"""

from dataclasses import replace
from typing import TypeAlias

from cryptography import x509

from birthmark.ca.demands import FORBIDDEN, Client
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE, EXTEND, OVERRIDE
from birthmark.ca.orders.documents import OrderTerms, order_of
from birthmark.ca.people import signed
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS
from birthmark.ca.people.roles import demand_another_person, demand_role
from birthmark.ca.ports import LedgerReader
from birthmark.core import strict_json
from birthmark.core.errors import DecodeError
from birthmark.core.issuance import Order
from birthmark.core.proposals import Proposal, ProposalDocument, Ruling, State
from birthmark.pki.paths import TrustAnchors

_ACTS = frozenset({CREATE, EXTEND, OVERRIDE})
_Signers: TypeAlias = tuple[x509.Certificate, ...]


class Warrants:
    """Verifies an order's documents once for as long as the order stays the same. One per worker."""

    def __init__(self, trust: TrustAnchors, authority: str) -> None:
        """`authority` is the name of this CA, the origin of its log."""
        self._trust = trust
        self._authority = authority
        self._good: dict[str, tuple[Order, _Signers]] = {}

    def demand(self, ledger: LedgerReader, order: Order) -> None:
        """
        8. Pass an order that two persons have signed as it stands. One that is unapproved needs no warrant yet.

        Refused: ca.8.warrant; ca.8.authority, when it was signed for another authority.
        """
        if order.approved_at is None or self._is_good(order):
            return
        try:
            signers = self._demand(ledger.proposal(order.document), order)
        except (DecodeError, Refused, ValueError) as error:
            foreign = isinstance(error, DecodeError) and error.finding == "proposal.authority"
            finding = "ca.8.authority" if foreign else "ca.8.warrant"
            reason = f"order {order.id} is not what two persons have signed: {error}"
            raise Refused(FORBIDDEN, finding, reason, hint="somebody has changed the database") from error
        self._good[order.id] = order, signers

    def _is_good(self, order: Order) -> bool:
        """Say whether it was verified before, and nobody who has signed it was denied since."""
        known, signers = self._good.get(order.id, (None, ()))
        return known == order and all(self._trust.why_denied(each) is None for each in signers)

    def _demand(self, proposal: Proposal | None, order: Order) -> _Signers:
        if proposal is None or proposal.ruling is None or proposal.ruling.state is not State.APPROVED:
            raise DecodeError("there is no approved proposal behind it")
        document = signed.proposed(proposal, self._authority)
        signed.ruled(proposal, proposal.ruling, self._authority)
        signers = self._demand_two_persons(proposal, proposal.ruling)
        if _signed_order(document, order) != order:
            raise DecodeError("the terms that were signed are others")
        return signers

    def _demand_two_persons(self, proposal: Proposal, ruling: Ruling) -> _Signers:
        proposer, approver = map(x509.load_der_x509_certificate, (proposal.certificate, ruling.certificate))
        at = ruling.decided_at
        demand_role(Client(proposer, ()), SECURITY_OFFICERS, self._trust, at)
        demand_another_person(demand_role(Client(approver, ()), APPROVERS, self._trust, at), proposer)
        return proposer, approver


def _signed_order(document: ProposalDocument, order: Order) -> Order:
    """Return the order of the signed terms, with what is no term as the ledger has it."""
    if document.act not in _ACTS:
        raise DecodeError(f"the document is for {document.act}")
    terms = strict_json.decode(document.terms, OrderTerms)
    made = order_of(document.subject, terms)
    return replace(made, document=order.document, approved_at=order.approved_at, closed_at=order.closed_at)
