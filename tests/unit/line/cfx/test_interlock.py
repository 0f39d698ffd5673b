# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from birthmark.line.cfx.envelope import Envelope, encode, unique_id
from birthmark.line.cfx.errors import InterlockUnanswered
from birthmark.line.cfx.interlock import REFUSED, UNMENTIONED, Desk, judge, question
from birthmark.line.cfx.mapping import units_of
from birthmark.line.cfx.messages import (
    CFXMessage,
    EndpointShuttingDown,
    NotSupportedResponse,
    ValidateUnitsRequest,
    ValidateUnitsResponse,
)
from birthmark.line.cfx.structures import RequestResult, StatusResult, ValidationResult, ValidationStatus
from birthmark.line.interlock import Clearance, Refusal
from support.cfx import AT, PLACES, demand_envelope

DESK = Desk("Acme.Rig.A", "Acme.MES.1", "/amq/queue/mes", "/amq/queue/rig-a", 1.0, "stop")
REQUEST = UUID(int=7)
OK = RequestResult(result=StatusResult.SUCCESS)
GOOD, BAD = ValidationStatus.PASSED, ValidationStatus.FAILED


def answer(body: CFXMessage) -> Envelope:
    at = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    return Envelope(time_stamp=at, unique_id=unique_id("answer"), source="Acme.MES.1", request_id="r", body=body)


def result(position: int, status: ValidationStatus, message: str | None = None, code: int = 0) -> ValidationResult:
    return ValidationResult(position_number=position, result=status, failure_code=code, message=message)


def test_the_question_is_a_published_message_about_the_panel() -> None:
    asked = question(PLACES, DESK, REQUEST, AT)
    demand_envelope(json.loads(encode(asked)))
    assert (asked.source, asked.target, asked.request_id) == ("Acme.Rig.A", "Acme.MES.1", str(REQUEST))
    body = asked.body
    assert isinstance(body, ValidateUnitsRequest)
    assert (body.primary_identifier, body.lane, body.units) == (None, None, units_of(PLACES))
    assert [each.value for each in body.validations] == ["UnitRouteValidation", "UnitStatusValidation"]


def response(primary: ValidationResult | None, *units: ValidationResult) -> ValidateUnitsResponse:
    return ValidateUnitsResponse(result=OK, primary_result=primary, results=units)


ALL_GOOD = tuple(result(number, GOOD) for number in (3, 1, 2))
SILENCE = "the factory's answer does not speak of this unit"


@pytest.mark.parametrize(
    ("body", "refusals"),
    [
        (response(result(0, GOOD)), ()),
        (response(result(0, GOOD), *ALL_GOOD), ()),
        (response(None, *ALL_GOOD), ()),
        (response(result(0, BAD, "route", 42)), tuple(Refusal(n, REFUSED, "route", 42) for n in (1, 2, 3))),
        (response(None, *ALL_GOOD[:2], result(2, BAD, "twice", 7)), (Refusal(2, REFUSED, "twice", 7),)),
        # A unit that is spoken of twice is refused when it is refused once.
        (response(None, *ALL_GOOD, result(1, BAD)), (Refusal(1, REFUSED, "the factory refuses"),)),
        (response(result(0, GOOD), *ALL_GOOD[:2]), (Refusal(2, UNMENTIONED, SILENCE),)),
        (response(None), tuple(Refusal(n, UNMENTIONED, SILENCE) for n in (1, 2, 3))),
        (ValidateUnitsResponse(result=RequestResult(result=StatusResult.WARNING), primary_result=result(0, GOOD)), ()),
    ],
    ids=["panel", "panel and units", "units", "no panel", "not one", "twice", "forgotten", "nothing", "warning"],
)
def test_an_answer_clears_each_unit_that_it_clears(body: CFXMessage, refusals: tuple[Refusal, ...]) -> None:
    assert judge(answer(body), units_of(PLACES)) == Clearance(refusals)


@pytest.mark.parametrize(
    "body",
    [
        ValidateUnitsResponse(result=RequestResult(result=StatusResult.FAILED), primary_result=result(0, GOOD)),
        NotSupportedResponse(request_result=RequestResult(result=StatusResult.FAILED)),
        EndpointShuttingDown(cfx_handle="Acme.MES.1"),
    ],
    ids=["failed", "not supported", "another message"],
)
def test_an_answer_that_is_none_clears_nothing(body: CFXMessage) -> None:
    with pytest.raises(InterlockUnanswered):
        judge(answer(body), units_of(PLACES))
