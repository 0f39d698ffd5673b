# SPDX-License-Identifier: Apache-2.0
"""`birthmark line run` and `line call`: one panel, by the rig itself or by its station; the result in one line."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from birthmark.cli.exits import Exit, exit_for
from birthmark.cli.line_events import CONFIG, print_event, print_json
from birthmark.core.errors import BirthmarkError

if TYPE_CHECKING:
    from birthmark.line.results import Follower, PanelResult

EMPTY: Final = "-"
_JUNIT = click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write the result as JUnit XML.")


@click.command()
@CONFIG
@click.option(
    "--panel", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The panel: positions and units."
)
@click.option("--json", "as_json", is_flag=True, help="Every event as one JSON line; the last one is the result.")
@_JUNIT
def run(config: Path, panel: Path, junit: Path | None, *, as_json: bool) -> None:
    """Personalise one panel. Exit code 0 when every board passed or was marked bad."""
    from birthmark.line.config import load_panel, load_rig
    from birthmark.line.results import Follower
    from birthmark.line.wiring import run_panel

    began, follower = datetime.now(UTC), Follower(print_json if as_json else print_event)
    try:
        rig, positions = load_rig(config), load_panel(panel)
        follower.begin([position.unit for position in positions])
        code = run_panel(rig, positions, follower.heard)
    except BaseException as error:
        follower.stop(*_why(error))
        _tell(follower, as_json=as_json)
        with suppress(OSError):  # the last word is of what ended the run
            _write(junit, follower.result, began)
        raise
    _tell(follower, as_json=as_json)
    _write(junit, follower.result, began)
    sys.exit(code)


def _why(error: BaseException) -> tuple[str, str]:
    if isinstance(error, BirthmarkError):
        return error.finding, str(error)
    return "run.stopped" if isinstance(error, KeyboardInterrupt) else "internal", f"{type(error).__name__}: {error}"


def _tell(follower: "Follower", *, as_json: bool) -> None:
    if as_json:
        print_json(_line(follower.result))


def _write(junit: Path | None, result: "PanelResult", began: datetime) -> None:
    from birthmark.core.files import write_whole
    from birthmark.line.junit import junit_xml

    if junit is not None:
        write_whole(junit, junit_xml(result, began))


@click.command()
@click.argument("units", nargs=-1, required=True, metavar="UNIT...")
@click.option("--station", required=True, metavar="URL", help="The station, as line serve prints it.")
@click.option("--operator", default="", metavar="NAME", help="The badge of who works here; else who is logged in.")
@click.option("--key", default="", metavar="KEY", help="Run once under this key, however often it is called.")
@_JUNIT
def call(units: tuple[str, ...], station: str, operator: str, key: str, junit: Path | None) -> None:
    """
    Let a station run a panel, and print its result as one JSON line.

    UNIT is the label in each place, in their order; - for a place that is left out. Exit code 0 when every board
    passed.
    """
    from birthmark.frameworks.station import StationClient
    from birthmark.line.results import PanelState

    began = datetime.now(UTC)
    result = StationClient(station).run([None if unit == EMPTY else unit for unit in units], operator, key)
    print_json(_line(result))
    _write(junit, result, began)
    if result.state is PanelState.STOPPED:
        sys.exit(exit_for(result.finding))
    sys.exit(Exit.OK if result.verdict == "PASS" else Exit.NOT_HELD)


def _line(result: "PanelResult") -> dict[str, object]:
    from birthmark.line.results import members

    return {"event": "result", **members(result)}
