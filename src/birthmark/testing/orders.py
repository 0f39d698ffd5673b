# SPDX-License-Identifier: Apache-2.0
"""Orders that two persons have signed, written straight into a ledger: for tests that are not about them."""

from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin.credentials import Credential
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.orders.documents import OrderTerms
from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Order
from birthmark.core.proposals import Proposal, Ruling, RulingDocument, State
from birthmark.core.roles import Role
from birthmark.pki.authorities import Authority, make_officer

_OFFICER, _APPROVER = "Olga Officer", "Anton Approver"


def put_signed_order(store: CAStore, operations: Authority, order: Order, at: datetime) -> Order:
    """Put an order, proposed and approved by two persons hired for it, in place of the one with its id; return it."""
    proposal = _approved(operations, order, at)
    signed = replace(order, document=proposal.id)
    with store.writing() as ledger:
        ledger.put_proposal(proposal)
        ledger.put_order(signed)
        ledger.append(_rows(proposal, order.id, at))
    return signed


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


def _rows(proposal: Proposal, order_id: str, at: datetime) -> list[AuditRow]:
    """Return what the log says of an order that was proposed, approved and created."""
    ruling = "" if proposal.ruling is None else fingerprint(proposal.ruling.document.encode())
    officer, approver = f"security-officer:{_OFFICER}", f"approver:{_APPROVER}"
    return [
        AuditRow(at=at, who=officer, act="propose", order=order_id, about=proposal.id),
        AuditRow(at=at, who=approver, act="approve", order=order_id, about=ruling),
        AuditRow(at=at, who=approver, act=CREATE, order=order_id, about=proposal.id),
    ]


def _approved(operations: Authority, order: Order, at: datetime) -> Proposal:
    officer, approver = (
        hired(operations, name, role, at)
        for name, role in ((_OFFICER, Role.SECURITY_OFFICER), (_APPROVER, Role.APPROVER))
    )
    token = officer.sign_proposal(CREATE, order.id, terms_of(order), "for a test")
    digest = fingerprint(token.encode())
    document = RulingDocument(proposal=digest, act=CREATE, ruling="approved", reason="for a test")
    ruling = Ruling(
        state=State.APPROVED,
        decided_by=f"approver:{_APPROVER}",
        decided_at=at,
        reason=document.reason,
        document=approver.sign_ruling(document),
        certificate=approver.certificate.public_bytes(Encoding.DER),
    )
    return Proposal(
        id=digest,
        act=CREATE,
        subject=order.id,
        document=token,
        certificate=officer.certificate.public_bytes(Encoding.DER),
        proposed_by=f"security-officer:{_OFFICER}",
        proposed_at=at,
        expires_at=at,
        ruling=ruling,
    )
