# SPDX-License-Identifier: Apache-2.0
"""Periods as people say them: by the wall clock, on every day of the year."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from birthmark.core.errors import DecodeError
from birthmark.line.periods import read_moment, read_shifts, shift_began


@pytest.fixture(autouse=True)
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-05-04T12:00:00+02:00", "2026-05-04T06:00:00+02:00"),
        ("2026-05-04T06:00:00+02:00", "2026-05-04T06:00:00+02:00"),
        ("2026-05-04T05:59:59+02:00", "2026-05-03T22:00:00+02:00"),
        ("2026-05-04T00:30:00+02:00", "2026-05-03T22:00:00+02:00"),
        ("2026-05-04T23:00:00+02:00", "2026-05-04T22:00:00+02:00"),
        # The nights in which the clocks are changed.
        ("2026-03-29T05:00:00+02:00", "2026-03-28T22:00:00+01:00"),
        ("2026-03-29T07:00:00+02:00", "2026-03-29T06:00:00+02:00"),
        ("2026-10-25T05:00:00+01:00", "2026-10-24T22:00:00+02:00"),
    ],
)
def test_a_shift_began_when_the_clocks_showed_its_time(at: str, expected: str) -> None:
    starts = read_shifts(["22:00", "06:00", "14:00"])
    moment = shift_began(datetime.fromisoformat(at), starts)
    assert moment == datetime.fromisoformat(expected)
    assert moment.tzinfo is UTC


def test_without_shifts_there_is_the_day() -> None:
    at = datetime.fromisoformat("2026-05-04T12:00:00+02:00")
    assert shift_began(at, read_shifts(["00:00"])) == datetime.fromisoformat("2026-05-04T00:00:00+02:00")


NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shift", "2026-05-04T06:00:00+02:00"),
        ("90m", "2026-05-04T08:30:00+00:00"),
        ("8h", "2026-05-04T02:00:00+00:00"),
        ("7d", "2026-04-27T10:00:00+00:00"),
        ("2026-05-04T12:00", "2026-05-04T12:00:00+02:00"),
        ("2026-05-04T12:00:00Z", "2026-05-04T12:00:00+00:00"),
    ],
)
def test_a_moment_is_a_time_of_this_place_or_a_span_or_the_shift(text: str, expected: str) -> None:
    assert read_moment(text, NOW, read_shifts(["06:00"])) == datetime.fromisoformat(expected)


@pytest.mark.parametrize("text", ["", "yesterday", "8", "8y", "999999d", "-1h", "2026-13-01", "0001-01-01T00:00+14:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        read_moment(text, NOW, read_shifts(["06:00"]))
    assert refused.value.finding == "line.yields.period"
