# SPDX-License-Identifier: Apache-2.0
"""
Threat: orders of a twin CA: staging, under the same operations CA and with the same officers, where less care is taken.

Each document here has the genuine signatures of the lab's own people. What is wrong with it is for whom it was signed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from birthmark.ca.config import load_config
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.ports import CAStore
from birthmark.ca.wiring import configured_store
from birthmark.core.issuance import Order
from birthmark.core.proposals import RulingDocument
from birthmark.core.roles import Role
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.errors import NoVictim
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.lab.files import LOG_ORIGIN
from birthmark.testing.lab.officers import credential_of, office_of
from birthmark.testing.orders import approved, proposed, put_order_of, terms_of

THREAT = "orders"
TWIN = f"{LOG_ORIGIN}-staging"
_HANDED_IN, _PLANTED, _WAITING = "twin-handed-in", "twin-planted", "twin-waiting"


def hand_in(intruder: Intruder) -> None:
    """Hand in, as the officer, what the officer has signed for the twin."""
    home = intruder.lab.path
    with credential_of(home, Role.SECURITY_OFFICER) as lent, _store(intruder) as store:
        token = lent.sign_proposal(TWIN, CREATE, _HANDED_IN, terms_of(_order(store, intruder, _HANDED_IN)), "a trial")
    with office_of(home, Role.SECURITY_OFFICER, intruder.lab.ca_url) as officer:
        officer.propose(token)


def plant(intruder: Intruder) -> None:
    """Write an order into the database that two of the lab's officers have signed for the twin, and enrol under it."""
    home = intruder.lab.path
    with (
        credential_of(home, Role.SECURITY_OFFICER) as officer,
        credential_of(home, Role.APPROVER) as approver,
        _store(intruder) as store,
    ):
        order = replace(_order(store, intruder, _PLANTED), quantity=10_000)
        put_order_of(store, approved(officer, approver, order, intruder.now, TWIN), order)
    intruder.enrol_properly(intruder.new_unit(), intruder.genuine_chip(), order=_PLANTED)


def have_approved(intruder: Intruder) -> None:
    """Write a proposal into the database that an officer has signed for the twin, and have an approver agree here."""
    home = intruder.lab.path
    with credential_of(home, Role.SECURITY_OFFICER) as officer, _store(intruder) as store:
        order = replace(_order(store, intruder, _WAITING), approved_at=None)
        waiting = proposed(officer, order, intruder.now, TWIN)
        put_order_of(store, waiting, order)
    with credential_of(home, Role.APPROVER) as lent, office_of(home, Role.APPROVER, intruder.lab.ca_url) as approver:
        ruling = RulingDocument(
            authority=LOG_ORIGIN, proposal=waiting.id, act=CREATE, ruling="approved", reason="I have not looked"
        )
        approver.rule(waiting.id, lent.sign_ruling(ruling))


@contextmanager
def _store(intruder: Intruder) -> Iterator[CAStore]:
    config = Path(intruder.lab.ca_config)
    with configured_store(load_config(config), config.parent) as store:
        yield store


def _order(store: CAStore, intruder: Intruder, name: str) -> Order:
    """Return the lab's own order under another name."""
    with store.reading() as ledger:
        order = ledger.order(intruder.lab.order)
    if order is None:
        raise NoVictim("the lab's order is not there")
    return replace(order, id=name)


ATTACKS = (
    Attack(
        "orders.twin-handed-in",
        THREAT,
        "a twin CA's order, handed in here",
        ("ca.approval.authority",),
        hand_in,
    ),
    Attack("orders.twin-planted", THREAT, "a twin CA's order in the database", ("ca.8.authority",), plant),
    Attack(
        "orders.twin-approved",
        THREAT,
        "a twin CA's proposal, approved here",
        ("ca.approval.authority",),
        have_approved,
    ),
)
