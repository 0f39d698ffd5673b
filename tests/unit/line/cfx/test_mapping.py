# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import msgspec
import pytest

from birthmark.line.cfx import mapping
from birthmark.line.cfx.envelope import Envelope, encode, transaction_id
from birthmark.line.cfx.mapping import NO_TRANSACTION, Ended, Verdict
from birthmark.line.cfx.messages import (
    UnitsArrived,
    UnitsDeparted,
    UnitsPersonalized,
    UnitsTested,
    WorkCompleted,
    WorkStarted,
)
from birthmark.line.cfx.structures import TestResult, UnitStatus, WorkResult
from support.births import record
from support.cfx import AT, PLACES, WORK, demand_envelope

PASSED, SKIPPED = Ended(PLACES[0], "PASS", began=AT.isoformat(), ended=AT.isoformat()), Ended(PLACES[2], "SKIP")


def ended(verdict: Verdict, finding: str = "", reason: str = "") -> Ended:
    return Ended(PLACES[1], verdict, finding, reason)


ALL = [
    mapping.arrived(WORK, AT),
    mapping.started(WORK, AT),
    mapping.personalized_by(msgspec.structs.replace(record("BM-000001"), run=WORK.run), "f" * 64, WORK.handle),
    mapping.tested(WORK, [PASSED, ended("FAIL", "line.possession", "it lies"), SKIPPED], AT),
    mapping.completed(WORK, [PASSED, ended("PASS"), SKIPPED], AT),
    mapping.departed(WORK, [PASSED, ended("PASS"), SKIPPED], AT),
]


def transaction(envelope: Envelope) -> UUID:
    body = envelope.body
    assert isinstance(body, WorkStarted | UnitsPersonalized | UnitsTested | WorkCompleted)
    return body.transaction_id


@pytest.mark.parametrize("envelope", ALL, ids=lambda each: type(each.body).__name__)
def test_every_message_is_a_published_one(envelope: Envelope) -> None:
    demand_envelope(json.loads(encode(envelope)))


def test_all_messages_of_a_panel_carry_its_transaction_and_no_two_have_one_id() -> None:
    told = [each for each in ALL if not isinstance(each.body, UnitsArrived | UnitsDeparted)]
    assert {transaction(each) for each in told} == {transaction_id("rig-a", WORK.run)}
    assert len({each.unique_id for each in ALL}) == len(ALL)


def test_the_same_fact_told_again_is_the_same_message() -> None:
    assert mapping.started(WORK, AT) == mapping.started(WORK, AT)
    assert mapping.started(WORK, AT).unique_id != mapping.started(replace(WORK, run="8" * 16), AT).unique_id
    assert mapping.started(WORK, AT).unique_id != mapping.started(replace(WORK, rig="rig-b"), AT).unique_id


def test_units_lie_where_they_lie_and_a_bad_mark_without_a_label_is_known_by_the_panel() -> None:
    body = ALL[0].body
    assert isinstance(body, UnitsArrived)
    assert [(unit.unit_identifier, unit.position_number, unit.status) for unit in body.units] == [
        ("BM-000001", 1, UnitStatus.PASS),
        ("BM-000002", 2, UnitStatus.PASS),
        ("PANEL-7", 3, UnitStatus.SCRAP),
    ]
    assert (body.primary_identifier, body.unit_count, body.lane) == ("PANEL-7", 3, 1)


def test_a_place_that_has_neither_label_nor_panel_is_left_out() -> None:
    body = mapping.arrived(replace(WORK, panel=None), AT).body
    assert isinstance(body, UnitsArrived)
    assert [unit.position_number for unit in body.units] == [1, 2]
    assert (body.primary_identifier, body.unit_count) == (None, 2)


def test_work_is_started_for_its_order_and_by_its_recipe() -> None:
    body = ALL[1].body
    assert isinstance(body, WorkStarted)
    assert body.work_order_identifier is not None
    assert (body.work_order_identifier.work_order_id, body.recipe_name, body.revision) == ("order-1", "controller", "3")


def test_a_birth_tells_the_factory_everything_that_it_holds_of_the_unit() -> None:
    birth = msgspec.structs.replace(record("BM-000001"), run=WORK.run)
    body = mapping.personalized_by(birth, "f" * 64, WORK.handle).body
    assert isinstance(body, UnitsPersonalized)
    (unit,) = body.personalized_units
    assert (unit.unit_identifier, unit.unit_position_number) == (birth.unit_serial, birth.position)
    told = {each.name.removeprefix("birthmark."): each.value for each in unit.characteristics}
    elsewhere = {"record", "unit_serial", "position", "step_ms"}
    assert set(told) == set(birth.__struct_fields__) - elsewhere
    assert told["certificate_sha256"] == birth.certificate_sha256
    assert (told["order"], told["operator"], told["rig"]) == (birth.order, birth.operator, birth.rig)


def test_a_birth_without_a_run_has_no_transaction_and_its_own_time() -> None:
    envelope = mapping.personalized_by(record("BM-000001"), "f" * 64, WORK.handle)
    assert transaction(envelope) == NO_TRANSACTION
    assert envelope.time_stamp == datetime.fromisoformat(record("BM-000001").finished)


@pytest.mark.parametrize(
    ("one", "result", "status"),
    [
        (ended("PASS"), TestResult.PASSED, UnitStatus.PASS),
        (ended("PASS-ALREADY"), TestResult.PASSED, UnitStatus.PASS),
        (ended("RESUMED"), TestResult.PASSED, UnitStatus.PASS),
        (ended("SKIP"), TestResult.SKIPPED, UnitStatus.SCRAP),
        (ended("QUARANTINE", "line.certificate.unit", "two units"), TestResult.FAILED, UnitStatus.FAIL),
        (ended("FAIL", "line.possession", "it lies"), TestResult.FAILED, UnitStatus.FAIL),
        (ended("FAIL", "line.import.readback", "differs"), TestResult.FAILED, UnitStatus.FAIL),
        (ended("FAIL", "evidence.signature", "forged"), TestResult.FAILED, UnitStatus.FAIL),
        (ended("FAIL", "chip.absent", "no answer"), TestResult.ERROR, UnitStatus.FAIL),
        (ended("FAIL", "ca.8.quota", "used up"), TestResult.ERROR, UnitStatus.FAIL),
        (ended("FAIL", "line.stopped", "ended"), TestResult.ABORTED, UnitStatus.FAIL),
    ],
    ids=lambda value: f"{value.verdict} {value.finding}" if isinstance(value, Ended) else "",
)
def test_a_verdict_is_a_test_result_and_a_status(one: Ended, result: TestResult, status: UnitStatus) -> None:
    tested, departed = mapping.tested(WORK, [one], AT).body, mapping.departed(WORK, [one], AT).body
    assert isinstance(tested, UnitsTested)
    assert isinstance(departed, UnitsDeparted)
    (unit,) = tested.tested_units
    (test,) = unit.tests
    assert unit.overall_result is test.result is result
    assert departed.units[1].status is status
    if one.finding:
        (symptom,) = test.symptoms_found
        assert (symptom.symptom_code, symptom.description) == (one.finding, one.reason)
    assert (test.error == one.reason) is (result is TestResult.ERROR)


@pytest.mark.parametrize(
    ("verdicts", "result"),
    [
        (("PASS", "PASS-ALREADY", "SKIP"), WorkResult.COMPLETED),
        (("PASS", "FAIL", "SKIP"), WorkResult.FAILED),
        (("QUARANTINE", "PASS", "PASS"), WorkResult.FAILED),
        (("SKIP", "SKIP", "SKIP"), WorkResult.SKIPPED),
        (("PASS", "FAIL"), WorkResult.ABORTED),
        ((), WorkResult.ABORTED),
    ],
)
def test_the_result_of_the_work_follows_from_all_verdicts(verdicts: tuple[Verdict, ...], result: WorkResult) -> None:
    each = [Ended(place, verdict) for place, verdict in zip(PLACES, verdicts, strict=False)]
    body = mapping.completed(WORK, each, AT).body
    assert isinstance(body, WorkCompleted)
    assert body.result is result
