# SPDX-License-Identifier: Apache-2.0
import json
from datetime import datetime
from uuid import UUID

import msgspec
import pytest
from hypothesis import given

from birthmark.core.errors import DecodeError
from birthmark.core.line_events import (
    LineEvent,
    LineHeld,
    LineResumed,
    PanelBroken,
    PanelEnded,
    RigEnded,
    RigStarted,
    RigState,
    StateChange,
    UnitBorn,
    UnitOverridden,
    UnitReworked,
    UnitStarted,
    UnitVerdict,
)
from birthmark.line.cfx.envelope import Envelope, encode, transaction_id
from birthmark.line.cfx.mapping import NO_TRANSACTION, messages_of, personalized_by
from birthmark.line.cfx.messages import (
    CFXMessage,
    FaultCleared,
    FaultOccurred,
    StationStateChanged,
    UnitsArrived,
    UnitsDeparted,
    UnitsPersonalized,
    UnitsTested,
    WorkCompleted,
    WorkStarted,
)
from birthmark.line.cfx.structures import (
    FaultCause,
    FaultSeverity,
    ResourceState,
    TestResult,
    UnitPosition,
    UnitStatus,
    WorkResult,
)
from support.births import Births, record
from support.cfx import (
    AT,
    BEGUN,
    CHANGE,
    ENDED,
    HANDLE,
    HELD,
    RESUMED,
    RUN,
    WORK,
    demand_envelope,
    of_panel,
    outcomes,
    verdict,
)
from support.line_events import events
from support.parcels import born

BIRTH = born(Births().of("BM-000001"))
BROKEN = PanelBroken(**of_panel("panel.broken"), outcomes=outcomes("PASS", "", "SKIP", "SKIP"), worked=True)
TOLD: list[tuple[LineEvent, list[type[CFXMessage]]]] = [
    (RigStarted(**of_panel("up"), change=CHANGE), [StationStateChanged]),
    (BEGUN, [UnitsArrived]),
    (WORK, [StationStateChanged, WorkStarted]),
    (UnitStarted(**of_panel("unit.started.1"), unit="BM-000001", position=1), []),
    (BIRTH, [UnitsPersonalized]),
    (verdict("PASS"), [UnitsTested]),
    (verdict("FAIL", "line.possession", "it lies", position=2), [UnitsTested]),
    (verdict("SKIP", position=3), []),
    (verdict("FAIL", "cfx.interlock.refused", "wrong route"), []),
    (HELD, [FaultOccurred, StationStateChanged]),
    (RESUMED, [FaultCleared, StationStateChanged]),
    (ENDED, [WorkCompleted, UnitsDeparted, StationStateChanged]),
    (BROKEN, [WorkCompleted, UnitsDeparted]),
    (msgspec.structs.replace(ENDED, worked=False, change=None), [UnitsDeparted]),
    (UnitOverridden(**of_panel("o"), unit="BM-000001", by="eve", reason="seen"), []),
    (UnitReworked(**of_panel("r"), unit="BM-000001", by="eve", reason="seen", reworks=1), []),
    (RigEnded(**of_panel("down"), change=CHANGE), [StationStateChanged]),
]


def bodies(event: LineEvent) -> list[CFXMessage]:
    return [envelope.body for envelope in messages_of(event, HANDLE)]


def only(event: LineEvent) -> CFXMessage:
    (body,) = bodies(event)
    return body


@pytest.mark.parametrize(("event", "told"), TOLD, ids=[f"{n} {event.kind}" for n, (event, _) in enumerate(TOLD)])
def test_an_event_is_these_messages_in_this_order(event: LineEvent, told: list[type[CFXMessage]]) -> None:
    envelopes = messages_of(event, HANDLE)
    assert [type(envelope.body) for envelope in envelopes] == told
    for envelope in envelopes:
        demand_envelope(json.loads(encode(envelope)))


@given(events().filter(lambda event: not isinstance(event, UnitBorn)))
def test_whatever_is_told_each_message_is_a_published_one(event: LineEvent) -> None:
    event = msgspec.structs.replace(event, at=AT.isoformat())
    if isinstance(event, UnitVerdict):
        event = msgspec.structs.replace(event, started=AT.isoformat())
    for envelope in messages_of(event, HANDLE):
        demand_envelope(json.loads(encode(envelope)))


def test_the_same_event_is_the_same_messages_and_no_two_have_one_id() -> None:
    assert messages_of(WORK, HANDLE) == messages_of(WORK, HANDLE)
    told = [envelope.unique_id for event, _ in TOLD[:13] for envelope in messages_of(event, HANDLE)]
    assert len(set(told)) == len(told)


def test_every_message_has_the_moment_of_its_event() -> None:
    assert {envelope.time_stamp for envelope in messages_of(ENDED, HANDLE)} == {AT}


def transaction(envelope: Envelope) -> UUID:
    body = envelope.body
    assert isinstance(body, WorkStarted | UnitsPersonalized | UnitsTested | WorkCompleted)
    return body.transaction_id


def test_all_messages_of_a_panel_carry_its_transaction() -> None:
    birth = personalized_by(msgspec.structs.replace(record("BM-000001"), run=RUN), "f" * 64, HANDLE)
    told = [messages_of(WORK, HANDLE)[1], birth, *messages_of(verdict("PASS"), HANDLE), messages_of(ENDED, HANDLE)[0]]
    assert {transaction(each) for each in told} == {transaction_id("rig-a", RUN)}


def units(body: CFXMessage) -> list[tuple[str, int, UnitStatus]]:
    told: tuple[UnitPosition, ...] = body.units  # type: ignore[attr-defined] # asked of those that have them
    return [(unit.unit_identifier, unit.position_number, unit.status) for unit in told]


def test_units_lie_where_they_lie_and_a_bad_mark_without_a_label_is_left_out() -> None:
    arrived = only(BEGUN)
    assert isinstance(arrived, UnitsArrived)
    assert units(arrived) == [
        ("BM-000001", 1, UnitStatus.PASS),
        ("BM-000002", 2, UnitStatus.PASS),
        ("BM-000003", 3, UnitStatus.SCRAP),
    ]
    assert (arrived.primary_identifier, arrived.unit_count) == (None, 3)


def test_work_is_started_for_its_order_and_by_its_recipe() -> None:
    body = bodies(WORK)[1]
    assert isinstance(body, WorkStarted)
    assert body.work_order_identifier is not None
    assert body.work_order_identifier.work_order_id == "order-1"
    assert (body.recipe_name, body.revision) == ("controller", "ab" * 32)
    assert units(body) == units(only(BEGUN))


def test_a_birth_tells_the_factory_everything_that_it_holds_of_the_unit() -> None:
    birth = msgspec.structs.replace(record("BM-000001"), run=RUN)
    body = personalized_by(birth, "f" * 64, HANDLE).body
    assert isinstance(body, UnitsPersonalized)
    (unit,) = body.personalized_units
    assert (unit.unit_identifier, unit.unit_position_number) == (birth.unit_serial, birth.position)
    told = {each.name.removeprefix("birthmark."): each.value for each in unit.characteristics}
    elsewhere = {"record", "unit_serial", "position", "step_ms"}
    assert set(told) == set(birth.__struct_fields__) - elsewhere
    assert told["certificate_sha256"] == birth.certificate_sha256
    assert (told["order"], told["operator"], told["rig"]) == (birth.order, birth.operator, birth.rig)


def test_a_birth_without_a_run_has_no_transaction_and_its_own_time() -> None:
    envelope = personalized_by(record("BM-000001"), "f" * 64, HANDLE)
    assert transaction(envelope) == NO_TRANSACTION
    assert envelope.time_stamp == datetime.fromisoformat(record("BM-000001").finished)


def test_what_should_be_a_birth_and_is_none_is_no_message() -> None:
    with pytest.raises(DecodeError):
        messages_of(msgspec.structs.replace(BIRTH, jws="not.a.jws"), HANDLE)


@pytest.mark.parametrize(
    ("word", "finding", "result"),
    [
        ("PASS", "", TestResult.PASSED),
        ("PASS-ALREADY", "", TestResult.PASSED),
        ("RESUMED", "", TestResult.PASSED),
        ("QUARANTINE", "line.certificate.unit", TestResult.FAILED),
        ("FAIL", "line.possession", TestResult.FAILED),
        ("FAIL", "line.import.readback", TestResult.FAILED),
        ("FAIL", "evidence.signature", TestResult.FAILED),
        ("FAIL", "chip.absent", TestResult.ERROR),
        ("FAIL", "ca.8.quota", TestResult.ERROR),
        ("FAIL", "line.stopped", TestResult.ABORTED),
    ],
)
def test_a_verdict_is_a_test_result(word: str, finding: str, result: TestResult) -> None:
    body = only(verdict(word, finding, "why" if finding else ""))
    assert isinstance(body, UnitsTested)
    (unit,) = body.tested_units
    (test,) = unit.tests
    assert unit.overall_result is test.result is result
    assert (test.test_start_time, test.test_end_time) == (AT.isoformat(), AT.isoformat(timespec="milliseconds"))
    assert [(each.symptom_code, each.description) for each in test.symptoms_found] == (
        [(finding, "why")] * bool(finding)
    )
    assert (test.error == "why") is (result is TestResult.ERROR)
    assert (body.recipe_name, body.recipe_revision) == ("controller", "ab" * 32)


@pytest.mark.parametrize(
    ("verdicts", "result", "statuses"),
    [
        (("PASS", "PASS-ALREADY", "SKIP"), WorkResult.COMPLETED, "PPS"),
        (("RESUMED", "FAIL", "SKIP"), WorkResult.FAILED, "PFS"),
        (("QUARANTINE", "PASS", "PASS"), WorkResult.FAILED, "FPP"),
        (("PASS", "", "SKIP"), WorkResult.ABORTED, "PFS"),
        (("FAIL", "", ""), WorkResult.ABORTED, "FFF"),
    ],
)
def test_the_result_of_the_work_follows_from_all_verdicts(
    verdicts: tuple[str, ...], result: WorkResult, statuses: str
) -> None:
    ended = msgspec.structs.replace(ENDED, outcomes=outcomes(*verdicts, "SKIP"))
    completed, departed, _ = bodies(ended)
    assert isinstance(completed, WorkCompleted)
    assert isinstance(departed, UnitsDeparted)
    assert completed.result is result
    assert "".join(status.value[0] for _, _, status in units(completed)) == statuses
    assert units(departed) == units(completed)


def test_a_hold_is_a_fault_that_stops_the_station_and_its_end_clears_that_fault() -> None:
    occurred, stopped = bodies(HELD)
    cleared, _ = bodies(RESUMED)
    assert isinstance(occurred, FaultOccurred)
    assert isinstance(stopped, StationStateChanged)
    assert isinstance(cleared, FaultCleared)
    assert stopped.related_fault == occurred.fault
    assert cleared.fault_occurrence_id == occurred.fault.fault_occurrence_id
    assert (occurred.fault.fault_code, occurred.fault.description) == ("line.ca.away", "no connection")
    assert (occurred.fault.cause, occurred.fault.severity) == (FaultCause.SERVICES_FAILURE, FaultSeverity.ERROR)


def test_a_position_that_waits_is_a_warning() -> None:
    body = only(msgspec.structs.replace(HELD, unit="BM-000001", finding="line.unit.in-work", change=None))
    assert isinstance(body, FaultOccurred)
    assert (body.fault.cause, body.fault.severity) == (FaultCause.PROCESS_ERROR, FaultSeverity.WARNING)


def test_a_resume_from_before_holds_had_keys_clears_nothing() -> None:
    assert bodies(LineResumed(**of_panel("line.resumed.1"), finding="line.ca.away")) == []
    assert isinstance(HELD, LineHeld)


@pytest.mark.parametrize(
    ("was", "now", "codes"),
    [
        (RigState.DOWN, RigState.IDLE, (ResourceState.SHUTDOWN_AND_STARTUP, ResourceState.NO_PRODUCT)),
        (RigState.IDLE, RigState.WORK, (ResourceState.NO_PRODUCT, ResourceState.REGULAR_WORK)),
        (RigState.WORK, RigState.HELD, (ResourceState.REGULAR_WORK, ResourceState.NO_HOST)),
    ],
)
def test_a_state_change_says_how_long_the_state_before_lasted(
    was: RigState, now: RigState, codes: tuple[ResourceState, ResourceState]
) -> None:
    body = only(RigStarted(**of_panel("up"), change=StateChange(was=was, was_s=61.5, now=now)))
    assert isinstance(body, StationStateChanged)
    assert (body.old_state, body.new_state) == codes
    assert body.old_state_duration == "00:01:01.5000000"


def test_a_panel_that_ended_before_outcomes_were_told_has_left() -> None:
    old = PanelEnded(**of_panel("panel.ended"), passed=1, failed=0, skipped=0, panel_s=1.0)
    assert [type(body) for body in bodies(old)] == [UnitsDeparted]
