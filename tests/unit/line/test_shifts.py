# SPDX-License-Identifier: Apache-2.0
"""When shifts begin: by the wall clock, on every day of the year."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from birthmark.line.shifts import read_shifts, shift_began


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
