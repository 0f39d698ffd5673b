# SPDX-License-Identifier: Apache-2.0
"""Acceptance 2: "Somebody ran the same board twice." """

import subprocess

from birthmark.testing.lab.record import Lab
from support.labs import PROGRAM, births, certificates, one_board_panel, run_panel


def test_a_second_run_writes_nothing_and_returns_the_same_certificate(lab: Lab) -> None:
    first = run_panel(lab)
    second = run_panel(lab, rig="rig-b")
    for unit, verdict in first.items():
        assert verdict["verdict"] == "PASS"
        assert second[unit]["verdict"] == "PASS-ALREADY"
        assert second[unit]["certificate_sha256"] == verdict["certificate_sha256"]
    assert len(certificates(lab)) == len(first)
    assert len(births(lab)) == len(first)


def test_both_rigs_at_the_same_moment_give_one_certificate(lab: Lab) -> None:
    panel = one_board_panel(lab)
    runs = [
        subprocess.Popen(
            [*PROGRAM, "line", "run", "--config", lab.rig_configs[rig], "--panel", str(panel), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rig in lab.rig_configs
    ]
    outputs = [run.communicate(timeout=60) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    (issued,) = certificates(lab)
    assert issued["state"] == "confirmed"
    assert len(births(lab)) == 1
