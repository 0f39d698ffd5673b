# SPDX-License-Identifier: Apache-2.0
"""Acceptance 8: "The sticker says 0463, the chip says 0462." The unit stops, names the other, and a lead decides."""

import json
from pathlib import Path

import pytest

from birthmark.testing.lab.record import Lab
from support.labs import birthmark, births, certificates, one_board_panel, run_panel
from support.refusals import with_key

LEAD = ("--by", "lea", "--reason", "the labels of two boards were swapped")


def labelled(lab: Lab, unit: str, number: int) -> Path:
    """Write and return a panel in which the board's chip lies under another unit's label."""
    panel = lab.path / f"panel-{unit}-on-{number}.toml"
    panel.write_text(f'[[position]]\nunit = "{unit}"\nchip = "{lab.boards[number].chip}"\n')
    return panel


def shown(lab: Lab, unit: str) -> dict[str, object]:
    record: dict[str, object] = json.loads(
        birthmark("line", "unit", "show", unit, "--config", lab.rig_configs["rig-b"], "--json").stdout
    )
    return record


def decided(lab: Lab, act: str, unit: str, *said: str) -> tuple[int, str]:
    done = birthmark("line", "unit", act, unit, "--config", lab.rig_configs["rig-a"], *said)
    return done.returncode, done.stderr


def test_a_finished_board_under_another_label_is_stopped_and_both_are_named(lab: Lab) -> None:
    first, second = lab.boards[0].unit, lab.boards[1].unit
    run_panel(lab, panel=one_board_panel(lab, 0))
    verdict = run_panel(lab, panel=labelled(lab, second, 0))[second]
    assert (verdict["verdict"], verdict["finding"]) == ("QUARANTINE", "line.certificate.unit")
    assert first in str(verdict["reason"])
    assert second in str(verdict["reason"])
    assert [row["unit_serial"] for row in certificates(lab)] == [first]
    assert [birth["unit_serial"] for birth in births(lab)] == [first]


def test_a_quarantined_unit_waits_for_a_lead_with_a_reason_at_every_rig(lab: Lab) -> None:
    first, second = lab.boards[0].unit, lab.boards[1].unit
    run_panel(lab, panel=one_board_panel(lab, 0))
    run_panel(lab, panel=labelled(lab, second, 0))
    for rig in lab.rig_configs:
        again = run_panel(lab, rig, one_board_panel(lab, 1))[second]
        assert (again["verdict"], again["finding"]) == ("QUARANTINE", "line.unit.quarantined")
    refused = decided(lab, "override", second, "--by", "lea", "--reason", "  ")
    assert refused[0] == 1
    assert refused[1].startswith("birthmark: line.unit.reason: ")
    assert decided(lab, "override", second, *LEAD) == (0, "")
    assert run_panel(lab, "rig-b", one_board_panel(lab, 1))[second]["verdict"] == "PASS"
    record = shown(lab, second)
    assert record["state"] == "done"
    history = record["history"]
    assert isinstance(history, list)
    assert ["lea" in str(change["by"]) for change in history].count(True) > 0
    assert sorted(str(row["unit_serial"]) for row in certificates(lab)) == [first, second]


@pytest.mark.parametrize("rig", ["rig-a", "rig-b"])
def test_a_chip_that_was_seen_in_another_unit_is_a_twin_before_it_has_any_certificate(lab: Lab, rig: str) -> None:
    first, second = lab.boards[0].unit, lab.boards[1].unit
    assert refused_by_the_ca(lab, 0)["finding"] == "ca.8.window"
    verdict = run_panel(lab, rig, labelled(lab, second, 0))[second]
    assert (verdict["verdict"], verdict["finding"]) == ("QUARANTINE", "line.unit.twin")
    assert f"was seen in unit {first} too" in str(verdict["reason"])
    assert certificates(lab) == []
    assert run_panel(lab, rig, one_board_panel(lab, 0))[first]["verdict"] == "RESUMED"


def refused_by_the_ca(lab: Lab, number: int) -> dict[str, object]:
    """Run a board under an order that is over: its chip makes a key, and gets no certificate."""
    recipe = with_key(lab.path / "recipe.toml", "order", '"order-past"')
    config = with_key(lab.rig_configs["rig-a"], "recipe", f'"{recipe.name}"')
    done = birthmark("line", "run", "--config", config, "--panel", one_board_panel(lab, number), "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (verdict,) = (event for event in events if event["event"] == "verdict")
    return dict(verdict)
