# SPDX-License-Identifier: Apache-2.0
"""The numbers of the lead page: what the station answers, and what it refuses."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from birthmark.core.attempts import Attempt
from birthmark.core.work import UnitWork
from birthmark.line.attempts import counted
from birthmark.line.yield_forms import ATTEMPT_COLUMNS
from support.asgi_client import Answer, get
from support.attempts import attempt
from support.station_bench import MOMENT, told
from support.station_bench import StationBench as Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path).opened() as bench:
        for number in range(1, 6):
            failed = {"verdict": "FAIL", "finding": "chip.absent", "step": "power"} if number == 5 else {}
            end(bench, attempt(number, position=number % 2 + 1, **failed), MOMENT - timedelta(minutes=number))
        yield bench


def end(bench: Bench, made: Attempt, at: datetime) -> None:
    def ending(work: UnitWork, _: datetime) -> tuple[UnitWork, Attempt]:
        return counted(work, made, at)

    bench.units.end(made.unit, ending)


def ask(bench: Bench, target: str) -> dict[str, Any]:
    answer = get(bench.app, target)
    assert answer.status == 200, answer.body
    return dict(json.loads(answer.body))


def rows(answer: Answer) -> list[dict[str, str]]:
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.body, newline="")))


def test_the_yields_of_a_period_and_of_one_rig(bench: Bench) -> None:
    found = ask(bench, "/v1/yields?since=shift")
    assert (found["yields"]["units"], found["yields"]["first_pass"], found["yields"]["throughput"]) == (5, 0.8, 0.8)
    assert found["pareto"]["step"] == [{"step": "power", "attempts": 1, "untried": 0, "share": 1.0, "cumulative": 1.0}]
    assert ask(bench, "/v1/yields?rig=rig-b")["yields"]["units"] == 0
    assert ask(bench, "/v1/yields?since=3m")["yields"]["units"] == 3
    until = (MOMENT - timedelta(minutes=3)).isoformat().replace("+", "%2B")
    assert ask(bench, f"/v1/yields?since=1h&until={until}")["yields"]["units"] == 2


@pytest.mark.parametrize(
    ("target", "finding"),
    [
        ("/v1/yields?since=lunch", "line.yields.period"),
        ("/v1/yields?since=1h&until=2h", "line.yields.period"),
        ("/v1/yields.csv?by=moon", "line.yields.by"),
        ("/v1/attempts.csv?since=lunch", "line.yields.period"),
    ],
)
def test_what_is_no_period_or_no_comparison_is_refused(bench: Bench, target: str, finding: str) -> None:
    answer = get(bench.app, target)
    assert (answer.status, told(answer)) == (400, finding)


def test_a_comparison_as_csv_is_a_file_to_keep(bench: Bench) -> None:
    answer = get(bench.app, "/v1/yields.csv?by=position")
    assert answer.headers["content-disposition"] == 'attachment; filename="yields-by-position.csv"'
    assert [(row["position"], row["units"], row["first_pass"]) for row in rows(answer)] == [
        ("1", "2", "1.0"),
        ("2", "3", "0.666667"),
    ]
    assert [row["finding"] for row in rows(get(bench.app, "/v1/yields.csv?by=finding"))] == ["chip.absent"]


def test_all_attempts_as_csv_in_the_order_of_their_ends(bench: Bench) -> None:
    found = rows(get(bench.app, "/v1/attempts.csv?since=1h"))
    assert tuple(found[0]) == ATTEMPT_COLUMNS
    assert [row["unit"] for row in found] == [f"BM-{number:06d}" for number in (5, 4, 3, 2, 1)]
    assert rows(get(bench.app, "/v1/attempts.csv?since=1h&until=30m")) == []


def test_a_csv_of_many_attempts_is_whole(bench: Bench) -> None:
    with bench.units._file.transaction():
        for number in range(1_000, 3_300):
            end(bench, attempt(number), MOMENT - timedelta(minutes=30))
    assert len(rows(get(bench.app, "/v1/attempts.csv?since=1h"))) == 2_305


def test_the_surroundings_say_what_the_rig_depends_on(bench: Bench) -> None:
    found = ask(bench, "/v1/surroundings")
    assert found["ca"]["state"] == "away"
    assert found["order"] == {"order": "order-1", "passed": 4, "account": None}
    assert found["outbox"] == []


def test_an_unreadable_store_is_an_error_and_no_number(bench: Bench) -> None:
    bench.units.close()
    for target in ("/v1/yields", "/v1/yields.csv", "/v1/attempts.csv", "/v1/surroundings"):
        answer = get(bench.app, target)
        assert (answer.status, told(answer)) == (503, "line.units.away"), target
