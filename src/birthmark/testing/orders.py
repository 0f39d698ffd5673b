# SPDX-License-Identifier: Apache-2.0
"""Orders that two persons have signed, written straight into a ledger: for tests that are not about them."""

from dataclasses import replace
from datetime import datetime

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin.credentials import Credential
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.orders.documents import OrderTerms
from birthmark.ca.people.approvals import PROPOSAL_LIFE
from birthmark.ca.people.roles import officer_of
from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Order
from birthmark.core.ledger_rows import order_row, proposal_row, ruling_row, said
from birthmark.core.proposals import Proposal, Ruling, RulingDocument, State
from birthmark.core.roles import Role
from birthmark.pki.authorities import Authority, make_officer

_OFFICER, _APPROVER = "Olga Officer", "Anton Approver"


def put_signed_order(store: CAStore, operations: Authority, order: Order, at: datetime, authority: str) -> Order:
    """Put an order, proposed and approved by two persons hired for it, in place of the one with its id; return it."""
    officer, approver = (
        hired(operations, name, role, at)
        for name, role in ((_OFFICER, Role.SECURITY_OFFICER), (_APPROVER, Role.APPROVER))
    )
    return put_order_of(store, approved(officer, approver, order, at, authority), order)


def put_order_of(store: CAStore, proposal: Proposal, order: Order) -> Order:
    """Put an order that rests on this proposal, and what the log says of such an order; return it."""
    signed = replace(order, document=proposal.id)
    with store.writing() as ledger:
        ledger.put_proposal(proposal)
        ledger.put_order(signed)
        ledger.append(_rows(proposal, signed))
    return signed


def approved(officer: Credential, approver: Credential, order: Order, at: datetime, authority: str) -> Proposal:
    """Return the proposal to create the order, signed by one person for this authority and approved by the other."""
    proposal = proposed(officer, order, at, authority)
    document = RulingDocument(
        authority=authority, proposal=proposal.id, act=CREATE, ruling="approved", reason="for a test"
    )
    ruling = Ruling(
        state=State.APPROVED,
        decided_by=officer_of(approver.certificate).holder,
        decided_at=at,
        reason=document.reason,
        document=approver.sign_ruling(document),
        certificate=approver.certificate.public_bytes(Encoding.DER),
    )
    return replace(proposal, ruling=ruling)


def proposed(officer: Credential, order: Order, at: datetime, authority: str) -> Proposal:
    """Return the proposal to create the order, signed for this authority, on which nobody has decided yet."""
    token = officer.sign_proposal(authority, CREATE, order.id, terms_of(order), "for a test")
    return Proposal(
        id=fingerprint(token.encode()),
        act=CREATE,
        subject=order.id,
        document=token,
        certificate=officer.certificate.public_bytes(Encoding.DER),
        proposed_by=officer_of(officer.certificate).holder,
        proposed_at=at,
        expires_at=at + PROPOSAL_LIFE,
    )


def terms_of(order: Order) -> OrderTerms:
    """Return the terms under which an order would be created."""
    return OrderTerms(
        product=order.product,
        quantity=order.quantity,
        chip_models=order.chip_models,
        rigs=order.rigs,
        first_unit=order.units.first,
        last_unit=order.units.last,
        not_before=order.not_before,
        not_after=order.not_after,
        profile=order.profile,
    )


def hired(operations: Authority, name: str, role: Role, at: datetime) -> Credential:
    """Return the credential of a new person."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Credential((make_officer(operations, name, role, key.public_key(), at), operations.certificate), key)


def _rows(proposal: Proposal, order: Order) -> list[AuditRow]:
    """Return what the log says of an order that was proposed, approved and created."""
    ruling, created = proposal.ruling, said("production_order", order_row(order))
    state = said("proposal", proposal_row(proposal)) | (created if ruling is None else {})
    signer = fingerprint(proposal.certificate)
    told = AuditRow(at=proposal.proposed_at, who=proposal.proposed_by, act="propose", about=proposal.id, state=state)
    rows = [msgspec.structs.replace(told, fingerprint=signer)]
    if ruling is not None:
        at, who, signer = ruling.decided_at, ruling.decided_by, fingerprint(ruling.certificate)
        about, ruled = fingerprint(ruling.document.encode()), said("ruling", ruling_row(proposal.id, ruling))
        rows += [
            AuditRow(at=at, who=who, fingerprint=signer, act="approve", about=about, state=ruled),
            AuditRow(at=at, who=who, fingerprint=signer, act=CREATE, about=proposal.id, state=created),
        ]
    return [msgspec.structs.replace(row, order=order.id) for row in rows]
