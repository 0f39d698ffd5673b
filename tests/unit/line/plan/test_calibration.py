# SPDX-License-Identifier: Apache-2.0
"""A measured run beside the model: what is read from it, and what is refused."""

import json
from pathlib import Path

import pytest

from birthmark.line.errors import MeasurementUnusable
from birthmark.line.plan.board import board_way
from birthmark.line.plan.bounds import step_s
from birthmark.line.plan.calibration import calibrated, compare, holds, read_run
from birthmark.line.plan.simulation import Floor
from birthmark.line.plan.trace import PanelTrace
from support.plans import scenario

POSITIONS = 4
SLOW_RECORD = ("rig", "software_ms", {"record": 20})


def events_of(panel: PanelTrace) -> list[dict[str, object]]:
    """Return what a rig would have told of a simulated panel."""
    told: list[dict[str, object]] = [{"event": "panel.start", "positions": len(panel.boards)}]
    for position, board in enumerate(panel.boards, 1):
        unit = f"BM-{position:06d}"
        for work in board_way(scenario()):
            spent = {where: s for (step, where), s in board.spent.items() if step is work.step}
            chip_ms = (spent.get("chip", 0) + spent.get("bus", 0)) * 1e3
            step = {"event": "step", "position": position, "unit": unit, "step": work.step.value}
            told.append(step | {"ms": sum(spent.values()) * 1e3, "chip_ms": chip_ms})
        board_s = board.decided_s - panel.offered_s
        verdict = {"event": "verdict", "unit": unit, "verdict": "PASS", "board_s": board_s, "chip_s": board.chip_s}
        told.append(verdict | {"certificate_bytes": 1_700, "software_s": board_s - board.chip_s})
    told.append({"event": "verdict", "unit": "", "verdict": "SKIP", "board_s": 0, "chip_s": 0, "certificate_bytes": 0})
    return [*told, {"event": "panel.end", "panel_s": panel.panel_s}]


def written(folder: Path, events: list[dict[str, object]]) -> Path:
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def simulated(positions: int = POSITIONS) -> PanelTrace:
    planned = scenario(("line", "positions", positions), ("ca", "enrol_ms", 40.0), SLOW_RECORD)
    return Floor(planned, 0).run(1, 0).panels[0]


@pytest.mark.parametrize("positions", [1, POSITIONS, 8])
def test_a_run_of_the_model_itself_is_found_again(positions: int, tmp_path: Path) -> None:
    run = read_run(written(tmp_path, events_of(simulated(positions))))
    model = calibrated(scenario(), run)
    found = compare(model, run)
    assert found.panel_ratio == pytest.approx(1, abs=0.05)
    assert found.chip_ratio == pytest.approx(1, abs=0.001)
    assert holds(found)
    if positions == 1:
        assert step_s(model)["record"] == pytest.approx(step_s(scenario(SLOW_RECORD))["record"])
        assert model.ca.enrol_ms == pytest.approx(42, abs=1)


def test_what_the_chip_does_is_not_fitted(tmp_path: Path) -> None:
    run = read_run(written(tmp_path, events_of(simulated())))
    slow = scenario(("chip", "model", "slb9670"))
    found = compare(calibrated(slow, run), run)
    assert found.chip_ratio > 1.1
    assert not holds(compare(scenario(("ca", "enrol_ms", 500.0)), run))


def test_several_panels_are_averaged(tmp_path: Path) -> None:
    events = events_of(simulated())
    once, twice = read_run(written(tmp_path, events)), read_run(written(tmp_path, events * 2))
    assert (twice.boards, twice.panel_s) == (once.boards, once.panel_s)
    assert twice.software_ms == pytest.approx(once.software_ms)


def changed_event(events: list[dict[str, object]], kind: str, **values: object) -> list[dict[str, object]]:
    at = next(number for number, event in enumerate(events) if event["event"] == kind)
    return [*events[:at], events[at] | values, *events[at + 1 :]]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda _: [], id="empty"),
        pytest.param(lambda events: events[:-1], id="the panel did not end"),
        pytest.param(lambda events: changed_event(events, "verdict", verdict="FAIL"), id="a board failed"),
        pytest.param(lambda events: changed_event(events, "verdict", verdict="PASS-ALREADY"), id="not fresh"),
        pytest.param(lambda events: changed_event(events, "verdict", board_s="long"), id="no number"),
        pytest.param(lambda events: changed_event(events, "step", chip_ms=None), id="no chip time"),
        pytest.param(lambda events: [*events, *events_of(simulated(3))], id="panels of different sizes"),
        pytest.param(lambda events: [*events, {"panel": 1}], id="no event"),
    ],
)
def test_a_file_without_whole_panels_of_fresh_boards_is_refused(spoil, tmp_path: Path) -> None:  # noqa: ANN001 a table's
    with pytest.raises(MeasurementUnusable) as refused:
        read_run(written(tmp_path, spoil(events_of(simulated()))))
    assert refused.value.finding == "line.plan.measured"
    assert "events.jsonl" in refused.value.message


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(MeasurementUnusable, match="line 1"):
        read_run(path)
