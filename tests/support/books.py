# SPDX-License-Identifier: Apache-2.0
"""The books of a small line that agree, and the rows in them: what tests of the reconciler take something away from."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from birthmark.core.birth import sign_birth
from birthmark.core.delivery import Backlog, Wants
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.reconcile.books import Books, Certificate, RigBook, Told
from support.births import MOMENT, new_rig, record

AT = MOMENT.isoformat(timespec="milliseconds")
RIG_OF = {"rig-a": new_rig("rig-a"), "rig-b": new_rig("rig-b")}
STATES = (WorkState.DONE, WorkState.DONE, WorkState.DONE, WorkState.SPENT, WorkState.QUARANTINED)


@dataclass(frozen=True)
class Made:
    """One unit, as it was made."""

    number: int
    rig: str
    state: WorkState

    @property
    def unit(self) -> str:
        return f"BM-{self.number:06d}"

    @property
    def chip(self) -> str:
        return f"{self.number:016X}"

    @property
    def sha256(self) -> str:
        return f"{self.number:064x}"

    @property
    def jws(self) -> str:
        born = msgspec.structs.replace(
            record(self.unit),
            chip_serial=self.chip,
            certificate_serial=f"{self.number:x}",
            certificate_sha256=self.sha256,
            rig=self.rig,
        )
        certificate, key = RIG_OF[self.rig]
        return sign_birth(born, key, certificate)


def units(count: int) -> tuple[Made, ...]:
    """Return units that two rigs have made by turns; some of them failed for good, some are in quarantine."""
    return tuple(Made(n, ("rig-a", "rig-b")[n % 2], STATES[n % len(STATES)]) for n in range(1, count + 1))


def books_of(made: Iterable[Made]) -> Books:
    """Return books that agree about the units."""
    made = tuple(made)
    jws = {each.unit: each.jws for each in made if each.state is WorkState.DONE}
    rigs = tuple(rig_book(rig, [each for each in made if each.rig == rig], jws) for rig in RIG_OF)
    events = tuple(event for rig in rigs for event in rig.events)
    ledger = tuple(_certificate(each, jws[each.unit]) for each in made if each.unit in jws)
    return Books(ledger, rigs, tuple(map(_work, made)), {"mes-file": events, "mes-postgres": events})


def rig_book(rig: str, made: Iterable[Made], jws: dict[str, str]) -> RigBook:
    events: list[Told] = []

    def tell(kind: str, unit: str, key: str, **members: Any) -> None:
        number = len(events) + 1
        events.append(
            Told(
                event=kind,
                idempotency_key=key,
                rig=rig,
                journal=f"journal-of-{rig}",
                sequence=number,
                at=AT,
                unit=unit,
                **members,
            )
        )

    for each in made:
        tell("unit.started", each.unit, f"started-{each.unit}")
        if each.unit in jws:
            tell("unit.born", each.unit, each.sha256, jws=jws[each.unit])
        verdict = {"verdict": "PASS", "certificate_sha256": each.sha256} if each.unit in jws else {"verdict": "FAIL"}
        tell("unit.verdict", each.unit, f"verdict-{each.unit}", **verdict)
    return RigBook(rig, tuple(events), (backlog("ca"), backlog("mes-file")))


def backlog(destination: str, waiting: int = 0, parked: int = 0) -> Backlog:
    return Backlog(destination, Wants.EVERYTHING, waiting, "", parked, 0, "", "", 0, configured=True)


def _certificate(made: Made, jws: str) -> Certificate:
    return Certificate(
        serial=f"{made.number:x}",
        unit_serial=made.unit,
        chip_serial=made.chip,
        state="confirmed",
        certificate_sha256=made.sha256,
        birth=jws,
    )


def _work(made: Made) -> UnitWork:
    finding = "" if made.state is WorkState.DONE else "chip.refused"
    work = UnitWork(made.unit, made.state, Holder(made.rig, "run-1"), finding=finding, chip_serial=made.chip)
    return replace(work, changed_at=MOMENT)


# --- what goes wrong ---


def certificate(books: Books, number: int = 0, **changes: Any) -> Books:
    """Return the books with one row of the ledger changed."""
    rows = list(books.certificates)
    rows[number] = msgspec.structs.replace(rows[number], **changes)
    return replace(books, certificates=tuple(rows))


def more(books: Books, **changes: Any) -> Books:
    """Return the books with the first certificate there once more, but for these changes."""
    return replace(books, certificates=(*books.certificates, msgspec.structs.replace(books.certificates[0], **changes)))


def rig(books: Books, number: int = 0, **changes: Any) -> Books:
    rigs = list(books.rigs)
    rigs[number] = replace(rigs[number], **changes)
    return replace(books, rigs=tuple(rigs))


def work(books: Books, number: int = 0, **changes: Any) -> Books:
    rows = list(books.units)
    rows[number] = replace(rows[number], **changes)
    return replace(books, units=tuple(rows))


def mes(books: Books, events: Iterable[Told], name: str = "mes-file") -> Books:
    return replace(books, mes={**books.mes, name: tuple(events)})
