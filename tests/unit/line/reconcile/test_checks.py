# SPDX-License-Identifier: Apache-2.0
"""The reconciler: books that agree, and each way in which they may not."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core.work import UnitWork, WorkState
from birthmark.line.reconcile.books import Books
from birthmark.line.reconcile.checks import reconcile
from support.books import Made, backlog, books_of, certificate, mes, more, rig, units, work

WHOLE = books_of(units(10))
RIG_A, RIG_B = WHOLE.rigs
RECEIVED = WHOLE.mes["mes-file"]
BIRTH = next(event for event in RIG_B.events if event.event == "unit.born")
SPENT = next(number for number, each in enumerate(WHOLE.units) if each.state is WorkState.SPENT)


def found(books: Books) -> set[str]:
    return {each.finding for each in reconcile(books) if each.found}


def test_books_that_agree_are_all_looked_at_and_found_to_agree() -> None:
    relations = reconcile(WHOLE)
    assert [each.finding for each in relations if each.found] == []
    assert all(each.compared > 0 for each in relations)


@settings(max_examples=20)
@given(st.integers(1, 12))
def test_books_of_any_size_agree_when_they_agree(count: int) -> None:
    assert found(books_of(units(count))) == set()


def _other_chip(books: Books) -> Books:
    return certificate(books, chip_serial="FFFFFFFFFFFFFFFF")


def _taken_from_rig(books: Books) -> Books:
    """One event of rig-a is in no rig's journal any more, and later ones are."""
    kept = [event for event in RIG_A.events if event.sequence != 2]
    return rig(books, events=tuple(kept))


WRONG: dict[str, tuple[Callable[[Books], Books], set[str]]] = {
    "the CA lost a birth": (
        lambda books: certificate(books, birth="", state="issued"),
        {"reconcile.birth.lost", "reconcile.certificate.ghost", "reconcile.unit.without"},
    ),
    "the CA lost a certificate": (
        lambda books: replace(books, certificates=books.certificates[1:]),
        {"reconcile.birth.lost", "reconcile.unit.without"},
    ),
    "a rig told PASS and recorded no birth, nor did anybody": (
        lambda books: replace(
            rig(books, 1, events=tuple(event for event in RIG_B.events if event != BIRTH)),
            certificates=tuple(row for row in books.certificates if row.certificate_sha256 != BIRTH.idempotency_key),
        ),
        {"reconcile.birth.lost", "reconcile.unit.without", "reconcile.mes.differs"},
    ),
    "the CA has a birth that no rig signed": (
        lambda books: certificate(books, birth=books.certificates[1].birth),
        {"reconcile.birth.strange", "reconcile.serial.wrong"},
    ),
    "the CA has a birth of which no rig knows": (
        lambda books: more(books, unit_serial="BM-000099", chip_serial="99", certificate_sha256="99" * 32, serial="99"),
        {"reconcile.birth.strange", "reconcile.serial.wrong"},
    ),
    "one unit has two living certificates": (
        lambda books: more(books, serial="ff", certificate_sha256="ff" * 32, state="issued", birth="", chip_serial="9"),
        {"reconcile.certificate.duplicate", "reconcile.certificate.ghost"},
    ),
    "one chip has two living certificates": (
        lambda books: more(books, serial="ff", certificate_sha256="ff" * 32, state="issued", birth="", unit_serial="9"),
        {"reconcile.certificate.duplicate", "reconcile.certificate.ghost"},
    ),
    "a second certificate that is dead is none": (
        lambda books: more(books, serial="ff", certificate_sha256="ff" * 32, state="revoked", birth=""),
        set(),
    ),
    "the ledger names another chip than the birth": (_other_chip, {"reconcile.serial.wrong"}),
    "the ledger names another unit than the birth": (
        lambda books: certificate(books, unit_serial="BM-000099"),
        {"reconcile.serial.wrong", "reconcile.unit.without"},
    ),
    "the ledger names another serial than the birth": (
        lambda books: certificate(books, serial="ffff"),
        {"reconcile.serial.wrong"},
    ),
    "the rigs' store has another chip than the ledger": (
        lambda books: work(books, chip_serial="FFFFFFFFFFFFFFFF"),
        {"reconcile.serial.wrong"},
    ),
    "a birth record cannot be read": (
        lambda books: certificate(books, birth="eyJ.e30.AA"),
        {"reconcile.birth.strange", "reconcile.serial.wrong"},
    ),
    "a unit that a rig still tells of is nowhere in the rigs' store": (
        lambda books: replace(books, units=(UnitWork(books.units[0].unit), *books.units[1:])),
        {"reconcile.unit.unfinished"},
    ),
    "the rigs' store has taken away a unit that no rig tells of any more": (
        lambda books: replace(books, units=(UnitWork("BM-009999"), *books.units)),
        set(),
    ),
    "a unit is open": (lambda books: work(books, state=WorkState.OPEN), {"reconcile.unit.unfinished"}),
    "a unit is in work": (lambda books: work(books, state=WorkState.IN_WORK), {"reconcile.unit.unfinished"}),
    "a unit has failed and may be tried again": (
        lambda books: work(books, state=WorkState.FAILED),
        {"reconcile.unit.unfinished"},
    ),
    "a unit has failed for good, and nobody says why": (
        lambda books: work(books, SPENT, finding=""),
        {"reconcile.unit.unfinished"},
    ),
    "a unit that failed for good is said to be done": (
        lambda books: work(books, SPENT, state=WorkState.DONE),
        {"reconcile.unit.without"},
    ),
    "a MES lacks an event": (lambda books: mes(books, RECEIVED[1:]), {"reconcile.mes.gap"}),
    "a MES has nothing": (lambda books: mes(books, ()), {"reconcile.mes.gap"}),
    "a MES has an event twice": (lambda books: mes(books, (*RECEIVED, RECEIVED[0])), {"reconcile.mes.twice"}),
    "a MES has a number twice, under two keys": (
        lambda books: mes(books, (*RECEIVED, msgspec.structs.replace(RECEIVED[0], idempotency_key="another"))),
        {"reconcile.mes.twice", "reconcile.mes.differs"},
    ),
    "a MES has another verdict than the rig": (
        lambda books: mes(books, (*RECEIVED[:-1], msgspec.structs.replace(RECEIVED[-1], verdict="SKIP"))),
        {"reconcile.mes.differs"},
    ),
    "a MES has an event of a journal that no rig has": (
        lambda books: mes(books, (*RECEIVED, msgspec.structs.replace(RECEIVED[0], journal="x", idempotency_key="x"))),
        {"reconcile.mes.differs"},
    ),
    "a rig has lost an event that a MES has": (
        _taken_from_rig,
        {"reconcile.birth.strange", "reconcile.mes.differs"},
    ),
    "a rig has taken away what all have": (lambda books: rig(books, events=RIG_A.events[3:]), set()),
    "a rig has taken away what one MES never had": (
        lambda books: mes(
            rig(books, events=RIG_A.events[3:]), (event for event in RECEIVED if event.number != RIG_A.events[1].number)
        ),
        {"reconcile.mes.gap"},
    ),
    "events wait": (
        lambda books: rig(books, destinations=(backlog("ca", waiting=1),)),
        {"reconcile.outbox.waiting"},
    ),
    "an event is parked": (
        lambda books: rig(books, destinations=(backlog("ca", parked=1),)),
        {"reconcile.outbox.waiting"},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_agree_is_found_under_its_name_and_under_no_other(case: str) -> None:
    change, findings = WRONG[case]
    assert found(change(WHOLE)) == findings


def test_two_rigs_that_have_recorded_one_certificate_agree_with_a_mes_that_took_it_once() -> None:
    again = msgspec.structs.replace(
        BIRTH,
        rig="rig-a",
        journal=RIG_A.journal,
        sequence=RIG_A.events[-1].sequence + 1,
        jws=Made(int(BIRTH.unit[-6:]), "rig-a", WorkState.DONE).jws,
    )
    assert again.jws != BIRTH.jws
    assert found(rig(WHOLE, events=(*RIG_A.events, again))) == set()


@given(st.sets(st.integers(0, len(RECEIVED) - 1), min_size=1))
def test_every_event_that_is_missing_is_named(missing: set[int]) -> None:
    books = mes(WHOLE, (event for number, event in enumerate(RECEIVED) if number not in missing))
    (gaps,) = [each.found for each in reconcile(books) if each.found]
    assert len(gaps) == len(missing)
    assert {each.unit for each in gaps} == {RECEIVED[number].unit for number in missing}


@given(st.sets(st.sampled_from(range(len(WHOLE.certificates))), min_size=1))
def test_every_lost_birth_is_named_by_its_unit(lost: set[int]) -> None:
    books = WHOLE
    for number in lost:
        books = certificate(books, number, birth="")
    (births,) = [each.found for each in reconcile(books) if each.finding == "reconcile.birth.lost"]
    assert {each.unit for each in births} == {WHOLE.certificates[number].unit_serial for number in lost}
