# SPDX-License-Identifier: Apache-2.0
"""
pytest: boards that a rig personalises, as fixtures, for factories whose tests are pytest's.

    pytest --birthmark-station http://127.0.0.1:8080 --birthmark-unit BM-000463 --birthmark-unit BM-000464

The panel is run once in a session, when the first test wants it. A test that wants `birthmark_board` runs once for
each unit. A board that did not pass is for the test to judge; where nothing was learnt about it, the fixture fails.
pytest loads this module whether or not a test uses it: what it needs is imported when it is used.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from birthmark.frameworks.station import StationClient
    from birthmark.line.results import PanelResult, PlaceResult

EMPTY: Final = "-"
"""A unit's place that is not worked on."""
NO_UNIT: Final = "say which boards are there: --birthmark-unit UNIT"
END_S: Final = 120
"""What a station of ours gets to finish its panel."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    group = parser.getgroup("birthmark", "birthmark: boards that get their identity from a rig")
    group.addoption("--birthmark-station", metavar="URL", help="A running station (birthmark line serve).")
    group.addoption("--birthmark-rig", metavar="FILE", help="A rig.toml: its station runs as long as the tests.")
    group.addoption("--birthmark-operator", metavar="NAME", default="", help="The badge of who works here.")
    group.addoption(
        "--birthmark-unit",
        metavar="UNIT",
        action="append",
        default=[],
        help="The label in the next place of the fixture; - for a place that is left out. Once for each place.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let a test of one board run for every unit of the command line."""
    if "birthmark_board" in metafunc.fixturenames:
        units = enumerate(metafunc.config.getoption("--birthmark-unit"))
        boards = {unit: index for index, unit in units if unit != EMPTY}
        if boards:  # without one the fixture says so: a test of no board must not pass for skipped
            metafunc.parametrize("birthmark_board", boards.values(), ids=boards, indirect=True)


@pytest.fixture(scope="session")
def birthmark_station(request: pytest.FixtureRequest) -> "Iterator[StationClient]":
    """The rig's station: for tests that run panels of their own."""
    from birthmark.frameworks.station import StationClient  # noqa: PLC0415 see above

    url, rig = (request.config.getoption(name) for name in ("--birthmark-station", "--birthmark-rig"))
    if bool(url) is bool(rig):
        raise pytest.UsageError("say --birthmark-station URL or --birthmark-rig FILE")
    if url:
        yield StationClient(url)
        return
    with _serving(rig) as own_url:
        yield StationClient(own_url)


@pytest.fixture(scope="session")
def birthmark_panel(request: pytest.FixtureRequest, birthmark_station: "StationClient") -> "PanelResult":
    """How the panel of the command line ended. It runs once in a session, also when several workers share that."""
    units = request.config.getoption("--birthmark-unit")
    if not units:
        raise pytest.UsageError(NO_UNIT)
    return birthmark_station.run(
        [None if unit == EMPTY else unit for unit in units],
        request.config.getoption("--birthmark-operator"),
        os.environ.get("PYTEST_XDIST_TESTRUNUID", ""),
    )


@pytest.fixture
def birthmark_board(request: pytest.FixtureRequest, birthmark_panel: "PanelResult") -> "PlaceResult":
    """How one board of the panel ended; its verdict stands in pytest's own reports too, as properties of the test."""
    from birthmark.frameworks.station import demand_a_verdict  # noqa: PLC0415 see above

    if not hasattr(request, "param"):
        raise pytest.UsageError(NO_UNIT)
    board: PlaceResult = birthmark_panel.places[request.param]
    told = ("unit", "verdict", "finding", "certificate_sha256")
    request.node.user_properties.extend((f"birthmark_{name}", getattr(board, name)) for name in told)
    demand_a_verdict(birthmark_panel, board)
    return board


@contextmanager
def _serving(rig: str) -> Iterator[str]:
    """Run a rig's station as long as the block runs; yield its address."""
    command = [sys.executable, "-m", "birthmark.cli", "line", "serve", "--config", rig]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 our own program
        try:
            assert process.stdout is not None  # noqa: S101 it is a pipe
            ready = process.stdout.readline()
            if not ready:
                raise pytest.UsageError(f"the station of {rig} did not start: it said why on stderr")
            yield json.loads(ready)["ready"]
        finally:
            process.terminate()
            process.wait(END_S)
