# SPDX-License-Identifier: Apache-2.0
"""How fast a station works."""

from datetime import UTC, datetime, timedelta
from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.attempts import Attempt
from birthmark.line.station.pace import HOUR_S, LAST_BOARDS, SAMPLES, Pace, spread
from support.attempts import attempt

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def verdict(number: int = 1, result: str = "PASS") -> dict[str, object]:
    unit = f"BM-{number:06d}"
    return {"event": "verdict", "position": 1, "unit": unit, "verdict": result, "finding": "", "board_s": 1.5}


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([], (0, 0.0, 0.0)),
        ([2.0], (1, 2.0, 2.0)),
        ([1.0, 2.0], (2, 1.0, 2.0)),
        ([float(each) for each in range(1, 101)], (100, 50.0, 95.0)),
    ],
)
def test_p50_and_p95_are_times_that_were_measured(samples: list[float], expected: tuple[int, float, float]) -> None:
    found = spread(samples)
    assert (found.count, found.p50, found.p95) == expected


@given(st.lists(st.floats(0, 100), min_size=2, max_size=200))
def test_so_many_samples_lie_below(samples: list[float]) -> None:
    found = spread(samples)
    assert {found.p50, found.p95} <= set(samples)
    assert found.p50 <= found.p95
    for value, part in ((found.p50, 0.5), (found.p95, 0.95)):
        assert sum(each <= value for each in samples) >= part * len(samples)
        assert sum(each < value for each in samples) < part * len(samples) + 1
    assert found.p50 <= quantiles(samples, n=2, method="inclusive")[0] + 1e-9


def test_only_boards_that_passed_within_the_hour_are_counted() -> None:
    pace = Pace()
    for at_s, result in ((0.0, "PASS"), (1800.0, "RESUMED"), (1801.0, "FAIL"), (1802.0, "PASS-ALREADY")):
        pace.heard(verdict(result=result), AT, at_s)
    assert pace.now(1900.0).units_last_hour == 3
    assert pace.now(HOUR_S + 60).units_last_hour == 2
    assert pace.now(2 * HOUR_S).units_last_hour == 0


def test_the_last_boards_stand_newest_first_and_skipped_places_are_no_boards() -> None:
    pace = Pace()
    for number in range(LAST_BOARDS + 5):
        pace.heard(verdict(number), AT, float(number))
    pace.heard({**verdict(), "verdict": "SKIP"}, AT, 99.0)
    last = pace.now(100.0).last
    assert [board.unit for board in last[:2]] == [f"BM-{LAST_BOARDS + 4:06d}", f"BM-{LAST_BOARDS + 3:06d}"]
    assert len(last) == LAST_BOARDS


def test_the_newest_times_of_each_step_and_of_panels_count() -> None:
    pace = Pace()
    for number in range(SAMPLES + 10):
        pace.heard({"event": "step", "step": "attest", "ms": 1000.0 * number}, AT, 0.0)
        pace.heard({"event": "panel.end", "panel_s": 2.0}, AT, 0.0)
    now = pace.now(0.0)
    assert (now.steps["attest"].count, now.panel.count) == (SAMPLES, SAMPLES)
    assert now.steps["attest"].p50 == 10 + SAMPLES / 2 - 1
    assert now.panel.p95 == 2.0


def test_a_running_panel_has_its_seconds() -> None:
    pace = Pace()
    assert pace.now(5.0).running_s is None
    pace.began(5.0)
    assert pace.now(6.5).running_s == 1.5
    pace.ended()
    assert pace.now(7.0).running_s is None


def test_a_month_of_boards_takes_no_more_room_than_an_hour() -> None:
    pace = Pace()
    for number in range(100_000):
        pace.heard(verdict(number), AT, number * 26.0)
    assert len(pace._minutes) <= 61
    assert 130 <= pace.now(100_000 * 26.0).units_last_hour <= 140


def recalled(*, ago_s: float, number: int = 1, **changes: object) -> Attempt:
    return attempt(number, ended_at=AT - timedelta(seconds=ago_s), step_ms={"observe": 12.5}, **changes)


@pytest.mark.parametrize("at_s", [10.0, 100_000.0])
def test_what_a_rig_did_before_it_was_started_anew_is_read_back(at_s: float) -> None:
    pace = Pace()
    before = [
        recalled(ago_s=3_700, number=1),
        recalled(ago_s=3_000, number=2),
        recalled(ago_s=3_000, number=3, verdict="FAIL", finding="chip.absent"),
        recalled(ago_s=1, number=4, verdict="PASS-ALREADY"),
    ]
    pace.recall(before, AT, at_s)
    now = pace.now(at_s)
    assert now.units_last_hour == 2
    assert [board.unit[-1] for board in now.last] == ["4", "3", "2", "1"]
    assert (now.last[1].verdict, now.last[1].finding, now.last[0].at) == (
        "FAIL",
        "chip.absent",
        AT - timedelta(seconds=1),
    )
    assert (now.steps["observe"].count, now.steps["observe"].p50) == (4, 0.0125)
    pace.heard(verdict(5), AT, at_s)
    assert pace.now(at_s).units_last_hour == 3
