# SPDX-License-Identifier: Apache-2.0
"""Threat: orders that fewer than two persons have agreed to. A rig, an officer, or whoever owns the database."""

from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import msgspec

from birthmark.ca.admin.credentials import Credential
from birthmark.ca.admin.office import Office
from birthmark.ca.admin.types import NewProposal, Refusal
from birthmark.ca.config import load_config
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE, EXTEND
from birthmark.ca.orders.documents import OrderTerms, read_order
from birthmark.ca.wiring import configured_store
from birthmark.core.roles import Role
from birthmark.pki.authorities import Authority, make_root
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.errors import NoVictim
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import new_key
from birthmark.testing.lab.ceremony import ORGANIZATION
from birthmark.testing.lab.files import LOG_ORIGIN, ORDER_OF_ONE
from birthmark.testing.lab.officers import credential_of, office_of
from birthmark.testing.orders import put_signed_order

THREAT = "orders"
_OUTSIDE = "BM-1000000"
_FORGED = "order-forged"


def unit_outside(intruder: Intruder) -> None:
    """Enrol a genuine chip under a unit serial that is not in the order's range."""
    chip, key = intruder.genuine_chip(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(_OUTSIDE)))
    intruder.enrol(build_csr(key, request_subject(_OUTSIDE), bundle))


def own_approval(intruder: Intruder) -> None:
    """Extend an order as a security officer, and approve of it oneself."""
    with office_of(intruder.lab.path, Role.SECURITY_OFFICER, intruder.lab.ca_url) as officer:
        proposal = officer.propose_act(EXTEND, ORDER_OF_ONE.name, _more(officer, 100), "demand has grown")
        officer.approve(proposal, "I have read what I wrote")


def approver_proposes(intruder: Intruder) -> None:
    """Propose an extension as an approver, to have it approved by an officer who is not looking."""
    with office_of(intruder.lab.path, Role.APPROVER, intruder.lab.ca_url) as approver:
        approver.propose_act(EXTEND, ORDER_OF_ONE.name, _more(approver, 100), "demand has grown")


def rig_proposes(intruder: Intruder) -> None:
    """Propose an order with a rig's credential, which is good for the line and nothing else."""
    terms = _terms_of_the_lab(intruder)
    with credential_of(intruder.lab.path, Role.SECURITY_OFFICER) as lent:
        token = lent.sign_proposal(LOG_ORIGIN, CREATE, _FORGED, terms, "copied from an officer's mail")
    _as_rig(intruder, token)


def forged_document(intruder: Intruder) -> None:
    """Hand in a document in the officer's name that was signed with another key."""
    terms = _terms_of_the_lab(intruder)
    with credential_of(intruder.lab.path, Role.SECURITY_OFFICER) as lent:
        token = Credential(lent.chain, new_key()).sign_proposal(LOG_ORIGIN, CREATE, _FORGED, terms, "as planned")
    with office_of(intruder.lab.path, Role.SECURITY_OFFICER, intruder.lab.ca_url) as officer:
        officer.propose(token)


def order_in_the_database(intruder: Intruder) -> None:
    """Write a bigger order into the CA's database, with documents of two persons who were hired for it by nobody."""
    config = Path(intruder.lab.ca_config)
    with configured_store(load_config(config), config.parent) as store:
        with store.reading() as ledger:
            order = ledger.order(intruder.lab.order)
        if order is None:
            raise NoVictim("the lab's order is not there")
        bigger = replace(order, id=_FORGED, quantity=10_000)
        put_signed_order(store, _own_operations_ca(intruder), bigger, intruder.now, LOG_ORIGIN)
    intruder.enrol_properly(intruder.new_unit(), intruder.genuine_chip(), order=_FORGED)


def _more(office: Office, units: int) -> OrderTerms:
    """Return the terms that give the order for one unit so many more."""
    order = office.order(ORDER_OF_ONE.name).order
    fields = {name: getattr(order, name) for name in OrderTerms.__struct_fields__ if name != "replaces"}
    return OrderTerms(**(fields | {"quantity": order.quantity + units, "replaces": order.document}))


def _terms_of_the_lab(intruder: Intruder) -> OrderTerms:
    return read_order(intruder.lab.path / "orders" / f"{intruder.lab.order}.toml")[1]


def _own_operations_ca(intruder: Intruder) -> Authority:
    """Return an operations CA of the attacker's own making, under the customer's name."""
    return make_root(ORGANIZATION, "Operations CA", new_key(), intruder.now)


def _as_rig(intruder: Intruder, token: str) -> None:
    body = msgspec.json.encode(NewProposal(document=token))
    answer = intruder.rig().request("POST", "/v1/proposals", {"content-type": "application/json"}, body)
    if answer.status != HTTPStatus.OK:
        refusal = msgspec.json.decode(answer.body, type=Refusal)
        raise Refused(answer.status, refusal.finding, refusal.message)


ATTACKS = (
    Attack("orders.outside", THREAT, "a unit serial outside its order's range", ("ca.8.unit-range",), unit_outside),
    Attack(
        "orders.own-approval",
        THREAT,
        "an extension approved by its proposer",
        ("ca.approval.same-person",),
        own_approval,
    ),
    Attack(
        "orders.approver-proposes", THREAT, "an extension proposed by an approver", ("ca.1.role",), approver_proposes
    ),
    Attack("orders.rig-proposes", THREAT, "an officer's document, sent by a rig", ("ca.1.role",), rig_proposes),
    Attack(
        "orders.forged-document",
        THREAT,
        "an officer's name under another key",
        ("ca.approval.signature",),
        forged_document,
    ),
    Attack(
        "orders.database",
        THREAT,
        "an order written into the database",
        ("ca.8.warrant",),
        order_in_the_database,
    ),
)
