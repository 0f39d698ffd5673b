# SPDX-License-Identifier: Apache-2.0
"""Orders by two persons: what each act demands and does, what an order rests on, and what becomes of its places."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from birthmark.ca.acts import all_acts
from birthmark.ca.admin.credentials import Credential
from birthmark.ca.errors import Pending, Refused
from birthmark.ca.orders.acts import CLOSE, CREATE, EXTEND, OVERRIDE, REWORK, CloseTerms, ReworkTerms
from birthmark.ca.orders.book import OrderBook
from birthmark.ca.people.approvals import PROPOSAL_LIFE, Approvals
from birthmark.ca.people.roles import Officer, officer_of
from birthmark.core.issuance import Order, OrderAccount, UnitRange
from birthmark.core.proposals import Proposal, RulingDocument
from birthmark.core.roles import Role
from birthmark.testing.forge import new_key
from birthmark.testing.orders import hired, terms_of
from support.ca_parts import AUTHORITY, NOW, ORDER, UNIT, Board, CAParts, order

NEW = "order-2"


class Office:
    """Everyone who works on one authority."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        at = parts.clock()
        acts = all_acts(parts.policy, parts.lineage())
        self.approvals = Approvals(parts.store, acts, parts.policy.trust, AUTHORITY, parts.clock)
        self.book = OrderBook(parts.store, parts.clock)
        self.officer = hired(parts.operations, "Olga", Role.SECURITY_OFFICER, at)
        self.approver = hired(parts.operations, "Anton", Role.APPROVER, at)
        self.lead = hired(parts.operations, "Lena", Role.LINE_LEAD, at)

    def propose(self, act: str, subject: str, terms: msgspec.Struct, who: Credential | None = None) -> Proposal:
        signer = who or self.officer
        return self.approvals.propose(known(signer), signer.sign_proposal(AUTHORITY, act, subject, terms, "as planned"))

    def decide(self, proposal: Proposal, ruling: str = "approved") -> Proposal:
        document = RulingDocument(
            authority=AUTHORITY, proposal=proposal.id, act=proposal.act, ruling=ruling, reason="read"
        )  # type: ignore[arg-type] # a table of both
        return self.approvals.rule(known(self.approver), proposal.id, self.approver.sign_ruling(document))

    def done(self, act: str, subject: str, terms: msgspec.Struct, who: Credential | None = None) -> Proposal:
        return self.decide(self.propose(act, subject, terms, who))

    def change(self, act: str, **changes: object) -> Proposal:
        """Propose a change of the order that is there."""
        current = self.order()
        changed = replace(current, **changes)  # type: ignore[arg-type] # tests name the fields that they change
        return self.propose(act, ORDER, msgspec.structs.replace(terms_of(changed), replaces=current.document))

    def order(self, order_id: str = ORDER) -> Order:
        return self.book.entry(order_id).order

    def account(self) -> OrderAccount:
        return self.book.entry(ORDER).account


def known(credential: Credential) -> Officer:
    return officer_of(credential.certificate)


@pytest.fixture
def office(parts: CAParts) -> Office:
    return Office(parts)


def refused(finding: str) -> object:
    return pytest.raises(Refused, check=lambda error: error.finding == finding)


# --- creating --------------------------------------------------------------------------------------------------


def test_an_order_that_waits_for_its_approval_lets_rigs_wait_and_then_issues(office: Office) -> None:
    parts, board = office.parts, office.parts.board()
    proposal = office.propose(CREATE, NEW, terms_of(order(NEW)))
    csr = board.csr(parts.nonce())
    for ask in (lambda: parts.nonce(label=NEW), lambda: parts.enrol(csr, label=NEW)):
        with pytest.raises(Pending) as waiting:
            ask()
        assert waiting.value.finding == "ca.8.unapproved"
    office.decide(proposal)
    assert parts.enrol(csr, label=NEW)
    assert office.order(NEW).document == proposal.id


def rejected(office: Office, proposal: Proposal) -> None:
    office.decide(proposal, "rejected")


def expired(office: Office, _proposal: Proposal) -> None:
    office.parts.clock.now += PROPOSAL_LIFE
    assert office.approvals.expire() == 1


@pytest.mark.parametrize("fate", [rejected, expired])
def test_an_order_that_nobody_approved_issues_nothing_and_may_be_proposed_again(
    office: Office, fate: Callable[[Office, Proposal], None]
) -> None:
    parts = office.parts
    fate(office, office.propose(CREATE, NEW, terms_of(order(NEW))))
    with refused("ca.8.order-closed"):
        parts.born(parts.board(), label=NEW)
    office.done(CREATE, NEW, terms_of(order(NEW, quantity=2)))
    assert parts.born(parts.board(), label=NEW)


def test_an_order_that_is_there_is_not_created_again(office: Office) -> None:
    with refused("ca.order.exists"):
        office.propose(CREATE, ORDER, terms_of(order(quantity=1_000)))
    office.propose(CREATE, NEW, terms_of(order(NEW)))
    with refused("ca.order.exists"):
        office.propose(CREATE, NEW, terms_of(order(NEW, quantity=1_000)))


@pytest.mark.parametrize(
    "changes",
    [
        {"profile": "device-1999"},
        {"chip_models": ("swtpm", "abacus")},
        {"not_after": NOW - timedelta(days=2)},
    ],
)
def test_terms_that_this_ca_cannot_meet_are_refused(office: Office, changes: dict[str, object]) -> None:
    with refused("ca.order.terms"):
        office.propose(CREATE, NEW, terms_of(order(NEW, **changes)))


@pytest.mark.parametrize("fields", [{"first_unit": "BM-9", "last_unit": "BM-1"}, {"first_unit": "a b"}])
def test_a_range_that_is_none_is_refused(office: Office, fields: dict[str, str]) -> None:
    terms = msgspec.structs.replace(terms_of(order(NEW)), **fields)
    with refused("ca.order.terms"):
        office.propose(CREATE, NEW, terms)


@pytest.mark.parametrize("order_id", ["Order 2", "../order", "x"])
def test_a_name_that_is_no_order_s_is_refused(office: Office, order_id: str) -> None:
    with refused("ca.order.terms"):
        office.propose(CREATE, order_id, terms_of(order()))


# --- changing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 101},
        {"not_after": NOW + timedelta(days=60)},
        {"not_before": NOW - timedelta(days=2), "quantity": 200},
    ],
)
def test_an_extension_gives_more(office: Office, changes: dict[str, object]) -> None:
    before = office.order()
    proposal = office.change(EXTEND, **changes)
    assert office.order() == before
    office.decide(proposal)
    assert office.order() == replace(before, document=proposal.id, **changes)  # type: ignore[arg-type] # as above


@pytest.mark.parametrize(
    "changes",
    [
        {"quantity": 99},
        {"not_after": NOW + timedelta(days=1)},
        {"units": UnitRange("BM-000001", "BM-999999")},
        {"product": "another"},
        {"profile": "device-p384"},
        {"chip_models": ("swtpm",)},
        {"rigs": ("rig-a", "rig-b", "rig-z")},
    ],
)
def test_what_takes_away_or_changes_is_no_extension_but_an_override(office: Office, changes: dict[str, object]) -> None:
    before = office.order()
    with refused("ca.order.no-extension"):
        office.change(EXTEND, **changes)
    proposal = office.decide(office.change(OVERRIDE, **changes))
    assert office.order() == replace(before, document=proposal.id, **changes)  # type: ignore[arg-type] # as above


def test_of_two_changes_of_one_order_the_second_must_be_signed_again(office: Office) -> None:
    first, second = office.change(EXTEND, quantity=150), office.change(EXTEND, quantity=120)
    office.decide(first)
    with refused("ca.order.stale"):
        office.decide(second)
    assert office.order().quantity == 150
    assert office.approvals.proposal(second.id).ruling is None


def test_an_order_reduced_below_what_is_taken_issues_nothing_more(office: Office) -> None:
    parts = office.parts
    boards = [parts.board(f"BM-00000{number}") for number in range(3)]
    for board in boards[:2]:
        parts.born(board)
    office.decide(office.change(OVERRIDE, quantity=1))
    with refused("ca.8.quota"):
        parts.born(boards[2])
    assert office.account().left == -1


def test_a_closed_order_is_opened_again_by_an_override_alone(office: Office) -> None:
    parts = office.parts
    office.done(CLOSE, ORDER, CloseTerms(replaces=office.order().document))
    with refused("ca.8.order-closed"):
        parts.born(parts.board())
    with refused("ca.8.order-closed"):
        office.change(EXTEND, quantity=200)
    office.decide(office.change(OVERRIDE, quantity=200))
    assert parts.born(parts.board())


def test_an_order_that_is_not_there_is_not_changed(office: Office) -> None:
    with refused("ca.8.unknown"):
        office.propose(CLOSE, "order-9", CloseTerms(replaces=""))


# --- what an order rests on ------------------------------------------------------------------------------------


def written(parts: CAParts, statement: str, *arguments: str | int) -> None:
    """Change the database behind everyone's back."""
    with parts.store.writing() as ledger:
        ledger._db.write(statement, *arguments)  # type: ignore[attr-defined] # an attacker asks no port


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        ("UPDATE production_order SET quantity = ?", (1_000_000,)),
        ("UPDATE production_order SET last_unit = ?", ("BM-999998",)),
        ("UPDATE production_order SET not_after_us = not_after_us + ?", (1,)),
        ("UPDATE production_order SET profile = ?", ("device-p384",)),
        ("UPDATE production_order SET document = ?", ("0" * 64,)),
        ("UPDATE ruling SET state = ?", ("rejected",)),
        ("DELETE FROM ruling WHERE state = ?", ("approved",)),
        ("UPDATE ruling SET certificate = (SELECT certificate FROM proposal) WHERE state = ?", ("approved",)),
        ("UPDATE ruling SET document = (SELECT document FROM proposal) WHERE state = ?", ("approved",)),
    ],
)
def test_an_order_that_was_changed_in_the_database_issues_nothing(
    office: Office, statement: str, arguments: tuple[str | int, ...]
) -> None:
    written(office.parts, statement, *arguments)
    with refused("ca.8.warrant"):
        office.parts.born(office.parts.board())


def test_an_order_that_was_added_in_the_database_issues_nothing(office: Office) -> None:
    with office.parts.store.writing() as ledger:
        ledger.put_order(order(NEW, document=office.order().document))
    with refused("ca.8.warrant"):
        office.parts.born(office.parts.board(), label=NEW)
    assert office.parts.last_audit()["finding"] == "ca.8.warrant"


def test_a_changed_order_is_noticed_by_a_worker_that_has_issued_under_it(office: Office) -> None:
    office.parts.born(office.parts.board())
    written(office.parts, "UPDATE production_order SET quantity = ?", 1_000_000)
    with refused("ca.8.warrant"):
        office.parts.born(office.parts.board("BM-000002"))


# --- scrap and rework ------------------------------------------------------------------------------------------


def test_a_scrapped_unit_keeps_its_place_and_cannot_be_made_again(office: Office) -> None:
    parts, board = office.parts, office.parts.board()
    parts.confirmed(board)
    entry = office.book.scrap(known(office.lead), ORDER, UNIT, "burnt in the oven")
    assert entry.account == OrderAccount(ordered=100, scrapped=1)
    assert (entry.account.taken, entry.account.left) == (1, 99)
    assert parts.states() == ["revoked"]
    for again, finding in ((replace(board, key=new_key()), "ca.7.denied"), (parts.board(), "ca.7.unit-state")):
        with refused(finding):
            parts.born(again)


def test_a_unit_that_was_scrapped_before_its_birth_cannot_be_made_again_either(office: Office) -> None:
    parts = office.parts
    parts.born(parts.board())
    office.book.scrap(known(office.lead), ORDER, UNIT, "burnt in the oven")
    with refused("ca.8.scrapped"):
        parts.born(parts.board())


def test_scrap_is_in_the_log_with_what_ended(office: Office) -> None:
    office.parts.confirmed(office.parts.board())
    office.book.scrap(known(office.lead), ORDER, UNIT, "burnt")
    office.book.scrap(known(office.lead), ORDER, UNIT, "burnt, I said")
    *_, scrapped, ended = office.parts.administration.audit()
    assert (scrapped["act"], scrapped["who"], scrapped["unit"]) == ("unit.scrap", "line-lead:Lena", UNIT)
    assert (ended["act"], ended["detail"]) == ("end", "revoked: scrapped: burnt")


def test_only_a_unit_with_a_place_is_scrapped(office: Office) -> None:
    with refused("ca.order.no-place"):
        office.book.scrap(known(office.lead), ORDER, UNIT, "lost")


def test_a_reworked_unit_is_made_again_in_its_place_with_another_chip(office: Office) -> None:
    parts, old = office.parts, office.parts.board()
    parts.confirmed(old)
    office.book.scrap(known(office.lead), ORDER, UNIT, "solder bridge under the chip")
    office.done(REWORK, UNIT, ReworkTerms(order=ORDER), office.lead)
    with refused("ca.7.denied"):
        parts.born(replace(old, key=new_key()))
    parts.confirmed(parts.board())
    assert office.account() == OrderAccount(ordered=100, confirmed=1, reworked=1)


def test_rework_ends_what_the_unit_was_before(office: Office) -> None:
    parts = office.parts
    parts.confirmed(parts.board())
    proposal = office.propose(REWORK, UNIT, ReworkTerms(order=ORDER), office.lead)
    assert parts.states() == ["confirmed"]
    office.decide(proposal)
    assert parts.states() == ["revoked"]


def test_rework_needs_no_quota_and_gives_none(office: Office) -> None:
    parts = office.parts
    parts.put_order(order(quantity=1))
    parts.confirmed(parts.board())
    office.done(REWORK, UNIT, ReworkTerms(order=ORDER), office.lead)
    parts.confirmed(parts.board())
    with refused("ca.8.quota"):
        parts.born(parts.board("BM-000002"))


def test_a_chip_that_has_gone_into_another_unit_is_not_denied_with_the_first_one(office: Office) -> None:
    parts, chip = office.parts, office.parts.forge.maker.chip()
    parts.born(Board(UNIT, chip))
    parts.clock.forward(days=2)
    current = parts.confirmed(Board("BM-000002", chip))
    office.book.scrap(known(office.lead), ORDER, UNIT, "never finished")
    assert parts.issuance(current)["state"] == "confirmed"
    with parts.store.reading() as ledger:
        assert ledger.denial(ledger.issuances_of_unit(UNIT)[0].chip) is None


@pytest.mark.parametrize("subject", ["BM-000009", "no unit"])
def test_only_a_unit_with_a_place_is_reworked(office: Office, subject: str) -> None:
    with refused("ca.order.no-place"):
        office.propose(REWORK, subject, ReworkTerms(order=ORDER), office.lead)


def test_a_security_officer_does_not_speak_for_the_line(office: Office) -> None:
    office.parts.confirmed(office.parts.board())
    with refused("ca.1.role"):
        office.propose(REWORK, UNIT, ReworkTerms(order=ORDER))


def test_every_place_is_counted_once(office: Office) -> None:
    parts = office.parts
    boards = [parts.board(f"BM-00000{number}") for number in range(5)]
    parts.born(boards[0])  # will lapse
    parts.clock.forward(days=2)
    for board in boards[1:4]:
        parts.confirmed(board)
    parts.born(boards[4])
    (serial,) = (row["serial"] for row in parts.administration.certificates() if row["unit_serial"] == "BM-000002")
    parts.administration.revoke(serial, "stolen")
    office.book.scrap(known(office.lead), ORDER, "BM-000003", "burnt")
    account = office.account()
    assert account == OrderAccount(ordered=100, confirmed=1, unconfirmed=1, ended=1, lapsed=1, scrapped=1)
    assert (account.taken, account.left) == (5, 95) == (parts.units_taken(), 95)
