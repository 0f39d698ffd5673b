# SPDX-License-Identifier: Apache-2.0
"""Design §8: the CA is away, the line holds with a clear message and resumes alone."""

import json
import os
import signal
import subprocess
import time
from http import HTTPStatus
from pathlib import Path
from typing import IO

import pytest
import urllib3

from birthmark.testing.lab.processes import stop
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import start_service
from support.labs import PROGRAM, birthmark, certificates
from support.stations import PATIENCE_S, serving, station_config

Event = dict[str, object]


def read_until(events: IO[str], wanted: dict[str, object]) -> list[Event]:
    """Return the events up to the first one that has all that is wanted."""
    seen: list[Event] = []
    for line in events:
        seen.append(json.loads(line))
        if wanted.items() <= seen[-1].items():
            return seen
    pytest.fail(f"{wanted} never came: {seen}")


def test_a_panel_holds_when_the_ca_goes_and_passes_when_it_is_back(lab: Lab) -> None:
    (ca,) = [process for process in lab.processes if process.name == "ca"]
    command = [*PROGRAM, "line", "run", "--config", lab.rig_configs["rig-a"], "--panel", lab.panel, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rig:
        assert rig.stdout is not None
        # The rig stands still while the CA goes, so that no board has its certificate yet.
        read_until(rig.stdout, {"event": "panel.start"})
        os.kill(rig.pid, signal.SIGSTOP)
        stop([ca])
        os.kill(rig.pid, signal.SIGCONT)
        (*_, hold) = read_until(rig.stdout, {"event": "hold"})
        assert hold["finding"] == "net.unreachable"
        assert "resumes alone" in str(hold["hint"])
        time.sleep(1.5)
        back, _ = start_service(Path(lab.directory), "ca")
        try:
            rest = [json.loads(line) for line in rig.stdout]
            assert rig.wait(timeout=60) == 0
            assert [event["event"] for event in rest].count("resume") == 1
            assert not [event for event in rest if event["event"] == "hold"]
            verdicts = [event["verdict"] for event in rest if event["event"] == "verdict"]
            assert verdicts == ["PASS"] * len(lab.boards)
            assert [row["state"] for row in certificates(lab)] == ["confirmed"] * len(lab.boards)
        finally:
            stop([back])


def test_a_station_that_waits_for_the_ca_can_be_switched_off_and_the_boards_go_on_afterwards(
    lab: Lab, tmp_path: Path
) -> None:
    config = station_config(tmp_path, Path(lab.rig_configs["rig-a"]), [board.chip for board in lab.boards])
    stop([process for process in lab.processes if process.name == "ca"])
    with serving(config) as station, urllib3.PoolManager(retries=False, timeout=PATIENCE_S) as http:
        call = {"key": "panel-1", "operator": "ada", "units": [board.unit for board in lab.boards]}
        assert http.request("POST", f"{station.url}/v1/panels", json=call).status == HTTPStatus.ACCEPTED
        while http.request("GET", f"{station.url}/v1/floor").json()["held"] is None:
            time.sleep(0.05)
        station.end()
    back, _ = start_service(Path(lab.directory), "ca")
    try:
        done = birthmark("line", "run", "--config", lab.rig_configs["rig-a"], "--panel", lab.panel, "--json")
        assert json.loads(done.stdout.splitlines()[-1])["passed"] == len(lab.boards)
    finally:
        stop([back])
