# SPDX-License-Identifier: Apache-2.0
"""Boards whose chips only their MCUs can reach: the same line, the same verdicts, over SMP."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from birthmark.testing.lab.mcus import SMP_SERIAL, SMP_UDP
from birthmark.testing.lab.processes import LabProcess, await_ready, python, start, stop
from birthmark.testing.lab.record import Lab
from support.labs import PROGRAM, birthmark, births, certificates, run_panel, running_lab

BOARDS = 3
DONE = {"PASS", "RESUMED", "PASS-ALREADY"}


@pytest.fixture(params=[SMP_SERIAL, SMP_UDP])
def smp_lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=BOARDS, link=request.param) as lab:
        yield lab


@pytest.fixture
def timed_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=BOARDS, chip="optiga-trust-m", link=SMP_SERIAL) as lab:
        yield lab


def verdicts(lab: Lab, rig: str = "rig-a") -> list[object]:
    return [verdict["verdict"] for verdict in run_panel(lab, rig).values()]


def test_a_panel_passes_and_passes_again_on_the_other_rig(smp_lab: Lab) -> None:
    assert all(board.chip.startswith("smp:") for board in smp_lab.boards)
    first = run_panel(smp_lab)
    assert [verdict["verdict"] for verdict in first.values()] == ["PASS"] * BOARDS
    second = run_panel(smp_lab, rig="rig-b")
    assert [verdict["verdict"] for verdict in second.values()] == ["PASS-ALREADY"] * BOARDS
    for unit, verdict in first.items():
        assert second[unit]["certificate_sha256"] == verdict["certificate_sha256"]
    assert len(certificates(smp_lab)) == len(births(smp_lab)) == BOARDS
    the_field_agent_connects_and_rotates(smp_lab.boards[0].device_config)


def the_field_agent_connects_and_rotates(config: str) -> None:
    """The device's own programs reach the chip by the same address."""
    for command in ("connect", "rotate", "connect"):
        done = birthmark("device", command, "--config", config)
        assert done.returncode == 0, done.stderr


def mcu_of(lab: Lab, number: int) -> LabProcess:
    (process,) = [process for process in lab.processes if process.name == f"mcu-{lab.boards[number].unit}"]
    return process


def start_again(lab: Lab, number: int) -> LabProcess:
    """Give the board its power back."""
    boards, name = lab.path / "boards", lab.boards[number].unit
    where = ("--bus", str(boards / f"{name}.sock"), "--serial", str(boards / f"{name}.tty"))
    process = start(f"mcu-{name}", python("birthmark.silicon.simulator.board", *where), lab.path / "logs")
    await_ready(process, lab.path / "logs")
    return process


def test_a_board_without_power_fails_alone_and_passes_when_it_has_it(timed_lab: Lab) -> None:
    os.kill(mcu_of(timed_lab, 1).pid, signal.SIGKILL)
    ran = run_panel(timed_lab)
    found = [ran[board.unit] for board in timed_lab.boards]
    assert [verdict["verdict"] for verdict in found] == ["PASS", "FAIL", "PASS"]
    assert found[1]["finding"] == "chip.absent"
    mcu = start_again(timed_lab, 1)
    try:
        assert sorted(map(str, verdicts(timed_lab))) == ["PASS", "PASS-ALREADY", "PASS-ALREADY"]
    finally:
        stop([mcu])


@pytest.mark.parametrize("step", ["generate", "import"])
def test_a_board_that_is_reset_in_a_step_gets_one_identity(timed_lab: Lab, step: str) -> None:
    unit = timed_lab.boards[0].unit
    command = [
        *PROGRAM,
        "line",
        "run",
        "--config",
        timed_lab.rig_configs["rig-a"],
        "--panel",
        timed_lab.panel,
        "--json",
    ]
    mcu = mcu_of(timed_lab, 0)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rig:
        assert rig.stdout is not None
        for event in map(json.loads, rig.stdout):
            if (event["event"], event.get("unit"), event.get("step")) == ("step.begin", unit, step):
                os.kill(mcu.pid, signal.SIGKILL)
                mcu = start_again(timed_lab, 0)
    try:
        assert set(verdicts(timed_lab, rig="rig-b")) <= DONE
        alive = [issued for issued in certificates(timed_lab) if issued["state"] == "confirmed"]
        assert len(alive) == BOARDS
        assert sorted(str(birth["unit_serial"]) for birth in births(timed_lab)) == [b.unit for b in timed_lab.boards]
    finally:
        stop([mcu])
