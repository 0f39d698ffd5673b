# SPDX-License-Identifier: Apache-2.0
"""Acceptance 3: "Power went off in the middle." The rig is killed at each journalled step and then runs again."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.testing.lab.record import RIGS, Lab
from birthmark.testing.lab.rig import STEPS
from support.labs import PROGRAM, births, certificates, one_board_panel, run_panel, running_lab

CASES = [(moment, step, second) for moment in ("step.begin", "step") for step in STEPS for second in RIGS]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab, with a board for each case."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=len(CASES)) as lab:
        yield lab


def kill_at(lab: Lab, panel: Path, moment: str, step: str) -> None:
    """Run rig-a over one board and kill it with SIGKILL when `step` begins, or when it has ended."""
    command = [*PROGRAM, "line", "run", "--config", lab.rig_configs["rig-a"], "--panel", str(panel), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as rig:
        assert rig.stdout is not None
        for line in rig.stdout:
            event = json.loads(line)
            if event["event"] == moment and event.get("step") == step:
                rig.send_signal(signal.SIGKILL)
                return
    pytest.fail(f"the rig never came to {moment} {step}")


@pytest.mark.parametrize(("moment", "step", "second"), CASES)
def test_a_new_run_finishes_or_resumes_and_never_makes_a_second_living_certificate(
    lab: Lab, moment: str, step: str, second: str
) -> None:
    number = CASES.index((moment, step, second))
    unit, panel = lab.boards[number].unit, one_board_panel(lab, number)
    kill_at(lab, panel, moment, step)
    verdict = run_panel(lab, second, panel)[unit]
    assert verdict["verdict"] in {"PASS", "RESUMED", "PASS-ALREADY"}, verdict
    issued = [row for row in certificates(lab) if row["unit_serial"] == unit]
    assert [row["state"] for row in issued if row["state"] in {"issued", "confirmed"}] == ["confirmed"]
    assert verdict["certificate_sha256"] in {row["certificate_sha256"] for row in issued if row["state"] == "confirmed"}
    assert len({birth["certificate_sha256"] for birth in births(lab) if birth["unit_serial"] == unit}) == 1
