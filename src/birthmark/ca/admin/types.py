# SPDX-License-Identifier: Apache-2.0
"""What people and machines say to the administration and hear from it: JSON, read strictly."""

from datetime import datetime
from typing import Annotated

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.orders.book import OrderEntry
from birthmark.core.issuance import Order
from birthmark.core.order_wire import OrderState
from birthmark.core.proposals import DOCUMENT_MAX_CHARACTERS, AuthorityName, Proposal, Reason, Ruling

SignedDocument = Annotated[
    str,
    msgspec.Meta(pattern=r"\A[\w-]+\.[\w-]+\.[\w-]+\Z", max_length=DOCUMENT_MAX_CHARACTERS, title="a compact JWS"),
]


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of what is asked: unknown members are refused."""


class _Told(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is told."""


# --- asked -----------------------------------------------------------------------------------------------------


class NewProposal(_Asked, frozen=True):
    """A proposal's document, signed by the TLS client."""

    document: SignedDocument


class NewRuling(_Asked, frozen=True):
    """A ruling's document, signed by the TLS client."""

    document: SignedDocument


class NewScrap(_Asked, frozen=True):
    """Why a unit is scrapped."""

    reason: Reason


# --- told ------------------------------------------------------------------------------------------------------


class Refusal(_Told, frozen=True):
    """Why something was not done."""

    finding: str
    message: str
    hint: str = ""


class AuthorityView(_Told, frozen=True):
    """The name of this CA, the origin of its log. Whoever signs a document for it writes this name into it."""

    authority: AuthorityName


class RulingView(_Told, frozen=True):
    """The end of a proposal. Document and certificate (PEM) are empty when it expired."""

    state: str
    decided_by: str
    decided_at: datetime
    reason: str
    document: str
    certificate: str


class ProposalView(_Told, frozen=True):
    """A proposal, with what is needed to verify it elsewhere: the document, and the proposer's certificate (PEM)."""

    id: str
    act: str
    subject: str
    state: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    document: str
    certificate: str
    ruling: RulingView | None = None


class ProposalList(_Told, frozen=True):
    """The latest proposals, the last one first."""

    proposals: tuple[ProposalView, ...]


class OrderView(_Told, frozen=True):
    """An order as it stands. `document` is the SHA-256 of the proposal that it rests on."""

    id: str
    product: str
    quantity: int
    chip_models: tuple[str, ...]
    rigs: tuple[str, ...]
    first_unit: str
    last_unit: str
    not_before: datetime
    not_after: datetime
    profile: str
    state: str
    document: str


class OrderList(_Told, frozen=True):
    """Every order, by id."""

    orders: tuple[OrderView, ...]


class AccountView(_Told, frozen=True):
    """What became of the places of an order; `taken` is the sum of the five fates, `left` what is left of `ordered`."""

    ordered: int
    taken: int
    confirmed: int
    unconfirmed: int
    ended: int
    lapsed: int
    scrapped: int
    reworked: int
    left: int


class OrderEntryView(_Told, frozen=True):
    """An order and its account."""

    order: OrderView
    account: AccountView


def proposal_view(proposal: Proposal, at: datetime) -> ProposalView:
    """Return a proposal as it is told."""
    return ProposalView(
        id=proposal.id,
        act=proposal.act,
        subject=proposal.subject,
        state=proposal.state(at).value,
        proposed_by=proposal.proposed_by,
        proposed_at=proposal.proposed_at,
        expires_at=proposal.expires_at,
        document=proposal.document,
        certificate=_pem(proposal.certificate),
        ruling=None if proposal.ruling is None else _ruling_view(proposal.ruling),
    )


def order_view(order: Order) -> OrderView:
    """Return an order as it is told."""
    return OrderView(
        id=order.id,
        product=order.product,
        quantity=order.quantity,
        chip_models=order.chip_models,
        rigs=order.rigs,
        first_unit=order.units.first,
        last_unit=order.units.last,
        not_before=order.not_before,
        not_after=order.not_after,
        profile=order.profile,
        state=order_state(order),
        document=order.document,
    )


def order_state(order: Order) -> OrderState:
    """Return what became of an order so far."""
    if order.closed_at is not None:
        return OrderState.CLOSED if order.approved_at is not None else OrderState.REJECTED
    return OrderState.OPEN if order.approved_at is not None else OrderState.PROPOSED


def entry_view(entry: OrderEntry) -> OrderEntryView:
    """Return an order and its account as they are told."""
    account = entry.account
    view = AccountView(
        ordered=account.ordered,
        taken=account.taken,
        confirmed=account.confirmed,
        unconfirmed=account.unconfirmed,
        ended=account.ended,
        lapsed=account.lapsed,
        scrapped=account.scrapped,
        reworked=account.reworked,
        left=account.left,
    )
    return OrderEntryView(order=order_view(entry.order), account=view)


def _ruling_view(ruling: Ruling) -> RulingView:
    return RulingView(
        state=ruling.state.value,
        decided_by=ruling.decided_by,
        decided_at=ruling.decided_at,
        reason=ruling.reason,
        document=ruling.document,
        certificate=_pem(ruling.certificate) if ruling.certificate else "",
    )


def _pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode("ascii")
