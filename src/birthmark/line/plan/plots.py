# SPDX-License-Identifier: Apache-2.0
"""
The plan as figures, PNG or SVG, drawn without a display; the same plan gives the same file.

Colours are Okabe and Ito's, which people with any colour vision tell apart; lines are labelled where they end.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from birthmark.line.plan.results import Plan
from birthmark.line.plan.scenario import Scenario
from birthmark.line.plan.sweeps import Curve, asked_per_h, ca_curves, failure_curves, takt_curves

Format = Literal["png", "svg"]
_INK: Final = "#222222"
_FAINT: Final = "#9a9a9a"
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73")
_PARTS: Final = (
    ("chip", "chip_s", "#0072B2"),
    ("bus", "bus_s", "#56B4E9"),
    ("rig's software", "software_s", "#009E73"),
    ("CA", "ca_s", "#CC79A7"),
    ("network", "network_s", "#F0E442"),
    ("waiting", "waiting_s", "#D55E00"),
)
# Any: matplotlib types its settings as a dictionary of some 300 literal names, which no other module needs to spell.
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _FAINT,
    "axes.labelcolor": _INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.titlepad": 12.0,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "legend.frameon": False,
    "svg.hashsalt": "birthmark",
    "svg.fonttype": "none",
}
_DPI: Final = 110
_LOG: Final = "log"


def draw(scenario: Scenario, plan: Plan, folder: Path, kind: Format) -> tuple[Path, ...]:
    """Write the four figures to the folder, which is made when it is not there; return their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_STYLE):
        figures = {
            "takt": _takt(scenario, plan),
            "time": _time(plan),
            "failures": _failures(scenario),
            "ca": _ca(scenario),
        }
        return tuple(_save(figure, folder / f"line-plan-{name}.{kind}", kind) for name, figure in figures.items())


def _save(figure: Figure, path: Path, kind: Format) -> Path:
    figure.savefig(path, dpi=_DPI, metadata={"Date": None} if kind == "svg" else {"Software": None})
    return path


def _takt(scenario: Scenario, plan: Plan) -> Figure:
    figure, axes = _figure("Good boards per hour, by the takt that is asked for")
    curves = takt_curves(scenario)
    takts = curves[0].x
    asked = Curve("asked for", takts, tuple(asked_per_h(scenario, takt) for takt in takts))
    axes.plot(asked.x, asked.y, color=_FAINT, linestyle=(0, (4, 3)), linewidth=1.2, label="asked for")
    _lines(axes, curves)
    axes.set_ylim(0, max(value for curve in curves for value in curve.y) * 1.25)
    axes.set_xlim(0, max(takts) * 1.1)
    if plan.takt_s:
        _mark(axes, plan.takt_s, "planned")
    axes.set_xlabel("takt, seconds per panel")
    axes.yaxis.set_major_formatter(_thousands())
    axes.legend(loc="upper center")
    return figure


def _time(plan: Plan) -> Figure:
    figure, axes = _figure("Where the time of a panel's last board goes")
    names = [step.step for step in plan.steps]
    left = [0.0] * len(names)
    for label, field, colour in _PARTS:
        widths = [getattr(step, field) * 1e3 for step in plan.steps]
        if any(widths):
            axes.barh(names, widths, left=left, color=colour, label=label, height=0.62)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    for row, end in enumerate(left):
        axes.text(end + max(left) * 0.01, row, f"{end:.0f}", va="center", color=_INK)
    axes.set_xlim(0, max(left) * 1.1)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("milliseconds")
    axes.legend(loc="lower right")
    return figure


def _failures(scenario: Scenario) -> Figure:
    boards, stopped = failure_curves(scenario)
    figure = Figure(figsize=(7.2, 3.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_title("Good boards per hour over years")
    right.set_title("Hours per year with no rig alive")
    for axes, curves in ((left, boards), (right, stopped)):
        _lines(axes, curves)
        axes.set_xscale(_LOG)
        axes.xaxis.set_major_formatter(_thousands())
        axes.set_xlabel(f"mean hours between a rig's failures (repair: {scenario.faults.mttr_h:g} h)")
        if scenario.faults.mtbf_h:
            _mark(axes, scenario.faults.mtbf_h, "planned" if axes is left else "")
    left.yaxis.set_major_formatter(_thousands())
    right.set_yscale("symlog", linthresh=1)
    right.set_ylim(bottom=0)
    right.yaxis.set_major_formatter(_thousands())
    left.legend(loc="center right")
    return figure


def _ca(scenario: Scenario) -> Figure:
    figure, axes = _figure("Panel time, by the way to the CA and when nonces are fetched")
    curves = ca_curves(scenario)
    _lines(axes, curves)
    axes.set_ylim(0, max(value for curve in curves for value in curve.y) * 1.15)
    axes.set_xlim(left=0)
    _mark(axes, scenario.ca.round_trip_ms, "planned")
    axes.set_xlabel("round trip to the CA, milliseconds")
    axes.set_ylabel("seconds that 95 % of the panels keep")
    axes.legend(loc="lower right")
    return figure


def _figure(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.2, 3.7), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _lines(axes: Axes, curves: Sequence[Curve]) -> None:
    # The first line lies on top, and is the thinnest: where lines run together, all of them are seen.
    for number, (curve, colour) in enumerate(zip(curves, _COLOURS, strict=False)):
        width = 1.6 + 1.2 * number
        axes.plot(curve.x, curve.y, color=colour, linewidth=width, label=curve.name, zorder=9 - number)
        axes.plot(curve.x, curve.y, color=colour, linestyle="", marker="o", markersize=2.2 + width, zorder=9 - number)


def _mark(axes: Axes, at: float, text: str) -> None:
    axes.axvline(at, color=_INK, linewidth=0.8, linestyle=":")
    axes.annotate(text, (at, 0), (4, 5), xycoords=("data", "axes fraction"), textcoords="offset points", color=_INK)


def _thousands() -> FuncFormatter:
    return FuncFormatter(lambda value, _: f"{value:,.0f}")
