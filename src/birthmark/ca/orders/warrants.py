# SPDX-License-Identifier: Apache-2.0
"""
What an order rests on: the document that one person signed, and the ruling that another one signed on it.

The database says which orders there are; it is not believed. An order issues something only when its terms are those of
a proposal that two persons of the right roles have signed for this authority. Whoever can write the database cannot
write that; what the same persons have signed for another CA does not count here.
"""

from dataclasses import replace

from birthmark.ca.demands import FORBIDDEN
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE, EXTEND, OVERRIDE
from birthmark.ca.orders.documents import OrderTerms, order_of
from birthmark.ca.people.warranted import Signers, demand_approved
from birthmark.ca.ports import LedgerReader
from birthmark.core import strict_json
from birthmark.core.errors import DecodeError
from birthmark.core.issuance import Order
from birthmark.core.proposals import Proposal, ProposalDocument
from birthmark.pki.paths import TrustAnchors

_ACTS = frozenset({CREATE, EXTEND, OVERRIDE})


class Warrants:
    """Verifies an order's documents once for as long as the order stays the same. One per worker."""

    def __init__(self, trust: TrustAnchors, authority: str) -> None:
        """`authority` is the name of this CA, the origin of its log."""
        self._trust = trust
        self._authority = authority
        self._good: dict[str, tuple[Order, Signers]] = {}

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

    def _demand(self, proposal: Proposal | None, order: Order) -> Signers:
        document, signers = demand_approved(proposal, self._authority, self._trust)
        if _signed_order(document, order) != order:
            raise DecodeError("the terms that were signed are others")
        return signers


def _signed_order(document: ProposalDocument, order: Order) -> Order:
    """Return the order of the signed terms, with what is no term as the ledger has it."""
    if document.act not in _ACTS:
        raise DecodeError(f"the document is for {document.act}")
    terms = strict_json.decode(document.terms, OrderTerms)
    made = order_of(document.subject, terms)
    return replace(made, document=order.document, approved_at=order.approved_at, closed_at=order.closed_at)
