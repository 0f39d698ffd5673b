# SPDX-License-Identifier: Apache-2.0
"""
What the line tells, as CFX messages: a pure function of one event.

The same event is the same messages, whoever tells it again, and when. Each message has a key of the event's, from which
its UniqueID follows. All messages of one panel carry the transaction of the run in which it is worked on.
docs/reference/cfx.md says when each message comes and where its fields are from.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from birthmark.core.birth import BirthRecord, read_birth
from birthmark.core.line_events import (
    LineEvent,
    LineHeld,
    LineResumed,
    Outcome,
    PanelBegun,
    PanelBroken,
    PanelEnded,
    Place,
    RigEnded,
    RigStarted,
    RigState,
    StateChange,
    UnitBorn,
    UnitVerdict,
    WorkStarted,
)
from birthmark.line.cfx import messages as cfx
from birthmark.line.cfx.envelope import Envelope, occurrence_id, transaction_id, unique_id
from birthmark.line.cfx.messages import CFXMessage, time_span
from birthmark.line.cfx.structures import (
    AccessType,
    Characteristic,
    Fault,
    FaultCause,
    FaultSeverity,
    Operator,
    PersonalizedUnit,
    ResourceState,
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
_UNTESTED: Final = ("cfx.interlock.",)
"""Findings of units that the factory itself has held back: they were not tested."""
_PASSED: Final = frozenset({"PASS", "PASS-ALREADY", "RESUMED"})
_UNIT_CAUSES: Final = ("line.unit.", "line.unit-")
"""How findings begin of a hold that a unit is the cause of; any other is a service that is not there."""
_STATES: Final = {
    RigState.DOWN: ResourceState.SHUTDOWN_AND_STARTUP,
    RigState.IDLE: ResourceState.NO_PRODUCT,
    RigState.WORK: ResourceState.REGULAR_WORK,
    RigState.HELD: ResourceState.NO_HOST,
}


def messages_of(event: LineEvent, handle: str) -> tuple[Envelope, ...]:
    """
    Return what an event of the line is in CFX, in the order in which it is to be told; for some it is nothing.

    Raises:
        DecodeError: what should be a birth record is none.

    """
    if isinstance(event, UnitBorn):
        return (personalized_by(read_birth(event.jws), event.idempotency_key, handle),)
    return tuple(_said(event, body, handle) for body in _bodies(event))


def personalized_by(record: BirthRecord, key: str, handle: str) -> Envelope:
    """Return UnitsPersonalized: what a birth record says, with the moment at which the board was finished."""
    body = cfx.UnitsPersonalized(
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


def units_of(places: Sequence[Place]) -> tuple[UnitPosition, ...]:
    """Return the units as they lie in the fixture: what is told, and what the factory is asked about."""
    return tuple(
        UnitPosition(
            unit_identifier=place.unit,
            position_number=place.position,
            status=UnitStatus.SCRAP if place.bad else UnitStatus.PASS,
        )
        for place in places
        if place.unit
    )


def _said(event: LineEvent, body: CFXMessage, handle: str) -> Envelope:
    key = f"{event.idempotency_key}:{type(body).__name__}"
    return Envelope(time_stamp=datetime.fromisoformat(event.at), unique_id=unique_id(key), source=handle, body=body)


def _bodies(event: LineEvent) -> tuple[CFXMessage, ...]:
    bodies: tuple[CFXMessage, ...] = ()
    match event:
        case PanelBegun():
            units = units_of(event.places)
            bodies = (cfx.UnitsArrived(unit_count=len(units), units=units),)
        case WorkStarted():
            bodies = (*_state(event.change), _started(event))
        case UnitVerdict():
            bodies = _tested(event)
        case PanelEnded() | PanelBroken():
            bodies = (*_ended(event), *_state(event.change))
        case LineHeld():
            fault = _fault(event)
            bodies = (cfx.FaultOccurred(fault=fault), *_state(event.change, fault))
        case LineResumed() if event.hold:
            over = cfx.FaultCleared(fault_occurrence_id=occurrence_id(event.hold))
            bodies = (over, *_state(event.change))
        case RigStarted() | RigEnded():
            bodies = _state(event.change)
    return bodies


def _state(change: StateChange | None, fault: Fault | None = None) -> tuple[CFXMessage, ...]:
    if change is None or change.was is change.now:
        return ()
    body = cfx.StationStateChanged(
        old_state=_STATES[change.was],
        old_state_duration=time_span(change.was_s),
        new_state=_STATES[change.now],
        related_fault=fault,
    )
    return (body,)


def _started(event: WorkStarted) -> CFXMessage:
    units = units_of(event.places)
    return cfx.WorkStarted(
        transaction_id=transaction_id(event.rig, event.run),
        unit_count=len(units),
        units=units,
        recipe_name=event.product,
        revision=event.recipe_sha256,
        work_order_identifier=WorkOrderIdentifier(work_order_id=event.order),
    )


def _ended(event: PanelEnded | PanelBroken) -> tuple[CFXMessage, ...]:
    units = tuple(
        UnitPosition(unit_identifier=each.unit, position_number=each.position, status=_status(each))
        for each in event.outcomes
        if each.unit
    )
    departed = cfx.UnitsDeparted(unit_count=len(units), units=units)
    if not event.worked:
        return (departed,)
    completed = cfx.WorkCompleted(
        transaction_id=transaction_id(event.rig, event.run),
        result=_result(event.outcomes),
        unit_count=len(units),
        units=units,
        work_order_identifier=WorkOrderIdentifier(work_order_id=event.order),
    )
    return (completed, departed)


def _status(outcome: Outcome) -> UnitStatus:
    if outcome.verdict == "SKIP":
        return UnitStatus.SCRAP
    return UnitStatus.PASS if outcome.verdict in _PASSED else UnitStatus.FAIL


def _result(outcomes: Sequence[Outcome]) -> WorkResult:
    verdicts = {each.verdict for each in outcomes}
    if "" in verdicts:
        return WorkResult.ABORTED
    return WorkResult.FAILED if verdicts & {"FAIL", "QUARANTINE"} else WorkResult.COMPLETED


def _tested(event: UnitVerdict) -> tuple[CFXMessage, ...]:
    """Return UnitsTested: a unit's proof that it holds the key of its certificate, or why there is none."""
    if event.verdict == "SKIP" or event.finding.startswith(_UNTESTED):
        return ()
    result = _test_result(event)
    name = f"{event.rig}:{event.run}:{event.position}"
    test = Test(
        unique_identifier=str(unique_id(f"test:{name}")),
        test_name=TEST_NAME,
        test_start_time=event.started or None,
        test_end_time=event.at,
        comments=event.verdict,
        result=result,
        error=event.reason if result is TestResult.ERROR else None,
        symptoms_found=() if result is TestResult.PASSED else (_symptom(name, event),),
    )
    unit = TestedUnit(
        unit_identifier=event.unit, unit_position_number=event.position, overall_result=result, tests=(test,)
    )
    body = cfx.UnitsTested(
        transaction_id=transaction_id(event.rig, event.run),
        test_method=TestMethod.AUTOMATED,
        tester=Operator(operator_identifier=event.operator),
        recipe_name=event.product,
        recipe_revision=event.recipe_sha256 or None,
        tested_units=(unit,),
    )
    return (body,)


def _test_result(event: UnitVerdict) -> TestResult:
    if event.verdict in _PASSED:
        return TestResult.PASSED
    if event.finding == "line.stopped":
        return TestResult.ABORTED
    about_the_board = event.verdict == "QUARANTINE" or event.finding.startswith(_ABOUT_THE_BOARD)
    return TestResult.FAILED if about_the_board else TestResult.ERROR


def _symptom(name: str, event: UnitVerdict) -> Symptom:
    return Symptom(
        unique_identifier=str(unique_id(f"symptom:{name}")),
        symptom_code=event.finding,
        symptom_category=SYMPTOM_CATEGORY,
        description=event.reason or None,
    )


def _fault(held: LineHeld) -> Fault:
    """Return the fault that a hold is. One position that waits does not stop the station."""
    of_a_unit = held.finding.startswith(_UNIT_CAUSES)
    return Fault(
        cause=FaultCause.PROCESS_ERROR if of_a_unit else FaultCause.SERVICES_FAILURE,
        severity=FaultSeverity.WARNING if held.unit else FaultSeverity.ERROR,
        fault_code=held.finding,
        fault_occurrence_id=occurrence_id(held.idempotency_key),
        access_type=AccessType.REMOTE,
        description=held.what or None,
        occurred_at=held.at,
    )
