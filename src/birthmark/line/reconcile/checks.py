# SPDX-License-Identifier: Apache-2.0
"""
What must hold between the books, one function for each relation: rows in, disagreements out. No I/O and no clock.

docs/reference/reconcile.md says of each finding what it means and what to do.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from birthmark.core.birth import BirthRecord
from birthmark.core.work import NEVER, UnitWork, WorkState
from birthmark.line.reconcile.books import Books, Certificate, RigBook, Told
from birthmark.line.reconcile.index import Index

_TERMINAL = frozenset({WorkState.DONE, WorkState.SPENT, WorkState.QUARANTINED})


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two books do not say the same of a unit, or of a number. `unit` is empty where none is known."""

    finding: str
    unit: str
    detail: str


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation: its finding, what it demands, how many rows were looked at, and what does not hold."""

    finding: str
    demands: str
    compared: int
    found: tuple[Disagreement, ...]


_Found = Iterator[tuple[str, str]]
_Rows = Callable[[Index], int]


def reconcile(books: Books) -> tuple[Relation, ...]:
    """Return every relation, those that hold too."""
    index = Index.of(books)
    return tuple(
        Relation(
            finding,
            demands,
            rows(index),
            tuple(Disagreement(finding, unit, detail) for unit, detail in check(index)),
        )
        for finding, demands, rows, check in _RELATIONS
    )


def _lost_births(index: Index) -> _Found:
    known = {sha256 for sha256, row in index.certificates.items() if row.birth}
    for event in index.born:
        if event.idempotency_key not in known:
            yield event.unit, f"{event.rig} has the birth of {_short(event.idempotency_key)}, the CA has it not"
    for event in index.passed:
        if event.certificate_sha256 not in known:
            yield event.unit, f"{event.rig} told {event.verdict} with {_short(event.certificate_sha256)}, without birth"


def _strange_births(index: Index) -> _Found:
    complete = all(rig.first == 1 for rig in index.books.rigs)
    for row in index.books.certificates:
        if not row.birth:
            continue
        rigs = index.births.get(row.certificate_sha256, set())
        if rigs and row.birth not in rigs:
            yield row.unit_serial, f"the CA's birth record of {_short(row.certificate_sha256)} is none of a rig's"
        elif complete and not rigs:
            yield row.unit_serial, f"the CA has a birth of {_short(row.certificate_sha256)}, no rig has"


def _duplicates(index: Index) -> _Found:
    for what, name in (("unit", "unit_serial"), ("chip", "chip_serial")):
        living: dict[str, list[Certificate]] = defaultdict(list)
        for row in index.books.certificates:
            if row.living:
                living[getattr(row, name)].append(row)
        for serial, rows in living.items():
            if len(rows) > 1:
                serials = ", ".join(row.serial for row in rows)
                yield rows[0].unit_serial, f"{what} {serial} has {len(rows)} living certificates: {serials}"


def _ghosts(index: Index) -> _Found:
    for row in index.books.certificates:
        if row.living and not row.birth:
            yield row.unit_serial, f"certificate {row.serial} is {row.state}, and nobody has recorded a birth"


def _wrong_serials(index: Index) -> _Found:
    for row in index.books.certificates:
        if row.birth:
            yield from _against_ledger(row.unit_serial, index.record(row.birth), row)
    for event in index.born:
        record = index.record(event.jws)
        if record is None or (record.unit_serial, record.certificate_sha256) != (event.unit, event.idempotency_key):
            yield event.unit, f"{event.rig}'s event {event.sequence} and the birth record in it name different things"
    for work in index.books.units:
        yield from _against_store(work, index)


def _against_ledger(unit: str, record: BirthRecord | None, row: Certificate) -> _Found:
    if record is None:
        yield unit, f"the birth record of certificate {row.serial} cannot be read"
        return
    said = {
        "unit": (record.unit_serial, row.unit_serial),
        "chip": (record.chip_serial, row.chip_serial),
        "certificate": (record.certificate_serial, row.serial),
        "fingerprint": (record.certificate_sha256, row.certificate_sha256),
    }
    for what, (born, issued) in said.items():
        if born != issued:
            yield unit, f"{what}: the birth record says {born}, the ledger {issued}"


def _against_store(work: UnitWork, index: Index) -> _Found:
    if work.state is not WorkState.DONE:
        return
    rows = [row for row in index.by_unit.get(work.unit, []) if row.state == "confirmed"]
    if rows and work.chip_serial not in {row.chip_serial for row in rows}:
        chips = ", ".join(row.chip_serial for row in rows)
        yield work.unit, f"chip: the rigs' store says {work.chip_serial}, the ledger {chips}"


def _unfinished(index: Index) -> _Found:
    told = {event.unit for rig in index.books.rigs for event in rig.events}
    for work in index.books.units:
        if work.changed_at == NEVER and work.unit not in told:
            continue  # the store and the rigs have taken away what they knew of it
        if work.state not in _TERMINAL:
            yield work.unit, f"is {work.state}, last at {work.holder.rig or 'no rig'}: {work.finding or 'no finding'}"
        elif work.state is not WorkState.DONE and not work.finding:
            yield work.unit, f"is {work.state}, and nobody says why"


def _done_without(index: Index) -> _Found:
    for work in index.books.units:
        confirmed = any(row.state == "confirmed" for row in index.by_unit.get(work.unit, []))
        if work.state is WorkState.DONE and not confirmed:
            yield work.unit, "is done at the rigs, and has no confirmed certificate"


def _gaps(index: Index) -> _Found:
    for name, events in index.books.mes.items():
        keys = {event.idempotency_key for event in events}
        numbers = {event.number for event in events}
        for rig in index.books.rigs:
            for event in rig.events:
                if event.idempotency_key not in keys:
                    yield event.unit, f"{name} has not {event.event}, number {event.sequence} of {rig.rig}"
            yield from _pruned_gaps(name, numbers, rig)


def _pruned_gaps(name: str, numbers: set[tuple[str, int]], rig: RigBook) -> _Found:
    """Of what the rig has taken away since, every destination once had each number."""
    here = {event.sequence for event in rig.events}
    last = max(here, default=0)
    for number in range(1, last):
        if number not in here and (rig.journal, number) not in numbers:
            yield "", f"{name} has not number {number} of {rig.rig}, which the rig has no more"


def _twice(index: Index) -> _Found:
    for name, events in index.books.mes.items():
        yield from _repeated(name, "key", [(event.idempotency_key, event.unit) for event in events])
        yield from _repeated(name, "number", [(f"{e.rig} {e.sequence} ({e.journal})", e.unit) for e in events])


def _repeated(name: str, what: str, rows: Sequence[tuple[str, str]]) -> _Found:
    units = dict(rows)
    for value, count in Counter(value for value, _ in rows).items():
        if count > 1:
            yield units[value], f"{name} has the {what} {value} {count} times"


def _differs(index: Index) -> _Found:
    kept = {event.number: event for rig in index.books.rigs for event in rig.events}
    first = {rig.journal: rig.first for rig in index.books.rigs}
    for name, events in index.books.mes.items():
        for event in events:
            there = kept.get(event.number)
            if event.journal not in first:
                yield event.unit, f"{name} has number {event.sequence} of a journal {event.journal} that no rig has"
            elif there is None and event.sequence >= first[event.journal]:
                yield event.unit, f"{name} has number {event.sequence} of {event.rig}, the rig has it not"
            elif there is not None and there != event:
                what = _first_difference(event, there)
                yield event.unit, f"{name} and {event.rig} differ under number {event.sequence}: {what}"


def _waiting(index: Index) -> _Found:
    for rig in index.books.rigs:
        for each in rig.destinations:
            if each.waiting or each.parked:
                yield "", f"{rig.rig} has {each.waiting} events for {each.destination} that wait, {each.parked} parked"


def _told_rows(index: Index) -> int:
    return sum(len(rig.events) for rig in index.books.rigs) * len(index.books.mes)


def _mes_rows(index: Index) -> int:
    return sum(map(len, index.books.mes.values()))


def _births(index: Index) -> int:
    return sum(bool(row.birth) for row in index.books.certificates)


_RELATIONS: tuple[tuple[str, str, _Rows, Callable[[Index], _Found]], ...] = (
    (
        "reconcile.birth.lost",
        "each birth and each pass of a rig is at the CA",
        lambda index: len(index.born) + len(index.passed),
        _lost_births,
    ),
    ("reconcile.birth.strange", "each birth at the CA is a rig's, as the rig signed it", _births, _strange_births),
    (
        "reconcile.certificate.duplicate",
        "no unit and no chip has two living certificates",
        lambda index: sum(row.living for row in index.books.certificates),
        _duplicates,
    ),
    (
        "reconcile.certificate.ghost",
        "each living certificate has its birth",
        lambda index: sum(row.living for row in index.books.certificates),
        _ghosts,
    ),
    (
        "reconcile.serial.wrong",
        "unit, chip and certificate are the same in every book",
        lambda index: _births(index) + len(index.born) + len(index.books.units),
        _wrong_serials,
    ),
    (
        "reconcile.unit.unfinished",
        "each unit is done, or has failed or is in quarantine with a reason",
        lambda index: len(index.books.units),
        _unfinished,
    ),
    (
        "reconcile.unit.without",
        "each unit that is done has a confirmed certificate",
        lambda index: sum(work.state is WorkState.DONE for work in index.books.units),
        _done_without,
    ),
    ("reconcile.mes.gap", "each event of a rig is at each MES", _told_rows, _gaps),
    ("reconcile.mes.twice", "no event is there twice", _mes_rows, _twice),
    ("reconcile.mes.differs", "each event at a MES is a rig's, as the rig has it", _mes_rows, _differs),
    (
        "reconcile.outbox.waiting",
        "nothing waits, and nothing is parked",
        lambda index: sum(len(rig.destinations) for rig in index.books.rigs),
        _waiting,
    ),
)


def _short(sha256: str) -> str:
    return sha256[:16] or "no certificate"


def _first_difference(event: Told, other: Told) -> str:
    return next(name for name in event.__struct_fields__ if getattr(event, name) != getattr(other, name))
