# SPDX-License-Identifier: Apache-2.0
"""Acceptance: the rig switches its boards. A brown-out is the fixture's; no end of a run leaves a place on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from birthmark.cli.exits import Exit
from birthmark.silicon.simulator.rail import Rail
from birthmark.testing.lab.processes import stop
from birthmark.testing.lab.record import Board, Lab
from support.labs import PROGRAM, birthmark, one_board_panel, running_lab
from support.supplies import scpi_supply

BROWNED_OUT, ENDED, LEFT_ALONE = range(3)
PATIENCE_S = 30.0
SETTLES_FOR_EVER_S = 30
RULES = "minimum_v = 4.75\ncycle = true\noff_s = 0.01\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("lab"), boards=3) as lab:
        yield lab


def fed(lab: Lab, name: str, supply: str, outlet: str, rules: str = "") -> Path:
    """Write and return a rig.toml with a supply, whose recipe has demands of it."""
    rig = Path(lab.rig_configs["rig-a"])
    recipe = rig.with_name(f"recipe-{name}.toml")
    recipe.write_text(f"{rig.with_name('recipe.toml').read_text()}\n[power]\n{rules}")
    config = rig.with_name(f"rig-{name}.toml")
    own = rig.read_text().partition("\n[[fixture]]")[0]
    text = own.replace('"recipe.toml"', f'"{recipe.name}"')
    config.write_text(f'{text}\n[power]\n{supply}\n[[fixture]]\nchip = "apdu:unix=/unused"\npower = "{outlet}"\n')
    return config


@contextmanager
def on_a_rail(lab: Lab, board: Board) -> Iterator[Rail]:
    """Let the board's chip hang on a rail: its process is started anew, with what it remembers."""
    folder = lab.path / f"rail-{board.unit}"
    folder.mkdir()
    bus = Path(board.chip.removeprefix("apdu:unix="))
    stop([process for process in lab.processes if process.name == f"chip-{bus.stem}"])
    command = [sys.executable, "-m", "birthmark.silicon.simulator", "--rail", str(folder)]
    command += ["--socket", str(bus), "--state", str(bus.with_suffix(".state"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as chip:
        assert chip.stdout is not None
        assert json.loads(chip.stdout.readline())["ready"] == str(bus)
        try:
            yield Rail(folder)
        finally:
            chip.terminate()


def rail_config(lab: Lab, board: Board, rules: str) -> Path:
    return fed(lab, board.unit, 'kind = "simulated"\naddress = "."', f"rail-{board.unit}", rules)


def run(lab: Lab, config: Path, number: int) -> dict[str, str]:
    """Run one board and return its verdict."""
    done = birthmark("line", "run", "--config", config, "--panel", one_board_panel(lab, number), "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stdout, done.stderr
    (verdict,) = [event for event in events if event["event"] == "verdict"]
    return verdict


def test_a_brown_out_at_key_generation_is_told_as_one_and_leaves_the_unit_its_attempts(lab: Lab) -> None:
    board = lab.boards[BROWNED_OUT]
    with on_a_rail(lab, board) as rail:
        config = rail_config(lab, board, RULES)
        rail.arm_sag(3.3)
        verdict = run(lab, config, BROWNED_OUT)
        assert (verdict["verdict"], verdict["finding"]) == ("FAIL", "line.power.brown-out")
        assert verdict["reason"].startswith("3.300 V at place 1, at least 4.75 V are wanted; the chip's chip.")
        shown = json.loads(birthmark("line", "unit", "show", board.unit, "--config", config, "--json").stdout)
        assert (shown["state"], shown["failures"]) == ("open", 0)
        rail.mend()
        assert run(lab, config, BROWNED_OUT)["verdict"] == "PASS"
        assert not rail.period()


def test_sigterm_takes_the_power_away_and_ends_the_process_as_it_always_does(lab: Lab) -> None:
    board = lab.boards[ENDED]
    with on_a_rail(lab, board) as rail:
        config = rail_config(lab, board, f"settle_s = {SETTLES_FOR_EVER_S}")
        command = [*PROGRAM, "line", "run", "--config", str(config), "--panel", str(one_board_panel(lab, ENDED))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as rig:
            deadline_s = time.monotonic() + PATIENCE_S
            while not rail.period() and time.monotonic() < deadline_s:
                time.sleep(0.01)
            assert rail.period()
            rig.send_signal(signal.SIGTERM)
            said = rig.communicate(timeout=PATIENCE_S)
        assert rig.returncode == -signal.SIGTERM, said
        assert not rail.period()
        assert run(lab, rail_config(lab, board, ""), ENDED)["verdict"] == "PASS"


def test_a_supply_is_switched_for_the_run_and_one_that_is_silent_stops_the_line_before_any_board(
    lab: Lab, tmp_path: Path
) -> None:
    with scpi_supply("tcp", tmp_path) as supply:
        config = fed(lab, "scpi", f'kind = "scpi"\naddress = "{supply.address}"\ntimeout_s = 0.5', "2", RULES)
        assert run(lab, config, LEFT_ALONE)["verdict"] == "PASS"
        heard = supply.order()
        assert heard["outputs"] == {"1": False, "2": False}
        assert heard["heard"].count("OUTP ON") == 1
        assert heard["heard"].count("MEAS:VOLT?") >= 3
        supply.order(fault="silent")
        done = birthmark("line", "run", "--config", config, "--panel", one_board_panel(lab, LEFT_ALONE), "--json")
        assert done.returncode == Exit.UNREACHABLE
        assert "line.power.away.timeout" in done.stderr
        assert [json.loads(line)["state"] for line in done.stdout.splitlines()] == ["stopped"]
