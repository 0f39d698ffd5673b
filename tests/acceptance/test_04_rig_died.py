# SPDX-License-Identifier: Apache-2.0
"""Acceptance 4: "Rig 1 died mid-shift." Rig 2 goes on; nothing is lost or doubled when rig 1 comes back."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.testing.lab.processes import stop
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import start_service
from support.labs import PROGRAM, birthmark, births, certificates, run_panel, running_lab
from support.postgres import postgresql

TAKEOVER_S = 10.0
PANEL_S = 10.0
"""What the second rig needs itself, its start included, on a slow machine."""
BOARDS = 6
UNREACHABLE = 5
LAB_LEASE_S = 2.0


@pytest.fixture(params=["sqlite", "postgres", "ca"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    """A lab whose rigs share a store of units, with leases as long as they are by default."""
    with running_lab(tmp_path / "lab", boards=BOARDS) as lab:
        _put(lab, "lease_s", ())
        if request.param == "sqlite":
            yield lab
            return
        if request.param == "ca":
            _put(lab, "units_database", ('units = "ca"',))
            yield lab
            return
        with postgresql() as cluster:
            secret = lab.path / "data" / "units-dsn"
            secret.touch(0o600)
            secret.write_text(cluster.new_database())
            _put(lab, "units_database", ('units_dsn_file = "data/units-dsn"',))
            yield lab


def _put(lab: Lab, key: str, lines: tuple[str, ...]) -> None:
    """Put lines in the place of a key in every rig's file."""
    for path in map(Path, lab.rig_configs.values()):
        kept = [line for line in path.read_text().splitlines() if not line.startswith(f"{key} =")]
        path.write_text("".join(f"{line}\n" for line in (*lines, *kept)))


def kill_in_mid_panel(lab: Lab) -> float:
    """Run rig-a over the panel, kill it when the first board has its certificate, and return when that was."""
    command = [*PROGRAM, "line", "run", "--config", lab.rig_configs["rig-a"], "--panel", lab.panel, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as rig:
        assert rig.stdout is not None
        for line in rig.stdout:
            event = json.loads(line)
            if event["event"] == "step" and event["step"] == "import":
                rig.send_signal(signal.SIGKILL)
                return time.monotonic()
    pytest.fail("no board came as far as the import")


def shown(lab: Lab, unit: str) -> dict[str, object]:
    done = birthmark("line", "unit", "show", unit, "--config", lab.rig_configs["rig-b"], "--json")
    record: dict[str, object] = json.loads(done.stdout)
    return record


def agree(lab: Lab) -> None:
    """Demand that ledger, MES and the rigs' store tell the same of every unit: one identity, no failure."""
    units = sorted(board.unit for board in lab.boards)
    alive = [row["unit_serial"] for row in certificates(lab) if row["state"] in {"issued", "confirmed"}]
    assert sorted(map(str, alive)) == units
    assert sorted(str(birth["unit_serial"]) for birth in births(lab)) == units
    for unit in units:
        record = shown(lab, unit)
        assert (record["state"], record["failures"], record["faults"]) == ("done", 0, 0)


def test_the_other_rig_carries_on_within_ten_seconds_and_all_counts_agree(lab: Lab) -> None:
    died_s = kill_in_mid_panel(lab)
    verdicts = run_panel(lab, "rig-b")
    assert time.monotonic() - died_s < TAKEOVER_S + PANEL_S
    assert {str(verdict["verdict"]) for verdict in verdicts.values()} <= {"PASS", "RESUMED", "PASS-ALREADY"}, verdicts
    agree(lab)
    assert {row["interruptions"] for row in (shown(lab, board.unit) for board in lab.boards)} <= {0, 1}
    back = run_panel(lab, "rig-a")
    assert {verdict["verdict"] for verdict in back.values()} == {"PASS-ALREADY"}
    agree(lab)


@pytest.fixture
def small_lab(tmp_path: Path) -> Iterator[Lab]:
    with running_lab(tmp_path / "lab", boards=2) as lab:
        yield lab


def test_a_rig_whose_store_of_units_is_away_stops_before_it_touches_a_board(small_lab: Lab) -> None:
    nowhere = small_lab.path / "data" / "nowhere"
    nowhere.touch(0o600)
    nowhere.write_text(f"host={small_lab.path} dbname=none")
    _put(small_lab, "units_database", ('units_dsn_file = "data/nowhere"',))
    stops(small_lab)


def test_a_rig_whose_units_are_at_a_ca_that_is_away_stops_too(small_lab: Lab) -> None:
    _put(small_lab, "units_database", ('units = "ca"',))
    stop([process for process in small_lab.processes if process.name == "ca"])
    stops(small_lab)


def stops(lab: Lab) -> None:
    """Demand that a rig says why it does not begin, and touches no board."""
    done = birthmark("line", "run", "--config", lab.rig_configs["rig-b"], "--panel", lab.panel)
    assert done.returncode == UNREACHABLE
    assert done.stderr.startswith("birthmark: line.units.away: the units' store: ")
    assert len(done.stderr.splitlines()) == 1
    assert births(lab) == []


def test_a_rig_whose_ca_goes_in_mid_panel_for_longer_than_a_lease_loses_and_doubles_nothing(small_lab: Lab) -> None:
    _put(small_lab, "units_database", ('units = "ca"',))
    rig_a = small_lab.rig_configs["rig-a"]
    command = [*PROGRAM, "line", "run", "--config", rig_a, "--panel", small_lab.panel, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rig:
        assert rig.stdout is not None
        for line in rig.stdout:
            if json.loads(line)["event"] == "panel.start":
                break
        rig.send_signal(signal.SIGSTOP)
        stop([process for process in small_lab.processes if process.name == "ca"])
        rig.send_signal(signal.SIGCONT)
        time.sleep(2 * LAB_LEASE_S)
        back, _ = start_service(small_lab.path, "ca")
        ended = [json.loads(line) for line in rig.stdout if json.loads(line)["event"] == "verdict"]
    try:
        assert {verdict["verdict"] for verdict in ended} <= {"PASS", "FAIL"}
        assert {verdict["finding"] for verdict in ended} <= {"", "line.units.away", "line.unit.lease-lost"}, ended
        again = {verdict["verdict"] for verdict in run_panel(small_lab, "rig-b").values()}
        assert again <= {"PASS", "RESUMED", "PASS-ALREADY"}
        agree(small_lab)
    finally:
        stop([back])
