# SPDX-License-Identifier: Apache-2.0
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.line.cfx import story
from birthmark.line.cfx.envelope import Envelope, encode
from birthmark.line.cfx.messages import FaultCleared, FaultOccurred, StationStateChanged, UnitsTested, WorkCompleted
from birthmark.line.cfx.structures import FaultCause, ResourceState, WorkResult
from support.cfx import AT, WORK, demand_envelope

HOLD = {"event": "hold", "what": "no connection", "hint": "see", "finding": "line.ca.away"}
RESUME = {"event": "resume", "unit": ""}
START, END = {"event": "panel.start", "positions": 3}, {"event": "panel.end", "panel_s": 1.5}
VERDICTS = [
    {
        "event": "verdict",
        "position": 2,
        "unit": "BM-000002",
        "verdict": "FAIL",
        "finding": "chip.absent",
        "reason": "r",
    },
    {"event": "verdict", "position": 1, "unit": "BM-000001", "verdict": "PASS", "finding": "", "reason": ""},
    {"event": "verdict", "position": 3, "unit": "", "verdict": "SKIP", "finding": "", "reason": ""},
]
EVENTS = [HOLD, RESUME, START, END, *VERDICTS, {"event": "step.begin", "position": 1}, {"event": "step", "position": 1}]


def begun() -> story.Story:
    fresh = story.Story(WORK.handle, WORK.rig, "session-1", AT)
    return story.ready(fresh, AT)[0]


def moments() -> Iterator[datetime]:
    at = AT
    while True:
        at += timedelta(seconds=1)
        yield at


def told(events: list[dict[str, object]], telling: story.Story | None = None) -> tuple[story.Story, list[Envelope]]:
    telling, clock, said = telling or begun(), moments(), list[Envelope]()
    for event in events:
        telling, more = story.hear(telling, event, next(clock))
        said += more
    return telling, said


def names(said: list[Envelope]) -> list[str]:
    return [type(each.body).__name__ for each in said]


def at_work() -> story.Story:
    return story.arrive(begun(), WORK, AT)[0]


def test_a_panel_is_told_from_its_arrival_to_its_departure() -> None:
    arrived, first = story.arrive(begun(), WORK, AT)
    steps: list[dict[str, object]] = [{"event": "step.begin", "position": number, "step": "power"} for number in (1, 2)]
    left, said = told([START, *steps, *VERDICTS, END], arrived)
    assert names([*first, *said]) == [
        "UnitsArrived",
        "StationStateChanged",
        "WorkStarted",
        "UnitsTested",
        "WorkCompleted",
        "UnitsDeparted",
        "StationStateChanged",
    ]
    tested = next(each.body for each in said if isinstance(each.body, UnitsTested))
    assert [unit.unit_position_number for unit in tested.tested_units] == [1, 2, 3]
    began = [unit.tests[0].test_start_time for unit in tested.tested_units]
    assert began == [(AT + timedelta(seconds=2)).isoformat(), (AT + timedelta(seconds=3)).isoformat(), None]
    assert (left.work, left.ended, left.began) == (None, (), ())


def test_a_state_change_says_how_long_the_state_before_lasted() -> None:
    _, said = told([START], at_work())
    change = said[0].body
    assert isinstance(change, StationStateChanged)
    assert (change.old_state, change.new_state) == (ResourceState.NO_PRODUCT, ResourceState.REGULAR_WORK)
    assert change.old_state_duration == "00:00:01"


def test_a_hold_is_a_fault_that_stops_the_station_and_its_end_clears_that_fault() -> None:
    _, said = told([HOLD, RESUME])
    assert names(said) == ["FaultOccurred", "StationStateChanged", "FaultCleared", "StationStateChanged"]
    occurred, stopped, cleared, back = (each.body for each in said)
    assert isinstance(occurred, FaultOccurred)
    assert isinstance(cleared, FaultCleared)
    assert cast("StationStateChanged", stopped).related_fault == occurred.fault
    assert cast("StationStateChanged", stopped).new_state is ResourceState.NO_HOST
    assert cleared.fault_occurrence_id == occurred.fault.fault_occurrence_id
    assert cast("StationStateChanged", back).new_state is ResourceState.NO_PRODUCT
    assert (occurred.fault.fault_code, occurred.fault.cause) == ("line.ca.away", FaultCause.SERVICES_FAILURE)


def test_a_hold_within_a_panel_goes_back_to_work_and_two_holds_are_two_faults() -> None:
    telling, _ = told([START], at_work())
    _, said = told([HOLD, HOLD | {"finding": "line.unit-in-work"}, RESUME, RESUME], telling)
    assert names(said) == [
        "FaultOccurred",
        "StationStateChanged",
        "FaultOccurred",
        "FaultCleared",
        "FaultCleared",
        "StationStateChanged",
    ]
    assert cast("StationStateChanged", said[-1].body).new_state is ResourceState.REGULAR_WORK
    assert cast("FaultOccurred", said[2].body).fault.cause is FaultCause.PROCESS_ERROR


@pytest.mark.parametrize("event", [RESUME, START, END, {"event": "unheard"}, {}])
def test_what_means_nothing_here_is_told_to_nobody(event: dict[str, object]) -> None:
    assert told([event]) == (begun(), [])


def test_a_process_that_ends_breaks_its_panel_off() -> None:
    telling, _ = told([START, VERDICTS[1]], at_work())
    left, said = story.break_off(telling, AT)
    assert [type(each.body).__name__ for each in said] == ["WorkCompleted", "StationStateChanged"]
    assert cast("WorkCompleted", said[0].body).result is WorkResult.ABORTED
    assert (left.work, left.state) == (None, ResourceState.SHUTDOWN_AND_STARTUP)


@given(st.lists(st.sampled_from([*EVENTS, "arrive", "break"]), max_size=12))
def test_whatever_happens_each_message_is_a_published_one_and_its_id_stands_for_it(happened: list[object]) -> None:
    telling, clock, said = begun(), moments(), list[Envelope]()
    works = iter(range(100))
    for event in happened:
        at = next(clock)
        if event == "arrive":
            work = story.replace(WORK, run=f"{next(works):016}")
            telling, more = story.arrive(telling, work, at)
        elif event == "break":
            telling, more = story.break_off(telling, at)
        else:
            telling, more = story.hear(telling, cast("dict[str, object]", event), at)
        said += more
    for each in said:
        demand_envelope(json.loads(encode(each)))
    # A panel that begins twice in one run has begun once: an id stands for one thing.
    kinds = {(each.unique_id, type(each.body)) for each in said}
    assert len(kinds) == len({message_id for message_id, _ in kinds})
