# SPDX-License-Identifier: Apache-2.0
"""
Staging and production under one operations CA, with the same officers: what is signed for one counts at no other.

The attacker owns production's database, and copies into it, row by row, what the twin's database has.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.acts import all_acts
from birthmark.ca.errors import Refused
from birthmark.ca.orders.acts import CREATE
from birthmark.ca.people.approvals import PROPOSAL_LIFE, Approvals
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.signed_documents import check_documents
from birthmark.ca.upkeep.errors import LedgerRefused
from birthmark.ca.upkeep.restoration import demand_agreement
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Order
from birthmark.core.proposals import Proposal, State
from birthmark.core.roles import Role
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.orders import approved, hired, proposed, put_order_of, terms_of
from support.ca_parts import AUTHORITY, ORDER, CAParts, order
from support.officers import Person

TWIN = "example.com/test-ca-staging"
NEW = "order-2"


class Twins:
    """Production, its twin with a database of its own, and the officers of both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = CAParts(SQLiteCAStore(folder / "ca.sqlite"))
        self.store = SQLiteCAStore(folder / "staging.sqlite")
        at, operations = self.parts.clock(), self.parts.operations
        self.officer = Person.hired(operations, "Olga", Role.SECURITY_OFFICER, at)
        self.approver = Person.hired(operations, "Anton", Role.APPROVER, at)
        self.here = self._approvals(self.parts.store, AUTHORITY)
        self.there = self._approvals(self.store, TWIN)

    def _approvals(self, store: CAStore, authority: str) -> Approvals:
        acts = all_acts(self.parts.policy, self.parts.lineage())
        return Approvals(store, acts, self.parts.policy.trust, authority, self.parts.clock)

    def signed(self, wanted: Order, authority: str = TWIN) -> str:
        return self.officer.proposal(CREATE, wanted.id, terms_of(wanted), authority=authority)

    def propose(self, desk: Approvals, token: str) -> Proposal:
        return desk.propose(self.officer.officer(self.parts.policy.trust, self.parts.clock()), token)

    def rule(self, desk: Approvals, token: str, authority: str, ruling: str = "approved") -> Proposal:
        approver = self.approver.officer(self.parts.policy.trust, self.parts.clock())
        said = self.approver.ruling(token, CREATE, ruling, authority=authority)
        return desk.rule(approver, fingerprint(token.encode()), said)

    def ordered_there(self, wanted: Order) -> str:
        """Have the twin open an order, as two persons do; return the proposal's document."""
        token = self.signed(wanted)
        self.propose(self.there, token)
        self.rule(self.there, token, TWIN)
        return token

    def copy(self, *tables: str) -> None:
        """Copy the twin's rows into production's database, in place of those with the same key."""
        self.tamper("UPDATE twin.proposal SET number = number + 1000")
        self.tamper(*(f"INSERT OR REPLACE INTO main.{table} SELECT * FROM twin.{table}" for table in tables))  # noqa: S608 names of this file

    def tamper(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.folder / "ca.sqlite", isolation_level=None)) as connection:
            connection.execute("ATTACH ? AS twin", (str(self.folder / "staging.sqlite"),))
            for statement in statements:
                connection.execute(statement)

    def findings(self) -> set[str]:
        return {each.finding for each in self.parts.administration.check()}


@pytest.fixture
def twins(tmp_path: Path) -> Iterator[Twins]:
    twins = Twins(tmp_path)
    yield twins
    twins.store.close()
    twins.parts.store.close()


def refused(finding: str) -> object:
    return pytest.raises(Refused, check=lambda error: error.finding == finding)


# --- at the edge -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authority", [TWIN, AUTHORITY.upper(), f"{AUTHORITY}/", "example.com"])
def test_a_proposal_to_another_authority_is_refused_and_leaves_no_order(twins: Twins, authority: str) -> None:
    with refused("ca.approval.authority"):
        twins.propose(twins.here, twins.signed(order(NEW), authority))
    with twins.parts.store.reading() as ledger:
        assert ledger.order(NEW) is None
        assert [each.subject for each in ledger.proposals(10)] == [ORDER]


@pytest.mark.parametrize("ruling", ["approved", "rejected"])
def test_a_ruling_for_another_authority_decides_nothing(twins: Twins, ruling: str) -> None:
    token = twins.signed(order(NEW), AUTHORITY)
    proposal = twins.propose(twins.here, token)
    with refused("ca.approval.authority"):
        twins.rule(twins.here, token, TWIN, ruling)
    assert twins.here.proposal(proposal.id).state(twins.parts.clock()) is State.OPEN


@pytest.mark.parametrize("authority", ["", "two words", "a+b", "a\nb", "a\u202eb", "a\x9bb", "x" * 256])
def test_a_document_for_what_can_be_the_name_of_no_authority_is_malformed(twins: Twins, authority: str) -> None:
    with refused("ca.approval.malformed"):
        twins.propose(twins.here, twins.signed(order(NEW), authority))


# --- in the database -------------------------------------------------------------------------------------------


def test_an_open_proposal_of_the_twin_is_not_approved_here(twins: Twins) -> None:
    token = twins.signed(order(NEW))
    twins.propose(twins.there, token)
    twins.copy("proposal", "production_order")
    with refused("ca.approval.authority"):
        twins.rule(twins.here, token, AUTHORITY)
    with refused("ca.approval.authority"):
        twins.rule(twins.here, token, TWIN)
    assert "ledger.proposal.authority" in twins.findings()


def test_an_open_proposal_of_the_twin_expires_and_what_it_put_there_goes(twins: Twins) -> None:
    twins.propose(twins.there, twins.signed(order(NEW)))
    twins.copy("proposal", "production_order")
    twins.parts.clock.now += PROPOSAL_LIFE
    assert twins.here.expire() == 1
    with twins.parts.store.reading() as ledger:
        found = ledger.order(NEW)
    assert found is not None
    assert found.closed_at is not None


def test_an_order_of_the_twin_issues_nothing_here(twins: Twins) -> None:
    twins.ordered_there(order(NEW))
    twins.copy("proposal", "ruling", "production_order")
    with refused("ca.8.authority"):
        twins.parts.born(twins.parts.board(), label=NEW)
    assert twins.parts.last_audit()["finding"] == "ca.8.authority"
    assert twins.parts.states() == []
    assert {"ledger.proposal.authority", "ledger.ruling.authority"} <= twins.findings()


def test_a_bigger_order_of_the_twin_in_place_of_ours_is_noticed_by_a_worker_that_has_issued(twins: Twins) -> None:
    twins.parts.born(twins.parts.board())
    twins.ordered_there(order(quantity=1_000_000))
    twins.copy("proposal", "ruling", "production_order")
    with refused("ca.8.authority"):
        twins.parts.born(twins.parts.board("BM-000002"))


@pytest.mark.parametrize(
    ("proposal", "ruling", "found"),
    [
        (TWIN, TWIN, {"ledger.proposal.authority", "ledger.ruling.authority"}),
        (TWIN, AUTHORITY, {"ledger.proposal.authority"}),
        (AUTHORITY, TWIN, {"ledger.ruling.authority"}),
    ],
    ids=["both", "the proposal alone", "the ruling alone"],
)
def test_both_documents_behind_an_order_must_be_for_this_authority(
    twins: Twins, proposal: str, ruling: str, found: set[str]
) -> None:
    at, operations = twins.parts.clock(), twins.parts.operations
    officer = hired(operations, "Olga", Role.SECURITY_OFFICER, at)
    approver = hired(operations, "Anton", Role.APPROVER, at)
    wanted = order(NEW)
    first = approved(officer, approver, wanted, at, proposal)
    assert first.ruling is not None
    document = twins.approver.ruling(first.document, CREATE, authority=ruling)
    certificate = twins.approver.certificate.public_bytes(Encoding.DER)
    decided = replace(first, ruling=replace(first.ruling, document=document, certificate=certificate))
    put_order_of(twins.parts.store, decided, wanted)
    with refused("ca.8.authority"):
        twins.parts.born(twins.parts.board(), label=NEW)
    assert twins.findings() == found


def test_the_same_order_signed_for_this_authority_is_good(twins: Twins) -> None:
    token = twins.signed(order(NEW), AUTHORITY)
    twins.propose(twins.here, token)
    twins.rule(twins.here, token, AUTHORITY)
    assert twins.parts.born(twins.parts.board(), label=NEW)
    assert twins.findings() == set()


def test_a_ledger_with_a_document_of_the_twin_is_not_restored(twins: Twins) -> None:
    at = twins.parts.clock()
    officer = hired(twins.parts.operations, "Olga", Role.SECURITY_OFFICER, at)
    wanted = replace(order(NEW), approved_at=None)
    put_order_of(twins.parts.store, proposed(officer, wanted, at, TWIN), wanted)
    with twins.parts.store.reading() as ledger, pytest.raises(LedgerRefused, match=r"ledger\.proposal\.authority"):
        demand_agreement(ledger, AUTHORITY)


# --- what the check says of documents --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("UPDATE proposal SET document = replace(document, 'A', 'B')", "ledger.proposal.document"),
        ("UPDATE proposal SET subject = 'order-9'", "ledger.proposal.document"),
        ("UPDATE proposal SET act = 'order.close'", "ledger.proposal.document"),
        ("UPDATE proposal SET certificate = x'3000'", "ledger.proposal.document"),
        ("UPDATE proposal SET document = 'é'", "ledger.proposal.document"),
        ("UPDATE ruling SET document = (SELECT document FROM proposal)", "ledger.ruling.document"),
        ("UPDATE ruling SET state = 'rejected'", "ledger.ruling.document"),
        ("UPDATE ruling SET certificate = (SELECT certificate FROM proposal)", "ledger.ruling.document"),
    ],
)
def test_whatever_is_changed_beside_a_signature_is_told(twins: Twins, statement: str, finding: str) -> None:
    assert twins.findings() == set()
    twins.tamper(statement)
    assert finding in twins.findings()


def test_every_proposal_is_looked_at_however_many_there_are(twins: Twins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birthmark.ca.transparency.discrepancy.PAGE", 2)
    for number in range(5):
        twins.propose(twins.here, twins.signed(order(f"order-1{number}"), AUTHORITY))
    assert twins.findings() == set()
    twins.tamper("UPDATE proposal SET subject = 'order-9'")
    wrong = [each for each in twins.parts.administration.check() if each.finding == "ledger.proposal.document"]
    assert len({each.subject for each in wrong}) == len(wrong) == 6


def test_a_proposal_that_expired_has_no_ruling_to_look_at(twins: Twins) -> None:
    proposal = twins.propose(twins.here, twins.signed(order(NEW), AUTHORITY))
    twins.parts.clock.now += PROPOSAL_LIFE
    assert twins.here.expire() == 1
    assert list(check_documents(twins.here.proposal(proposal.id), AUTHORITY)) == []
