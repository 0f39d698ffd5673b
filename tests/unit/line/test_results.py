# SPDX-License-Identifier: Apache-2.0
"""What programs read of a panel: its result made of events, and the JUnit document of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from birthmark.line import results
from birthmark.line.junit import junit_xml
from birthmark.line.results import PanelResult, PanelState

BEGAN = datetime(2026, 5, 4, 12, 0, 1, 999, tzinfo=UTC)
UNITS = ("BM-000001", "BM-000002", "BM-000003", "")
END = {"event": "panel.end", "panel_s": 1.5, "passed": 1, "failed": 2, "outbox": 3, "parked": 1}


def verdict(position: int, word: str, finding: str = "", reason: str = "") -> dict[str, Any]:
    told = {"event": "verdict", "position": position, "unit": UNITS[position - 1], "verdict": word}
    measured = {"board_s": 1.25, "chip_s": 1.0, "software_s": 0.25, "certificate_sha256": "", "certificate_bytes": 0}
    return {**told, "finding": finding, "reason": reason, **measured}


def step(position: int, name: str, ms: float) -> dict[str, Any]:
    return {"event": "step", "position": position, "unit": "", "step": name, "ms": ms, "chip_ms": ms}


def panel(*events: dict[str, Any]) -> PanelResult:
    result = results.begun(UNITS)
    for event in events:
        result = results.heard(result, event)
    return result


MIXED = panel(
    step(1, "observe", 10.0),
    step(1, "observe", 2.5),
    verdict(1, "PASS"),
    verdict(2, "QUARANTINE", "line.unit.twin", "another \x1b[2J unit's & chip <"),
    verdict(3, "FAIL", "chip.communication", "no answer"),
    verdict(4, "SKIP"),
    END,
)


def test_a_panel_is_what_its_events_told() -> None:
    told = results.members(MIXED)
    counts = ("state", "verdict", "passed", "failed", "skipped", "panel_s", "outbox", "parked", "held")
    assert [told[name] for name in counts] == ["done", "FAIL", 1, 2, 1, 1.5, 3, 1, ""]
    assert told["places"][0]["step_ms"] == {"observe": 12.5}
    assert [place["position"] for place in told["places"]] == [1, 2, 3, 4]
    assert json.loads(json.dumps(told)) == told


def test_a_panel_that_runs_has_no_verdict_yet() -> None:
    running = panel(verdict(1, "PASS"))
    assert (running.state, running.verdict) == (PanelState.RUNNING, "")


def test_a_panel_says_while_it_is_held() -> None:
    hold = {"event": "hold", "unit": "", "what": "the CA is away", "hint": "wait", "finding": "line.ca.away"}
    assert panel(hold).held == "line.ca.away"
    assert panel(hold, {"event": "resume", "unit": "", "finding": "line.ca.away"}).held == ""


def test_a_panel_that_stopped_is_no_pass_whatever_its_boards_are() -> None:
    stopped = results.stopped(panel(verdict(1, "PASS")), "line.disk", "the disk is full")
    assert (stopped.state, stopped.verdict, stopped.finding) == (PanelState.STOPPED, "FAIL", "line.disk")


# --- JUnit -----------------------------------------------------------------------------------------------------


def judged(result: PanelResult) -> Any:
    """The suite as junitparser reads it."""
    (suite,) = JUnitXml.fromstring(junit_xml(result, BEGAN))
    return suite


def test_each_position_is_a_case_with_its_verdict() -> None:
    suite = judged(MIXED)
    assert (suite.tests, suite.failures, suite.errors, suite.skipped, suite.time) == (4, 1, 1, 1, 1.5)
    assert suite.timestamp == "2026-05-04T12:00:01"
    cases = list(suite)
    assert [case.name for case in cases] == [*UNITS[:3], "position 4"]
    assert [case.classname for case in cases] == [f"birthmark.position-{number}" for number in (1, 2, 3, 4)]
    assert [[type(each) for each in case.result] for case in cases] == [[], [Failure], [Error], [Skipped]]
    (failure,) = cases[1].result
    assert (failure.type, failure.message) == ("line.unit.twin", "another \N{REPLACEMENT CHARACTER}[2J unit's & chip <")
    assert "observe_ms=12.5" in cases[0].system_out


@pytest.mark.parametrize(
    ("word", "finding", "kind"),
    [
        ("FAIL", "chip.absent", Error),
        ("FAIL", "chip.refused", Failure),
        ("FAIL", "line.possession", Failure),
        ("FAIL", "line.disk", Error),
        ("FAIL", "internal", Error),
        ("FAIL", "ca.8.quota", Error),
        ("QUARANTINE", "ca.7.unit-taken", Failure),
        ("QUARANTINE", "line.unit.chip", Failure),
    ],
)
def test_what_says_nothing_about_the_board_is_an_error(word: str, finding: str, kind: type) -> None:
    case = next(iter(judged(panel(verdict(1, word, finding, "because"), END))))
    assert [type(each) for each in case.result] == [kind]


def test_a_panel_that_stopped_has_errors_where_there_are_no_verdicts() -> None:
    suite = judged(results.stopped(panel(verdict(1, "PASS")), "line.units.away", "no database"))
    assert (suite.tests, suite.failures, suite.errors) == (4, 0, 3)


def test_a_run_that_never_knew_its_panel_is_one_error() -> None:
    suite = judged(results.stopped(PanelResult(), "config.invalid", "panel.toml: nonsense"))
    assert (suite.tests, suite.errors) == (1, 1)


@given(reason=st.text())
def test_whatever_a_reason_holds_the_document_is_xml(reason: str) -> None:
    assert judged(panel(verdict(1, "FAIL", "line.board", reason), END)).failures == 1


def test_the_document_has_only_what_everyone_reads() -> None:
    """Names that both Jenkins' junit-10.xsd and Ant's task have; what else is there some reader refuses."""
    known = {
        "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
        "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
        "testcase": {"classname", "name", "time"},
        "failure": {"type", "message"},
        "error": {"type", "message"},
        "skipped": {"message"},
        "system-out": set[str](),
    }
    root = JUnitXml.fromstring(junit_xml(MIXED, BEGAN))._elem
    assert {each.tag: set(each.attrib) for each in root.iter()} == known
