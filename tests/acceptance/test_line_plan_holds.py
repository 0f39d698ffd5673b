# SPDX-License-Identifier: Apache-2.0
"""The planner against the line itself: a panel of timed chips is run for real, then modelled from what it told."""

import json
from pathlib import Path

from birthmark.line.plan.calibration import TOLERANCE
from support.labs import birthmark, running_lab

BOARDS = 4
CHIP = "optiga-trust-m"


def test_the_model_of_a_measured_panel_is_within_its_tolerance(tmp_path: Path) -> None:
    with running_lab(tmp_path / "lab", boards=BOARDS, chip=CHIP) as lab:
        run = birthmark("line", "run", "--config", lab.rig_configs["rig-a"], "--panel", lab.panel, "--json")
    assert run.returncode == 0, run.stderr
    events = tmp_path / "events.jsonl"
    events.write_text(run.stdout)
    done = birthmark("line", "plan", "--chip", CHIP, "--measured", events, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["measured"]
    assert found["boards"] == BOARDS
    # Ratios: how fast this machine is does not matter. Software and CA are as measured; chip and bus are not fitted.
    assert abs(found["panel_ratio"] - 1) <= TOLERANCE
    # The simulated chips keep their published times, and a driver adds to them: a model must never be slower.
    assert found["chip_ratio"] <= 1.02
