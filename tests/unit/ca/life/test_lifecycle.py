# SPDX-License-Identifier: Apache-2.0
"""What is said of units, what is revoked by whole groups, and that none of it can be got around."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import pytest
from cryptography import x509

from birthmark.ca.errors import Refused
from birthmark.ca.life import lifecycle
from birthmark.ca.life.acts import REPLACE, RESUME, ReplaceTerms, ResumeTerms, since_text, unit_acts
from birthmark.ca.life.lifecycle import ADMINISTRATOR, Lifecycle
from birthmark.ca.life.units import Move
from birthmark.ca.people.approvals import Approvals
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipGroup, ChipID, End, Ending, GroupKind, UnitState
from birthmark.core.roles import Role
from birthmark.pki.crl import read_crl
from birthmark.testing.forge import new_key
from support.ca_parts import AUTHORITY, DONE, NOT_DONE, UNIT, Board, CAParts, Crash, FaultyStore, renewed
from support.officers import Person


@contextmanager
def refused(finding: str) -> Iterator[None]:
    with pytest.raises(Refused) as refusal:
        yield
    assert refusal.value.finding == finding


@pytest.fixture
def life(parts: CAParts) -> Lifecycle:
    return Lifecycle(parts.store, parts.clock)


class Office:
    """A line lead and an approver."""

    def __init__(self, parts: CAParts) -> None:
        self.parts = parts
        at = parts.clock()
        self.lead = Person.hired(parts.operations, "Lena Lead", Role.LINE_LEAD, at)
        self.approver = Person.hired(parts.operations, "Anton Approver", Role.APPROVER, at)
        self.approvals = Approvals(parts.store, unit_acts(), parts.policy.trust, AUTHORITY, parts.clock)

    def propose(self, act: str, terms: msgspec.Struct, unit: str = UNIT) -> tuple[str, str]:
        token = self.lead.proposal(act, unit, terms)
        return act, self.approvals.propose(
            self.lead.officer(self.parts.policy.trust, self.parts.clock()), token
        ).document

    def approve(self, proposed: tuple[str, str], person: Person | None = None) -> None:
        act, token = proposed
        person = person or self.approver
        ruling = person.ruling(token, act)
        officer = person.officer(self.parts.policy.trust, self.parts.clock())
        self.approvals.rule(officer, fingerprint(token.encode()), ruling)


@pytest.fixture
def office(parts: CAParts) -> Office:
    return Office(parts)


def resume_terms(life: Lifecycle, unit: str = UNIT) -> ResumeTerms:
    return ResumeTerms(since=since_text(life.unit(unit).unit))


def replacement(old: Board, new: Board) -> ReplaceTerms:
    maker = "Smith"
    return ReplaceTerms(old_maker=maker, old_chip=old.chip.serial, new_maker=maker, new_chip=new.chip.serial)


def listed(parts: CAParts) -> frozenset[int]:
    parts.clock.forward(seconds=2)
    return read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock()).serials


def endings(parts: CAParts) -> list[str]:
    with parts.store.reading() as ledger:
        return [end.ending.value for _, end in ledger.endings(-1, 99)]


def test_a_unit_is_made_by_its_birth_and_active_by_its_first_renewal(parts: CAParts, life: Lifecycle) -> None:
    board = parts.board()
    certificate = parts.born(board)
    with refused("ca.unit.unknown"):
        life.unit(UNIT)
    parts.ca.take_birth(parts.client(), parts.birth(board, certificate))
    assert life.unit(UNIT).unit.state is UnitState.MADE
    second = renewed(parts, board, certificate, new_key())
    assert life.unit(UNIT).unit.state is UnitState.ACTIVE
    renewed(parts, board, second, new_key())
    assert [row["act"] for row in parts.administration.audit()].count("unit.activate") == 1
    assert life.unit(UNIT).unit.chip == ChipID("Smith", board.chip.serial)
    assert len(life.unit(UNIT).issuances) == 3


def test_a_suspended_unit_is_revoked_cannot_renew_and_cannot_enrol(parts: CAParts, life: Lifecycle) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    assert listed(parts) == {certificate.serial_number}
    with refused("ca.re.revoked"):
        renewed(parts, board, certificate, new_key())
    with refused("ca.7.unit-state"):
        parts.born(replace(board, key=new_key()))
    said = [(row["act"], row["detail"]) for row in parts.administration.audit()]
    assert ("unit.suspend", "stolen?") in said
    assert ("hold", "stolen?") in said


def test_two_persons_give_a_suspended_unit_its_life_back(parts: CAParts, life: Lifecycle, office: Office) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    with refused("ca.unit.two-persons"):
        life.move(ADMINISTRATOR, UNIT, Move.RESUME, "found")
    office.approve(office.propose(RESUME, resume_terms(life)))
    assert life.unit(UNIT).unit.state is UnitState.MADE
    assert endings(parts) == ["held", "released"]
    assert listed(parts) == set()
    renewed(parts, board, certificate, new_key())


def test_a_proposal_to_resume_does_not_lift_a_later_suspension(parts: CAParts, life: Lifecycle, office: Office) -> None:
    parts.confirmed(parts.board())
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    proposed = office.propose(RESUME, resume_terms(life))
    parts.clock.forward(seconds=1)
    life.move(ADMINISTRATOR, UNIT, Move.RETURN, "it came back")
    with refused("ca.unit.stale"):
        office.approve(proposed)


def test_both_certificates_of_a_rotation_come_back_as_they_were(
    parts: CAParts, life: Lifecycle, office: Office
) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    second = renewed(parts, board, first, new_key())
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    assert listed(parts) == {first.serial_number, second.serial_number}
    office.approve(office.propose(RESUME, resume_terms(life)))
    assert listed(parts) == set()
    parts.clock.forward(days=8)
    assert listed(parts) == {first.serial_number}


def test_what_nobody_confirmed_is_not_held_but_revoked(parts: CAParts, life: Lifecycle) -> None:
    board = parts.board()
    parts.administration.revoke(f"{parts.confirmed(board).serial_number:x}", "lost")
    parts.born(replace(board, key=new_key()))
    life.move(ADMINISTRATOR, UNIT, Move.RETURN, "it came back")
    assert parts.states() == ["revoked", "revoked"]
    assert endings(parts) == ["revoked", "revoked"]


def test_a_retired_chip_never_comes_back_under_any_unit(parts: CAParts, life: Lifecycle) -> None:
    board = parts.board()
    parts.confirmed(board)
    life.move(ADMINISTRATOR, UNIT, Move.RETIRE, "end of life")
    with refused("ca.7.denied"):
        parts.born(Board("BM-000777", board.chip))
    with refused("ca.7.denied"):
        parts.born(replace(board, key=new_key()))
    with refused("ca.unit.transition"):
        life.move(ADMINISTRATOR, UNIT, Move.RETURN, "no")


def test_another_chip_takes_two_persons_and_is_exactly_the_one_that_they_signed(
    parts: CAParts, life: Lifecycle, office: Office
) -> None:
    old, new = parts.board(), parts.board()
    parts.confirmed(old)
    life.move(ADMINISTRATOR, UNIT, Move.RETURN, "it came back")
    proposed = office.propose(REPLACE, replacement(old, new))
    with refused("ca.7.unit-state"):
        parts.born(new)
    office.approve(proposed)
    assert life.unit(UNIT).unit.state is UnitState.REWORKED
    with refused("ca.7.unit-chip"):
        parts.born(parts.board())
    with refused("ca.7.denied"):
        parts.born(replace(old, key=new_key()))
    parts.confirmed(new)
    unit = life.unit(UNIT).unit
    assert (unit.state, unit.chip) == (UnitState.MADE, ChipID("Smith", new.chip.serial))
    assert parts.states() == ["revoked", "confirmed"]
    with refused("ca.7.denied"):
        parts.born(Board("BM-000777", old.chip))


def test_a_chip_of_another_unit_or_a_denied_one_replaces_nothing(
    parts: CAParts, life: Lifecycle, office: Office
) -> None:
    old, elsewhere, denied = parts.board(), parts.board("BM-000002"), parts.board()
    parts.confirmed(old)
    parts.confirmed(elsewhere)
    life.revoke_chip(ADMINISTRATOR, ChipID("Smith", denied.chip.serial), "from the bin")
    for chip in (elsewhere, denied):
        with refused("ca.unit.chip"):
            office.propose(REPLACE, replacement(old, chip))
    with refused("ca.unit.stale"):
        office.propose(REPLACE, replacement(elsewhere, denied))


def test_a_revoked_unit_takes_its_successor_along(parts: CAParts, life: Lifecycle) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    second = renewed(parts, board, first, new_key())
    serials = {f"{each.serial_number:x}" for each in (first, second)}
    assert set(life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")) == serials
    assert listed(parts) == {first.serial_number, second.serial_number}
    assert life.revoke_unit(ADMINISTRATOR, UNIT, "stolen") == ()
    with refused("ca.unit.unknown"):
        life.revoke_unit(ADMINISTRATOR, "BM-000999", "stolen")


def test_a_revoked_chip_is_denied_also_when_it_was_never_seen(parts: CAParts, life: Lifecycle) -> None:
    drawer = parts.board()
    assert life.revoke_chip(ADMINISTRATOR, ChipID("Smith", drawer.chip.serial), "from the bin") == ()
    with refused("ca.7.denied"):
        parts.born(drawer)


def group_of(parts: CAParts, certificate: x509.Certificate, kind: GroupKind) -> ChipGroup:
    with parts.store.reading() as ledger:
        found = ledger.issuance(f"{certificate.serial_number:x}")
    assert found is not None
    return ChipGroup(kind, found.ak_fingerprint if kind is GroupKind.AK else found.chip_model)


@pytest.mark.parametrize("kind", GroupKind)
def test_a_denied_group_loses_every_certificate_and_gets_none(parts: CAParts, life: Lifecycle, kind: GroupKind) -> None:
    boards = [parts.board(f"BM-{number:06d}") for number in range(1, 4)]
    certificates = [parts.confirmed(board) for board in boards]
    second = renewed(parts, boards[0], certificates[0], new_key())
    count = life.revoke_group(ADMINISTRATOR, group_of(parts, second, kind), "its key leaked")
    assert count == (2 if kind is GroupKind.AK else 4)
    assert second.serial_number in listed(parts)
    with refused("ca.7.denied"):
        parts.born(Board("BM-000009", boards[0].chip))


@contextmanager
def pages_of(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "SETTLE_MAX", number)
        yield


@pytest.mark.parametrize("faults", [(None, NOT_DONE), (None, DONE), (None, None, NOT_DONE), (DONE,)])
def test_a_mass_revocation_that_was_interrupted_is_finished_by_whoever_comes_next(
    parts: CAParts, faults: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = [parts.board(f"BM-{number:06d}") for number in range(1, 6)]
    certificates = [parts.confirmed(board) for board in boards]
    group = group_of(parts, certificates[0], GroupKind.MODEL)
    with pages_of(2, monkeypatch):
        broken = Lifecycle(FaultyStore(parts.store, faults), parts.clock)
        with pytest.raises(Crash):
            broken.revoke_group(ADMINISTRATOR, group, "withdrawn")
        with refused("ca.7.denied"):
            parts.born(parts.board("BM-000009"))
        Lifecycle(parts.store, parts.clock).settle()
    assert parts.states() == ["revoked"] * 5
    said = [row for row in parts.administration.audit() if not row["finding"]]
    assert [row["act"] for row in said].count("revoke") == 5
    assert [row["act"] for row in said].count("deny") == 1
    assert Lifecycle(parts.store, parts.clock).settle() == 0


def test_a_held_certificate_of_a_denied_group_is_not_released(parts: CAParts, life: Lifecycle, office: Office) -> None:
    certificate = parts.confirmed(parts.board())
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    life.revoke_group(ADMINISTRATOR, group_of(parts, certificate, GroupKind.AK), "its key leaked")
    office.approve(office.propose(RESUME, resume_terms(life)))
    assert listed(parts) == {certificate.serial_number}
    with parts.store.reading() as ledger:
        found = ledger.issuance(f"{certificate.serial_number:x}")
    assert found is not None
    assert End(found.serial, found.dies_at or parts.clock(), Ending.REVOKED).ending is found.ending


def test_a_ledger_with_all_of_this_is_sound(parts: CAParts, life: Lifecycle, office: Office) -> None:
    boards = [parts.board(f"BM-{number:06d}") for number in range(1, 5)]
    certificates = [parts.confirmed(board) for board in boards]
    renewed(parts, boards[0], certificates[0], new_key())
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    office.approve(office.propose(RESUME, resume_terms(life)))
    life.move(ADMINISTRATOR, "BM-000002", Move.RETIRE, "end of life")
    office.approve(office.propose(REPLACE, replacement(boards[2], new := parts.board("BM-000003")), "BM-000003"))
    parts.confirmed(new)
    life.revoke_group(ADMINISTRATOR, group_of(parts, certificates[3], GroupKind.AK), "its key leaked")
    found = [each for each in parts.administration.check() if each.subject not in ("proposals", "rulings")]
    assert found == []  # the fixture's own order has a proposal that nobody logged
