# SPDX-License-Identifier: Apache-2.0
"""
What the line does, as CFX messages. Pure: facts in, envelopes out.

Each message has a key, from which its UniqueID follows; the same fact is the same message, whoever tells it again. All
messages of one panel carry the transaction of the run in which it is worked on. docs/reference/cfx.md says when each
message comes and where its fields are from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from birthmark.core.birth import BirthRecord
from birthmark.line.cfx.envelope import Envelope, transaction_id, unique_id
from birthmark.line.cfx.messages import (
    CFXMessage,
    UnitsArrived,
    UnitsDeparted,
    UnitsPersonalized,
    UnitsTested,
    WorkCompleted,
    WorkStarted,
)
from birthmark.line.cfx.structures import (
    Characteristic,
    Operator,
    PersonalizedUnit,
    Symptom,
    Test,
    TestedUnit,
    TestMethod,
    TestResult,
    UnitPosition,
    UnitStatus,
    WorkOrderIdentifier,
    WorkResult,
)

TEST_NAME: Final = "device identity"
SYMPTOM_CATEGORY: Final = "birthmark"
NO_TRANSACTION: Final = UUID(int=0)
"""For a birth record that does not say in which run it was made."""
_NOT_CHARACTERISTICS: Final = frozenset({"record", "unit_serial", "position", "step_ms"})
"""Members of a birth record that are told elsewhere in the message, or that are no facts about the unit."""
_ABOUT_THE_BOARD: Final = ("evidence.", "line.import.", "line.possession")
"""Findings of a test that was done and that the board did not pass; with any other it could not be done."""

Verdict = Literal["PASS", "PASS-ALREADY", "RESUMED", "FAIL", "QUARANTINE", "SKIP"]


@dataclass(frozen=True, slots=True)
class Place:
    """One position of a panel, counted from 1. A bad mark may have no unit on its label."""

    position: int
    unit: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Work:
    """One panel in one run: who works on it, where, for which order and by which recipe."""

    handle: str
    rig: str
    run: str
    operator: str
    order: str
    places: tuple[Place, ...]
    panel: str | None = None
    lane: int | None = None
    recipe: str | None = None
    revision: str | None = None

    @property
    def transaction(self) -> UUID:
        """The transaction of everything between WorkStarted and WorkCompleted."""
        return transaction_id(self.rig, self.run)


@dataclass(frozen=True, slots=True)
class Ended:
    """How one position ended: the verdict with its finding and reason, and when its work began and ended (RFC 3339)."""

    place: Place
    verdict: Verdict
    finding: str = ""
    reason: str = ""
    began: str | None = None
    ended: str | None = None


def arrived(work: Work, at: datetime) -> Envelope:
    """Return UnitsArrived: the panel lies in the fixture."""
    units = _units(work, {})
    body = UnitsArrived(primary_identifier=work.panel, unit_count=len(units), units=units, lane=work.lane)
    return _said(work, "arrived", at, body)


def started(work: Work, at: datetime) -> Envelope:
    """Return WorkStarted: the fixture has power."""
    units = _units(work, {})
    body = WorkStarted(
        primary_identifier=work.panel,
        transaction_id=work.transaction,
        lane=work.lane,
        unit_count=len(units),
        units=units,
        recipe_name=work.recipe,
        revision=work.revision,
        work_order_identifier=WorkOrderIdentifier(work_order_id=work.order),
    )
    return _said(work, "started", at, body)


def personalized_by(record: BirthRecord, key: str, handle: str) -> Envelope:
    """Return UnitsPersonalized: what a birth record says, with the moment at which the board was finished."""
    body = UnitsPersonalized(
        transaction_id=transaction_id(record.rig, record.run) if record.run else NO_TRANSACTION,
        personalized_units=(
            PersonalizedUnit(
                unit_identifier=record.unit_serial,
                unit_position_number=record.position,
                characteristics=characteristics(record),
            ),
        ),
    )
    at = datetime.fromisoformat(record.finished)
    return Envelope(time_stamp=at, unique_id=unique_id(f"birth:{key}"), source=handle, body=body)


def characteristics(record: BirthRecord) -> tuple[Characteristic, ...]:
    """Return what a unit was given and how it came about (IPC-1782): each member of its birth record, by its name."""
    told = (name for name in record.__struct_fields__ if name not in _NOT_CHARACTERISTICS)
    return tuple(Characteristic(name=f"birthmark.{name}", value=str(getattr(record, name))) for name in told)


def tested(work: Work, ended: Sequence[Ended], at: datetime) -> Envelope:
    """Return UnitsTested: each unit's proof that it holds the key of its certificate, or why there is none."""
    units = tuple(_tested_unit(work, each) for each in ended if _identifier(work, each.place))
    body = UnitsTested(
        transaction_id=work.transaction,
        test_method=TestMethod.AUTOMATED,
        tester=Operator(operator_identifier=work.operator),
        recipe_name=work.recipe,
        recipe_revision=work.revision,
        tested_units=units,
    )
    return _said(work, "tested", at, body)


def completed(work: Work, ended: Sequence[Ended], at: datetime) -> Envelope:
    """Return WorkCompleted. A position without a verdict means that the work was broken off."""
    units = _units(work, {each.place.position: _status(each) for each in ended})
    body = WorkCompleted(
        transaction_id=work.transaction,
        result=_result(work, ended),
        primary_identifier=work.panel,
        unit_count=len(units),
        units=units,
        work_order_identifier=WorkOrderIdentifier(work_order_id=work.order),
    )
    return _said(work, "completed", at, body)


def departed(work: Work, ended: Sequence[Ended], at: datetime) -> Envelope:
    """Return UnitsDeparted: the panel has left the fixture."""
    units = _units(work, {each.place.position: _status(each) for each in ended})
    body = UnitsDeparted(primary_identifier=work.panel, unit_count=len(units), units=units, lane=work.lane)
    return _said(work, "departed", at, body)


def _said(work: Work, what: str, at: datetime, body: CFXMessage) -> Envelope:
    key = f"panel:{work.rig}:{work.run}:{what}"
    return Envelope(time_stamp=at, unique_id=unique_id(key), source=work.handle, body=body)


def _identifier(work: Work, place: Place) -> str:
    """Return how CFX knows the unit: by its label, or by the panel's and its position; empty when it has neither."""
    return place.unit or work.panel or ""


def units_of(work: Work) -> tuple[UnitPosition, ...]:
    """Return the panel's units as they lie in the fixture: what the factory is asked about."""
    return _units(work, {})


def _units(work: Work, status: dict[int, UnitStatus]) -> tuple[UnitPosition, ...]:
    return tuple(
        UnitPosition(
            unit_identifier=identifier,
            position_number=place.position,
            status=status.get(place.position, UnitStatus.SCRAP if place.bad else UnitStatus.PASS),
        )
        for place in work.places
        if (identifier := _identifier(work, place))
    )


def _status(ended: Ended) -> UnitStatus:
    match ended.verdict:
        case "PASS" | "PASS-ALREADY" | "RESUMED":
            return UnitStatus.PASS
        case "SKIP":
            return UnitStatus.SCRAP
        case "FAIL" | "QUARANTINE":
            return UnitStatus.FAIL


def _result(work: Work, ended: Sequence[Ended]) -> WorkResult:
    verdicts = {each.verdict for each in ended}
    if {place.position for place in work.places} - {each.place.position for each in ended}:
        return WorkResult.ABORTED
    if verdicts & {"FAIL", "QUARANTINE"}:
        return WorkResult.FAILED
    return WorkResult.COMPLETED if verdicts - {"SKIP"} else WorkResult.SKIPPED


def _tested_unit(work: Work, ended: Ended) -> TestedUnit:
    result = _test_result(ended)
    failed = result not in {TestResult.PASSED, TestResult.SKIPPED}
    name = f"{work.rig}:{work.run}:{ended.place.position}"
    test = Test(
        unique_identifier=str(unique_id(f"test:{name}")),
        test_name=TEST_NAME,
        test_start_time=ended.began,
        test_end_time=ended.ended,
        comments=ended.verdict,
        result=result,
        error=ended.reason if result is TestResult.ERROR else None,
        symptoms_found=(_symptom(name, ended),) if failed else (),
    )
    return TestedUnit(
        unit_identifier=_identifier(work, ended.place),
        unit_position_number=ended.place.position,
        overall_result=result,
        tests=(test,),
    )


def _test_result(ended: Ended) -> TestResult:
    match ended.verdict:
        case "PASS" | "PASS-ALREADY" | "RESUMED":
            return TestResult.PASSED
        case "SKIP":
            return TestResult.SKIPPED
        case "QUARANTINE":
            return TestResult.FAILED
        case "FAIL" if ended.finding == "line.stopped":
            return TestResult.ABORTED
        case "FAIL":
            return TestResult.FAILED if ended.finding.startswith(_ABOUT_THE_BOARD) else TestResult.ERROR


def _symptom(name: str, ended: Ended) -> Symptom:
    return Symptom(
        unique_identifier=str(unique_id(f"symptom:{name}")),
        symptom_code=ended.finding,
        symptom_category=SYMPTOM_CATEGORY,
        description=ended.reason or None,
    )
