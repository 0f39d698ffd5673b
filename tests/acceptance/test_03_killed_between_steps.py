# SPDX-License-Identifier: Apache-2.0
"""Acceptance 3: "Power went off in the middle." The rig is killed at each journalled step and then runs again."""

import json
import signal
import subprocess

import pytest

from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.rig import STEPS
from support.labs import PROGRAM, births, certificates, one_board_panel, run_panel


def kill_at(lab: Lab, moment: str, step: str) -> None:
    """Run rig-a over one board and kill it with SIGKILL when `step` begins, or when it has ended."""
    command = [*PROGRAM, "line", "run", "--config", lab.rig_configs["rig-a"], "--panel", str(one_board_panel(lab))]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as rig:
        assert rig.stdout is not None
        for line in rig.stdout:
            event = json.loads(line)
            if event["event"] == moment and event.get("step") == step:
                rig.send_signal(signal.SIGKILL)
                return
    pytest.fail(f"the rig never came to {moment} {step}")


@pytest.mark.parametrize("moment", ["step.begin", "step"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("second", ["rig-a", "rig-b"])
def test_a_new_run_finishes_or_resumes_and_never_makes_a_second_living_certificate(
    lab: Lab, moment: str, step: str, second: str
) -> None:
    kill_at(lab, moment, step)
    verdict = run_panel(lab, second, one_board_panel(lab))[lab.boards[0].unit]
    assert verdict["verdict"] in {"PASS", "RESUMED", "PASS-ALREADY"}, verdict
    living = [row for row in certificates(lab) if row["state"] in {"issued", "confirmed"}]
    assert [row["state"] for row in living] == ["confirmed"]
    assert living[0]["certificate_sha256"] == verdict["certificate_sha256"]
    assert len({birth["certificate_sha256"] for birth in births(lab)}) == 1
