# SPDX-License-Identifier: Apache-2.0
"""`birthmark line plan`: what a line will do, simulated before it is bought."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from birthmark.cli.exits import Exit
from birthmark.core.errors import ConfigError

if TYPE_CHECKING:
    from birthmark.line.plan.results import Comparison
    from birthmark.line.plan.scenario import Change, Scenario, Section

_OPTIONS: Final[dict[str, "tuple[Section, str]"]] = {
    "chip": ("chip", "model"),
    "positions": ("line", "positions"),
    "bad_per_panel": ("line", "bad_per_panel"),
    "takt_s": ("line", "takt_s"),
    "rigs": ("line", "rigs"),
    "ca_round_trip_ms": ("ca", "round_trip_ms"),
    "ca_workers": ("ca", "workers"),
    "mtbf_h": ("faults", "mtbf_h"),
    "mttr_h": ("faults", "mttr_h"),
    "seed": ("run", "seed"),
}
_FILE = click.Path(path_type=Path)


@click.command("plan")
@click.option("--scenario", type=_FILE, metavar="FILE", help="The line that is planned (TOML); options come before it.")
@click.option("--chip", metavar="MODEL", help="optiga-trust-m, se050, slb9670, nextgen-pq or none (takes no time).")
@click.option("--positions", type=int, metavar="N", help="Positions of a panel.")
@click.option("--bad-per-panel", type=int, metavar="N", help="Positions that are marked bad.")
@click.option("--takt-s", type=float, metavar="S", help="A panel comes every so many seconds; 0: one always waits.")
@click.option("--rigs", type=int, metavar="N", help="Rigs that share the work.")
@click.option("--ca-round-trip-ms", type=float, metavar="MS", help="The network's way to the CA and back.")
@click.option("--ca-workers", type=int, metavar="N", help="Calls that the CA answers at the same time.")
@click.option("--mtbf-h", type=float, metavar="H", help="Mean hours between two failures of one rig.")
@click.option("--mttr-h", type=float, metavar="H", help="Mean hours until a rig is repaired.")
@click.option("--seed", type=int, metavar="N", help="Another course of chance.")
@click.option(
    "--measured",
    type=_FILE,
    multiple=True,
    metavar="FILE",
    help="Output of line run --json. From the first the model takes software and CA; all are compared with it.",
)
@click.option("--plots", type=_FILE, metavar="DIR", help="Write four figures there.")
@click.option("--plot-format", type=click.Choice(["png", "svg"]), default="png", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The plan as one JSON object.")
def plan(
    scenario: Path | None,
    measured: tuple[Path, ...],
    plots: Path | None,
    plot_format: str,
    *,
    as_json: bool,
    **options: object,
) -> None:
    """
    Simulate a line: boards per hour, what binds, what a second rig buys, what a board costs.

    Exit code 0: here is the plan. 1: with --measured, the model is too far from what was measured. Needs
    birthmark[plan].
    """
    try:
        import birthmark.line.plan.simulation  # noqa: F401 simpy is in the extra "plan" only
    except ImportError as error:
        raise ConfigError(f"line plan: {error}", hint="install birthmark[plan]") from error
    from birthmark.line.plan.scenario import Scenario, changed, load_scenario

    given = load_scenario(scenario) if scenario else Scenario()
    changes: list[Change] = [(*_OPTIONS[name], value) for name, value in options.items() if value is not None]
    planned = changed(given, tuple(changes), "the command line")
    comparisons, planned = _compared(planned, measured)
    _show(planned, comparisons, plots, plot_format, as_json=as_json)


def _compared(scenario: "Scenario", measured: tuple[Path, ...]) -> "tuple[tuple[Comparison, ...], Scenario]":
    """Return the measured runs beside the model, and the scenario as the first of them has it."""
    from birthmark.line.plan.calibration import calibrated, compare, read_run

    runs = [read_run(path) for path in measured]
    if runs:
        scenario = calibrated(scenario, runs[0])
    return tuple(compare(scenario, run) for run in runs), scenario


def _show(
    scenario: "Scenario",
    measured: "tuple[Comparison, ...]",
    plots: Path | None,
    plot_format: str,
    *,
    as_json: bool,
) -> None:
    import msgspec
    from rich.console import Console

    from birthmark.line.plan.calibration import holds
    from birthmark.line.plan.planner import make_plan
    from birthmark.line.plan.report import show

    found = msgspec.structs.replace(make_plan(scenario), measured=measured)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        show(Console(highlight=False), found)
    if plots:
        from birthmark.line.plan.plots import draw

        for path in draw(scenario, found, plots, "svg" if plot_format == "svg" else "png"):
            click.echo(path, err=as_json)
    sys.exit(Exit.OK if all(map(holds, measured)) else Exit.NOT_HELD)
