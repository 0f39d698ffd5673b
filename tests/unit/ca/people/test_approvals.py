# SPDX-License-Identifier: Apache-2.0
"""Four eyes: what one person proposes, another one lets happen, once, and the log holds both signatures."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from birthmark.ca.errors import Refused
from birthmark.ca.people.approvals import APPROVERS, PROPOSAL_LIFE, SECURITY_OFFICERS, Act, Approvals, Asked
from birthmark.ca.ports import Ledger
from birthmark.core import jws
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipID
from birthmark.core.proposals import PROPOSAL_TYP, RULING_TYP, Proposal, State
from birthmark.core.roles import Role
from birthmark.pki.authorities import make_officer
from support.ca_parts import AUTHORITY, NOW, CAParts
from support.officers import Person

DENY = "chip.deny"


class DenyTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    maker: str


def demand_not_denied(ledger: Ledger, asked: Asked) -> None:
    if ledger.denial(ChipID(asked.terms.maker, asked.subject)) is not None:
        raise Refused(409, "test.denied", "denied already")


def deny(ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
    ledger.deny(ChipID(asked.terms.maker, asked.subject), asked.reason)
    return [asked.row("done")]


ACT = Act(DENY, DenyTerms, "chip_serial", SECURITY_OFFICERS, APPROVERS, demand_not_denied, deny)
CHIP = ChipID("Smith", "0123456789ABCDEF")


class Office:
    """People, and the mechanism with one act."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        at = parts.clock()
        self.approvals = Approvals(parts.store, [ACT], parts.policy.trust, AUTHORITY, parts.clock)
        self.ada = Person.hired(parts.operations, "Ada", Role.SECURITY_OFFICER, at)
        self.bob = Person.hired(parts.operations, "Bob", Role.APPROVER, at)
        self.token = self.ada.proposal(DENY, CHIP.serial, {"maker": CHIP.maker})

    def propose(self, person: Person, token: str | None = None) -> Proposal:
        officer = person.officer(self.parts.policy.trust, self.parts.clock())
        return self.approvals.propose(officer, token or self.token)

    def rule(self, person: Person, token: str, proposal: str | None = None) -> Proposal:
        officer = person.officer(self.parts.policy.trust, self.parts.clock())
        return self.approvals.rule(officer, proposal or fingerprint(self.token.encode()), token)

    def denial(self) -> str | None:
        with self.parts.store.reading() as ledger:
            return ledger.denial(CHIP)

    def rows(self) -> list[AuditRow]:
        with self.parts.store.reading() as ledger:
            return [decode_row(entry) for entry in ledger.entries(0, 100)][3:]


@pytest.fixture
def office(parts: CAParts) -> Office:
    return Office(parts)


def refused(finding: str) -> object:
    return pytest.raises(Refused, check=lambda error: error.finding == finding)


def test_nothing_happens_before_the_second_person_says_so(office: Office) -> None:
    proposal = office.propose(office.ada)
    assert (proposal.state(office.parts.clock()), proposal.proposed_by) == (State.OPEN, "security-officer:Ada")
    assert office.denial() is None
    decided = office.rule(office.bob, office.bob.ruling(office.token, DENY))
    assert decided.state(office.parts.clock()) is State.APPROVED
    assert office.denial() == "as planned"


def test_the_log_holds_the_digests_of_both_signatures_and_the_act(office: Office) -> None:
    office.propose(office.ada)
    ruling = office.bob.ruling(office.token, DENY)
    office.rule(office.bob, ruling)
    digest = fingerprint(office.token.encode())
    assert [(row.act, row.who, row.about, row.chip_serial) for row in office.rows()] == [
        ("propose", "security-officer:Ada", digest, CHIP.serial),
        ("approve", "approver:Bob", fingerprint(ruling.encode()), CHIP.serial),
        (DENY, "approver:Bob", digest, CHIP.serial),
    ]
    assert digest in office.rows()[1].detail


def test_both_documents_and_certificates_are_kept(office: Office) -> None:
    office.propose(office.ada)
    ruling = office.bob.ruling(office.token, DENY)
    office.rule(office.bob, ruling)
    kept = office.approvals.proposal(fingerprint(office.token.encode()))
    assert kept.ruling is not None
    assert (kept.document, kept.ruling.document) == (office.token, ruling)
    assert office.approvals.proposals(1) == (kept,)


def test_a_repeat_changes_nothing(office: Office) -> None:
    assert office.propose(office.ada) == office.propose(office.ada)
    ruling = office.bob.ruling(office.token, DENY)
    assert office.rule(office.bob, ruling) == office.rule(office.bob, ruling)
    assert len(office.rows()) == 3


def test_a_rejected_proposal_does_nothing_and_cannot_be_approved(office: Office) -> None:
    office.propose(office.ada)
    assert office.rule(office.bob, office.bob.ruling(office.token, DENY, "rejected")).ruling is not None
    assert office.rows()[-1].act == "reject"
    with refused("ca.approval.decided"):
        office.rule(office.bob, office.bob.ruling(office.token, DENY))
    assert office.denial() is None


def test_a_proposal_expires(office: Office) -> None:
    office.propose(office.ada)
    office.parts.clock.now += PROPOSAL_LIFE
    with refused("ca.approval.decided"):
        office.rule(office.bob, office.bob.ruling(office.token, DENY))
    assert office.approvals.expire() == 1
    assert office.approvals.expire() == 0
    assert (office.rows()[-1].act, office.rows()[-1].who) == ("expire", "authority")


def other_name_same_key(office: Office) -> Person:
    certificate = make_officer(
        office.parts.operations, "Eve", Role.APPROVER, office.ada.key.public_key(), office.parts.clock()
    )
    return Person(office.ada.key, certificate)


@pytest.mark.parametrize(
    "second",
    [
        lambda office: office.ada,
        lambda office: Person.hired(office.parts.operations, " ada", Role.APPROVER, office.parts.clock()),
        other_name_same_key,
    ],
    ids=["the proposer", "another certificate of the same name", "another certificate of the same key"],
)
def test_nobody_approves_their_own_proposal(office: Office, second: object) -> None:
    office.propose(office.ada)
    person: Person = second(office)  # type: ignore[operator]
    with refused("ca.approval.same-person"):
        office.rule(person, person.ruling(office.token, DENY))
    assert office.denial() is None


@pytest.mark.parametrize(
    "spelling",
    [
        "J\u00fcrgen  Gro\u00df",
        "Ju\u0308rgen Gro\u00df",
        "J\u00dcRGEN GROSS",
        "\uff2a\u00fcrgen\u00a0Gro\u00df",
        "J\u00fcr\u200bgen Gro\u00df",
    ],
    ids=["two spaces", "combining marks", "capitals", "wide letters", "an invisible character"],
)
def test_a_person_is_the_same_however_the_name_is_spelled(office: Office, spelling: str) -> None:
    clock, operations = office.parts.clock, office.parts.operations
    first = Person.hired(operations, "J\u00fcrgen Gro\u00df", Role.SECURITY_OFFICER, clock())
    token = first.proposal(DENY, CHIP.serial, {"maker": CHIP.maker})
    office.propose(first, token)
    again = Person.hired(operations, spelling, Role.APPROVER, clock())
    with refused("ca.approval.same-person"):
        office.rule(again, again.ruling(token, DENY), fingerprint(token.encode()))
    assert office.denial() is None


@pytest.mark.parametrize("role", [Role.APPROVER, Role.AUDITOR, Role.LINE_LEAD])
def test_only_those_propose_who_may(office: Office, role: Role) -> None:
    person = Person.hired(office.parts.operations, "Carl", role, office.parts.clock())
    with refused("ca.1.role"):
        office.propose(person, person.proposal(DENY, CHIP.serial, {"maker": CHIP.maker}))


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.LINE_LEAD])
def test_only_those_decide_who_may(office: Office, role: Role) -> None:
    office.propose(office.ada)
    person = Person.hired(office.parts.operations, "Carl", role, office.parts.clock())
    with refused("ca.1.role"):
        office.rule(person, person.ruling(office.token, DENY))


def test_a_document_of_somebody_else_is_not_proposed(office: Office) -> None:
    carl = Person.hired(office.parts.operations, "Carl", Role.SECURITY_OFFICER, office.parts.clock())
    with refused("ca.approval.signature"):
        office.propose(carl)


def test_a_ruling_of_somebody_else_does_not_count(office: Office) -> None:
    office.propose(office.ada)
    with refused("ca.approval.signature"):
        office.rule(office.bob, office.ada.ruling(office.token, DENY))


@pytest.mark.parametrize("changes", [{"proposal": "0" * 64}, {"act": "order.create"}])
def test_a_ruling_on_another_proposal_does_not_count(office: Office, changes: dict[str, str]) -> None:
    office.propose(office.ada)
    with refused("ca.approval.mismatch"):
        office.rule(office.bob, office.bob.ruling(office.token, **({"act": DENY} | changes)))


@pytest.mark.parametrize("hidden", ["\n", "\x1b[2K", "\x9b2K", "\u202e", "\u2066"], ids=ascii)
def test_no_document_says_anything_that_a_terminal_would_obey(office: Office, hidden: str) -> None:
    for subject, reason in ((CHIP.serial + hidden, "as planned"), (CHIP.serial, f"as{hidden} planned")):
        with refused("ca.approval.malformed"):
            office.propose(office.ada, office.ada.proposal(DENY, subject, {"maker": CHIP.maker}, reason))


REPEATED = {
    "a term": ('"maker":"Smith"', '"maker":"Jones","maker":"Smith"'),
    "a term, the same twice": ('"maker":"Smith"', '"maker":"Smith","maker":"Smith"'),
    "a term under an escape": ('"maker":"Smith"', '"m\\u0061ker":"Jones","maker":"Smith"'),
    "the authority": ('"authority":', '"authority":"example.com/twin","authority":'),
    "the act": ('"act":', '"act":"order.close","act":'),
    "the subject": ('"subject":', '"subject":"ORDER","subject":'),
    "the terms": ('"terms":', '"terms":{},"terms":'),
    "the record": ('"record":', '"record":"birthmark.ruling.v1","record":'),
}


@pytest.mark.parametrize(("single", "double"), REPEATED.values(), ids=REPEATED.keys())
def test_a_proposal_that_says_one_thing_twice_is_refused(office: Office, single: str, double: str) -> None:
    payload = jws.read(office.token).payload.decode()
    assert single in payload
    with refused("ca.approval.malformed"):
        office.propose(office.ada, signed_by(office.ada, payload.replace(single, double), PROPOSAL_TYP))
    assert office.propose(office.ada, signed_by(office.ada, payload, PROPOSAL_TYP))


@pytest.mark.parametrize(
    ("single", "double"),
    [
        ('"ruling":"approved"', '"ruling":"rejected","ruling":"approved"'),
        ('"ruling":"approved"', '"ruling":"approved","ruling":"approved"'),
        ('"authority":', '"authority":"example.com/twin","authority":'),
        ('"proposal":', '"proposal":"","proposal":'),
    ],
)
def test_a_ruling_that_says_one_thing_twice_is_refused(office: Office, single: str, double: str) -> None:
    office.propose(office.ada)
    payload = jws.read(office.bob.ruling(office.token, DENY)).payload.decode()
    assert single in payload
    with refused("ca.approval.malformed"):
        office.rule(office.bob, signed_by(office.bob, payload.replace(single, double), RULING_TYP))
    assert office.denial() is None


def signed_by(person: Person, payload: str, typ: str) -> str:
    return jws.sign(payload.encode(), typ, person.key, person.certificate)


def test_a_proposal_document_is_no_ruling(office: Office) -> None:
    office.propose(office.ada)
    with refused("ca.approval.malformed"):
        office.rule(office.bob, office.bob.proposal(DENY, CHIP.serial, {"maker": CHIP.maker}))


@pytest.mark.parametrize("terms", [{}, {"maker": 1}, {"maker": "Smith", "more": 1}, []])
def test_terms_are_read_strictly(office: Office, terms: object) -> None:
    with refused("ca.approval.malformed"):
        office.propose(office.ada, office.ada.proposal(DENY, CHIP.serial, terms))


def test_an_unknown_act_is_refused(office: Office) -> None:
    with refused("ca.approval.act"):
        office.propose(office.ada, office.ada.proposal("key.export", "issuing", {}))


def test_an_unknown_proposal_is_refused(office: Office) -> None:
    with refused("ca.approval.unknown"):
        office.rule(office.bob, office.bob.ruling(office.token, DENY))


def test_a_proposer_whose_certificate_has_expired_proposes_no_more(office: Office) -> None:
    key, at = office.ada.key, office.parts.clock()
    short = Person(
        key, make_officer(office.parts.operations, "Ada", Role.SECURITY_OFFICER, key.public_key(), at, days=1)
    )
    token = short.proposal(DENY, CHIP.serial, {"maker": CHIP.maker})
    office.propose(short, token)
    office.parts.clock.now += timedelta(days=2)
    with refused("ca.1.officer"):
        office.rule(office.bob, office.bob.ruling(token, DENY), fingerprint(token.encode()))


def test_what_was_changed_in_the_database_is_not_executed(office: Office) -> None:
    proposal = office.propose(office.ada)
    other = office.ada.proposal(DENY, "FEDCBA9876543210", {"maker": CHIP.maker})
    with office.parts.store.writing() as ledger:
        ledger._db.write("UPDATE proposal SET document = ? WHERE id = ?", other, proposal.id)  # type: ignore[attr-defined]
    with refused("ca.approval.mismatch"):
        office.rule(office.bob, office.bob.ruling(office.token, DENY))


@pytest.mark.parametrize("column", ["act", "subject"])
def test_what_stands_beside_the_document_is_not_what_is_done(office: Office, column: str) -> None:
    proposal = office.propose(office.ada)
    other = {"act": "order.close", "subject": "FEDCBA9876543210"}[column]
    acts = [ACT, replace(ACT, name="order.close")]
    approvals = Approvals(office.parts.store, acts, office.parts.policy.trust, AUTHORITY, office.parts.clock)
    with office.parts.store.writing() as ledger:
        ledger._db.write(f"UPDATE proposal SET {column} = ? WHERE id = ?", other, proposal.id)  # type: ignore[attr-defined]  # noqa: S608
    ruling = office.bob.ruling(office.token, other if column == "act" else DENY)
    with refused("ca.approval.mismatch"):
        approvals.rule(office.bob.officer(office.parts.policy.trust, office.parts.clock()), proposal.id, ruling)
    assert office.denial() is None


@pytest.mark.parametrize("document", ["no document", "a.b.c", "é"])
def test_a_document_that_cannot_be_read_expires_and_holds_no_other_up(office: Office, document: str) -> None:
    proposal = office.propose(office.ada)
    other = office.propose(office.ada, office.ada.proposal(DENY, "FEDCBA9876543210", {"maker": CHIP.maker}))
    with office.parts.store.writing() as ledger:
        ledger._db.write("UPDATE proposal SET document = ? WHERE id = ?", document, proposal.id)  # type: ignore[attr-defined]
    office.parts.clock.now += PROPOSAL_LIFE
    assert office.approvals.expire() == 2
    assert {office.approvals.proposal(each.id).state(NOW) for each in (proposal, other)} == {State.EXPIRED}


def test_the_act_is_asked_when_it_is_proposed(office: Office) -> None:
    with office.parts.store.writing() as ledger:
        ledger.deny(CHIP, "lost")
    with refused("test.denied"):
        office.propose(office.ada)
    assert office.rows() == []
