# SPDX-License-Identifier: Apache-2.0
"""
A factory's own programs run boards at a real rig: the command line, a station's REST, OpenHTF and pytest.

The rig has four places: two of the lab's boards lie in it, then one where no board answers, then a third board.
"""

import json
import signal
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import openhtf
import pytest
from junitparser import JUnitXml, xunit2
from openhtf.core.test_record import Outcome
from openhtf.output.callbacks.json_factory import OutputToJSON
from openhtf.util.configuration import CONF

from birthmark.frameworks.errors import RigTrouble, StationAway, StationRefused
from birthmark.frameworks.openhtf import ATTACHMENT, UNITS, personalise_board, personalise_panel
from birthmark.frameworks.station import StationClient, demand_a_verdict
from birthmark.testing.lab.files import OPERATOR
from birthmark.testing.lab.record import Lab
from support.documents import ROOT
from support.labs import birthmark, one_board_panel, running_lab
from support.stations import Station, serving, station_config

BOARDS = 3
ABSENT = "apdu:unix=/nowhere/board.sock"
ABSENT_PLACE = 3


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("fit") / "lab", boards=BOARDS) as lab:
        yield lab


@pytest.fixture(scope="module")
def config(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chips = [board.chip for board in lab.boards]
    chips.insert(ABSENT_PLACE - 1, ABSENT)
    return station_config(tmp_path_factory.mktemp("fit-rig"), Path(lab.rig_configs["rig-a"]), chips)


@pytest.fixture(scope="module")
def station(config: Path) -> Iterator[Station]:
    with serving(config) as station:
        yield station


@pytest.fixture(scope="module")
def units(lab: Lab, station: Station) -> list[str]:
    """The units, which have their identities from the first panel."""
    first, second, last = (board.unit for board in lab.boards)
    panel = StationClient(station.url).run([first, second, None, last], OPERATOR)
    assert [place.verdict for place in panel.places] == ["PASS", "PASS", "SKIP", "PASS"]
    return [first, second, last]


# --- the client ------------------------------------------------------------------------------------------------


def test_a_program_hears_how_each_board_ended(station: Station, units: list[str]) -> None:
    panel = StationClient(station.url).run([*units[:2], "BM-000777", units[2]], OPERATOR)
    assert (panel.state, panel.verdict) == ("done", "FAIL")
    assert [place.passed for place in panel.places] == [True, True, False, True]
    assert {"observe", "prove"} <= panel.places[0].step_ms.keys()
    absent = panel.places[ABSENT_PLACE - 1]
    assert (absent.finding, absent.to_blame) == ("chip.absent", False)
    demand_a_verdict(panel, *panel.places[:2])
    with pytest.raises(RigTrouble, match="place 3, BM-000777") as trouble:
        demand_a_verdict(panel, *panel.places)
    assert trouble.value.finding == "chip.absent"


def test_a_call_that_is_repeated_runs_no_panel_again(station: Station, units: list[str]) -> None:
    client = StationClient(station.url)
    assert client.run(units[:1], OPERATOR, "once") == client.run(units[:1], OPERATOR, "once")
    with pytest.raises(StationRefused, match="another panel") as refused:
        client.run(units[:2], OPERATOR, "once")
    assert refused.value.finding == "line.station.key"


def test_a_station_that_is_started_anew_in_mid_panel_ends_it(lab: Lab, config: Path, units: list[str]) -> None:
    """The CA says nothing, the station is killed and comes back at its address: the caller notices none of it."""
    own = station_config(config.parent / "anew", Path(lab.rig_configs["rig-b"]), [board.chip for board in lab.boards])
    ended: list[object] = []
    (ca,) = (process.pid for process in lab.processes if process.name == "ca")
    with serving(own) as first:
        signalled(ca, signal.SIGSTOP)
        try:
            client = StationClient(first.url)
            caller = threading.Thread(target=lambda: ended.append(client.run(units[:1], OPERATOR, "anew").verdict))
            caller.start()
            wait_for_a_panel(first)
            first.process.kill()
            first.process.wait()
            with serving(own, first.port):
                signalled(ca, signal.SIGCONT)
                caller.join(60)
        finally:
            signalled(ca, signal.SIGCONT)
    assert ended == ["PASS"]


def signalled(pid: int, what: signal.Signals) -> None:
    subprocess.run(["kill", f"-{what.name.removeprefix('SIG')}", str(pid)], check=True)


def wait_for_a_panel(station: Station) -> None:
    """Return once a board is being worked on."""
    done = birthmark_floor(station)
    while done["phase"] != "running":
        done = birthmark_floor(station)


def birthmark_floor(station: Station) -> dict[str, Any]:
    asked = subprocess.run(["curl", "-s", f"{station.url}/v1/floor"], capture_output=True, text=True, check=True)
    floor: dict[str, Any] = json.loads(asked.stdout)
    return floor


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "no address", "https://[", ""])
def test_a_station_that_is_not_there_is_said_so(url: str) -> None:
    with pytest.raises(StationAway) as away:
        StationClient(url).run(["BM-000001"])
    assert away.value.finding == "net.station"


# --- the command line ------------------------------------------------------------------------------------------


def test_the_last_line_of_a_run_is_its_result(lab: Lab, tmp_path: Path) -> None:
    junit = tmp_path / "panel.xml"
    run = ("line", "run", "--config", lab.rig_configs["rig-b"], "--panel", one_board_panel(lab), "--json")
    done = birthmark(*run, "--junit", junit)
    result = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, result["event"], result["verdict"], result["passed"]) == (0, "result", "PASS", 1)
    (suite,) = JUnitXml.fromfile(str(junit))
    assert [case.name for case in suite] == [lab.boards[0].unit]
    assert (suite.failures, suite.errors) == (0, 0)


def test_a_run_that_stopped_says_so_in_its_last_line_and_in_the_junit(lab: Lab, tmp_path: Path) -> None:
    junit, broken = tmp_path / "panel.xml", Path(lab.rig_configs["rig-b"]).with_name("broken.toml")
    broken.write_text(Path(lab.rig_configs["rig-b"]).read_text().replace("pki/trust.pem", "pki/rig-b.key"))
    run = ("line", "run", "--config", broken, "--panel", one_board_panel(lab), "--json")
    done = birthmark(*run, "--junit", junit)
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert (done.returncode, result["state"], result["verdict"]) == (3, "stopped", "FAIL")
    assert result["finding"] in done.stderr
    (suite,) = JUnitXml.fromfile(str(junit))
    assert (suite.tests, suite.errors) == (1, 1)


def test_a_junit_file_that_cannot_be_written_fails_the_command_but_no_board(lab: Lab) -> None:
    run = ("line", "run", "--config", lab.rig_configs["rig-b"], "--panel", one_board_panel(lab), "--json")
    done = birthmark(*run, "--junit", "/nowhere/panel.xml")
    assert done.returncode == 3
    assert json.loads(done.stdout.splitlines()[-1])["verdict"] == "PASS"
    assert "/nowhere/panel.xml" in done.stderr


@pytest.mark.parametrize(("places", "code", "verdict"), [((0, 1), 0, "PASS"), ((0, None, "BM-000778"), 1, "FAIL")])
def test_a_station_is_called_from_the_command_line(
    station: Station, units: list[str], places: Sequence[object], code: int, verdict: str
) -> None:
    labels = [units[each] if isinstance(each, int) else each or "-" for each in places]
    done = birthmark("line", "call", "--station", station.url, "--operator", OPERATOR, *map(str, labels))
    (line,) = done.stdout.splitlines()
    assert (done.returncode, json.loads(line)["verdict"]) == (code, verdict)


def test_what_a_station_refuses_is_a_line_and_an_exit_code() -> None:
    done = birthmark("line", "call", "--station", "http://127.0.0.1:1", "BM-000001")
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.startswith("birthmark: net.station: ")


# --- OpenHTF ---------------------------------------------------------------------------------------------------


class Records:
    """What OpenHTF hands to its output callbacks."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "record.json"
        self.to_json = OutputToJSON(str(self.path), inline_attachments=False)

    def one(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(self.path.read_text())
        return record


def executed(records: Records, dut: str, *phases: object) -> tuple[bool, dict[str, Any]]:
    """Run an OpenHTF test as a factory does, and return its word and its record."""
    test = openhtf.Test(*phases, test_name="personalisation")
    test.configure(failure_exceptions=())
    test.add_output_callbacks(records.to_json)
    passed = test.execute(test_start=lambda: dut)
    return passed, records.one()


@pytest.fixture
def records(station: Station, tmp_path: Path) -> Iterator[Records]:
    CONF.load(birthmark_station=station.url, birthmark_operator=OPERATOR, birthmark_place=1)
    yield Records(tmp_path)
    CONF.reset()


def measured(record: Mapping[str, Any], name: str) -> Any:
    (phase,) = (phase for phase in record["phases"] if phase["name"].startswith("personalise_"))
    return phase["measurements"][name]["measured_value"]


def test_openhtf_gives_one_board_its_identity(records: Records, units: list[str]) -> None:
    passed, record = executed(records, units[0], personalise_board)
    assert passed
    assert (record["outcome"], record["dut_id"]) == ("PASS", units[0])
    ((_, verdict), *skipped) = measured(record, "birthmark_verdict")
    assert verdict in {"PASS", "PASS-ALREADY"}
    assert {word for _, word in skipped} == {"SKIP"}
    assert [step for _, step, _ in measured(record, "birthmark_step_ms")][:2] == ["power", "observe"]
    (phase,) = (phase for phase in record["phases"] if phase["name"] == "personalise_board")
    assert phase["attachments"].keys() == {ATTACHMENT}


def test_openhtf_gives_a_panel_its_identities(records: Records, units: list[str]) -> None:
    def scan(test: Any) -> None:
        test.state[UNITS] = units[:2]

    passed, record = executed(records, "panel-7", scan, personalise_panel)
    assert passed
    assert [number for number, *_ in measured(record, "birthmark_board_s")] == [1, 2]


@pytest.mark.usefixtures("units")
def test_a_board_that_may_not_go_on_fails_the_openhtf_test(records: Records) -> None:
    """Another label on the first unit's board."""
    passed, record = executed(records, "BM-000790", personalise_board)
    assert not passed
    assert record["outcome"] == "FAIL"
    assert measured(record, "birthmark_verdict")[0] == [1, "QUARANTINE"]


def test_what_is_not_the_boards_fault_is_an_error_of_the_openhtf_test(records: Records) -> None:
    CONF.load(birthmark_place=ABSENT_PLACE, _override=True)
    passed, record = executed(records, "BM-000779", personalise_board)
    assert not passed
    assert record["outcome"] == "ERROR"
    assert "chip.absent" in json.dumps(record["outcome_details"])


def test_a_station_that_is_away_is_an_error_of_the_openhtf_test(records: Records, units: list[str]) -> None:
    CONF.load(birthmark_station="http://127.0.0.1:1", _override=True)
    passed, record = executed(records, units[0], personalise_board)
    assert not passed
    assert Outcome[record["outcome"]] is Outcome.ERROR


# --- pytest ----------------------------------------------------------------------------------------------------

FACTORY = """
def test_the_board_has_its_identity(birthmark_board):
    assert birthmark_board.passed, birthmark_board.finding

def test_the_panel_is_fast_enough(birthmark_panel):
    assert birthmark_panel.panel_s < 60
"""


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    """A folder with a factory's tests, and what an installed birthmark says of itself to pytest."""
    about = tmp_path / "installed" / "birthmark_here-0.dist-info"
    about.mkdir(parents=True)
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    lines = "".join(f"{name} = {module}\n" for name, module in entries.items())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: birthmark-here\nVersion: 0\n")
    (about / "entry_points.txt").write_text(f"[pytest11]\n{lines}")
    (tmp_path / "test_factory.py").write_text(FACTORY)
    return tmp_path


def factory_run(factory: Path, *options: str | Path) -> subprocess.CompletedProcess[str]:
    path = [str(factory / "installed"), *(each for each in sys.path if each)]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(path)}
    command = [sys.executable, "-W", "error", "-m", "pytest", "-v", "-p", "no:cacheprovider", *map(str, options)]
    return subprocess.run(
        command,
        cwd=factory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_pytest_judges_each_board_of_a_panel(factory: Path, station: Station, units: list[str]) -> None:
    asked = ("--birthmark-station", station.url, "--birthmark-operator", OPERATOR)
    boards = [f"--birthmark-unit={unit}" for unit in (*units[:2], "-", units[2])]
    done = factory_run(factory, *asked, *boards, "--junitxml", factory / "all.xml")
    assert done.returncode == 0, done.stdout
    for unit in units:
        assert f"test_the_board_has_its_identity[{unit}] PASSED" in done.stdout
    (suite,) = xunit2.JUnitXml.fromfile(str(factory / "all.xml"))
    told = {each.name: each.value for each in next(iter(suite)).properties()}
    assert told["birthmark_unit"] == units[0]


@pytest.mark.usefixtures("units")
def test_a_board_without_identity_fails_and_a_rigs_trouble_is_an_error(factory: Path, station: Station) -> None:
    asked = ("--birthmark-station", station.url, "--birthmark-operator", OPERATOR)
    boards = [f"--birthmark-unit={unit}" for unit in ("BM-000791", "-", "BM-000780")]
    done = factory_run(factory, *asked, *boards)
    assert done.returncode == 1
    assert "test_the_board_has_its_identity[BM-000791] FAILED" in done.stdout
    assert "test_the_board_has_its_identity[BM-000780] ERROR" in done.stdout


def test_pytest_can_run_the_rigs_station_itself(factory: Path, lab: Lab, units: list[str]) -> None:
    asked = ("--birthmark-rig", Path(lab.rig_configs["rig-b"]), "--birthmark-operator", OPERATOR)
    done = factory_run(factory, *asked, f"--birthmark-unit={units[0]}")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ((), "--birthmark-station"),
        (("--birthmark-unit=BM-000001",), "--birthmark-station"),
        (("--birthmark-station=http://127.0.0.1:1",), "--birthmark-unit"),
    ],
)
def test_without_a_station_or_a_unit_a_test_is_an_error_and_not_skipped(
    factory: Path, options: Sequence[str], missing: str
) -> None:
    done = factory_run(factory, *options)
    assert "2 errors" in done.stdout
    assert f"UsageError: say {'which boards are there: ' if missing.endswith('unit') else ''}{missing}" in done.stdout
    assert done.returncode == 1


def test_pytest_runs_that_want_no_board_load_nothing_of_ours(factory: Path) -> None:
    (factory / "test_factory.py").write_text(
        "import sys\n"
        "def test_nothing(): assert [each for each in sys.modules if each.startswith('birthmark')] ==\\\n"
        "    ['birthmark', 'birthmark.frameworks', 'birthmark.frameworks.pytest_plugin']\n"
    )
    done = factory_run(factory)
    assert done.returncode == 0, done.stdout
