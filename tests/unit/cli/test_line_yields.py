# SPDX-License-Identifier: Apache-2.0
"""`birthmark line yields`, as people type it."""

import csv
import io
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from birthmark.cli.line_yields import _percent
from birthmark.core.attempts import Attempt
from birthmark.core.work import UnitWork, WorkState
from birthmark.line.attempts import counted
from birthmark.stores.units_sqlite import UnitsSQLite
from support.attempts import attempt
from support.labs import birthmark
from support.rig_files import RIG

NOW = datetime.now(UTC)
NOON = NOW.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)


def end(store: UnitsSQLite, told: Attempt, at: datetime) -> None:
    def ending(work: UnitWork, _: datetime) -> tuple[UnitWork, Attempt]:
        work, ended = counted(work, told, at)
        return UnitWork(
            work.unit, WorkState.DONE if work.passes else WorkState.OPEN, tries=1, passes=work.passes
        ), ended

    store.end(told.unit, ending)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A rig whose place 2 failed each of its ten units after noon, beside one that failed none."""
    path = tmp_path / "rig.toml"
    path.write_text(f"keep_attempts_days = 30\nkeep_units_days = 60\n{RIG}")
    store = UnitsSQLite(tmp_path / "rig.units")
    for number in range(80):
        bad = number >= 40 and number % 4 == 1
        verdict = {"verdict": "FAIL", "finding": "chip.communication", "step": "observe"} if bad else {}
        at = NOON + timedelta(minutes=number - 40)
        end(store, attempt(number, position=number % 4 + 1, fixture="fx-1", **verdict), at)
        end(store, attempt(number + 100, rig="rig-b", position=number % 4 + 1, faults=number % 2), at)
    end(store, attempt(300, verdict="FAIL", finding="ca.8.quota", step="enrol"), NOON)
    store.close()
    return path


def yields(config: Path, *arguments: str) -> dict[str, Any]:
    done = birthmark("line", "yields", "--config", config, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_three_yields_and_what_is_not_counted(config: Path) -> None:
    found = yields(config, "--rig", "rig-a")["yields"]
    assert (found["units"], found["first_passed"], found["good"]) == (80, 70, 70)
    assert (found["attempts"], found["passed"], found["untried"], found["repeated"]) == (80, 70, 1, 0)
    assert (found["first_pass"], found["final"], found["throughput"]) == (0.875, 0.875, 0.875)
    assert yields(config)["yields"]["faults"] == 40


def test_the_bad_place_stands_out_and_only_after_noon(config: Path) -> None:
    places = yields(config, "--by", "position")["by"]["position"]
    bad = [place for place in places if place["stands_out"]]
    assert [(place["rig"], place["fixture"], place["position"]) for place in bad] == [("rig-a", "fx-1", "2")]
    assert (bad[0]["units"], bad[0]["first_pass"], bad[0]["few"]) == (20, 0.5, True)
    morning = yields(config, "--since", "9h", "--until", NOON.isoformat())
    assert morning["yields"]["first_pass"] == 1.0


def test_a_pareto_shows_what_was_untried_as_such(config: Path) -> None:
    told = yields(config, "--by", "finding")
    assert told["by"] == {}
    assert [(bar["finding"], bar["attempts"], bar["untried"]) for bar in told["pareto"]["finding"]] == [
        ("chip.communication", 10, 0),
        ("ca.8.quota", 1, 1),
    ]


@pytest.mark.parametrize("by", ["rig", "position", "operator", "fixture", "hour", "order", "step", "finding"])
def test_every_comparison_is_there_as_json_as_csv_and_as_a_table(config: Path, by: str) -> None:
    told = yields(config, "--by", by)
    rows = (told["by"] or told["pareto"])[by]
    done = birthmark("line", "yields", "--config", config, "--by", by, "--csv")
    read = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert read == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    table = birthmark("line", "yields", "--config", config, "--by", by).stdout
    assert "…" not in table
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "first-pass" in table
    assert "units passed at the first attempt" in table
    assert max(map(len, table.splitlines())) <= 100


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "     -"), (1.0, "100.0%"), (0.99999, " 99.9%"), (0.57, " 57.0%"), (2 / 3, " 66.6%"), (1e-9, "  0.0%")],
)
def test_what_is_not_all_is_not_called_all(share: float | None, text: str) -> None:
    assert _percent(share) == text


def test_attempts_are_there_one_by_one(config: Path) -> None:
    done = birthmark("line", "yields", "--config", config, "--by", "attempt", "--csv", "--rig", "rig-a")
    rows = list(csv.DictReader(io.StringIO(done.stdout, newline="")))
    assert len(rows) == 81
    failed = [row for row in rows if row["outcome"] == "failed"]
    assert {(row["position"], row["step"], row["finding"]) for row in failed} == {
        ("2", "observe", "chip.communication")
    }
    assert [row["ended_at"] for row in rows] == sorted(row["ended_at"] for row in rows)
    lines = birthmark("line", "yields", "--config", config, "--by", "attempt").stdout.splitlines()
    assert len(lines) == 161


def refused(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return birthmark("line", "yields", "--config", config, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--since", "yesterday"), "is no time"),
        (("--since", "1h", "--until", "2h"), "ends after it began"),
        (("--json", "--csv"), "--json or --csv"),
        (("--by", "moon"), "is not one of"),
    ],
)
def test_what_is_no_period_or_no_comparison_is_a_usage_error(
    config: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = refused(config, *arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_this_shift_is_a_period(config: Path) -> None:
    assert yields(config, "--since", "shift")["yields"]["units"] <= 160


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("keep_units_days = 1.0", "keep_units_days is not below keep_attempts_days"),
        ("keep_attempts_days = 0", "above 0"),
        ('shifts = ["6 o\'clock"]', "not the times at which shifts begin"),
        ("shifts = []", "once a day at least"),
        ('shifts = ["06:00", "06:00"]', "different times"),
    ],
)
def test_a_senseless_policy_is_a_configuration_error(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rig.toml"
    path.write_text(f"{line}\n{RIG}")
    done = refused(path)
    assert done.returncode == 3
    assert words in done.stderr
