# SPDX-License-Identifier: Apache-2.0
"""Makes page and figures of a campaign's report out of what was measured. The same input makes the same page."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

Figures = Mapping[str, Any]
FAULTS, PANELS, SERIES, MACHINE = "fault-campaign", "panels", "series", "machine"
_INK: Final = "#222222"
_BLUE, _RED, _GREEN = "#0072B2", "#D55E00", "#009E73"
_STYLE: Final[Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.0,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e8e8e8",
    "legend.frameon": False,
}
_DPI: Final = 110
_BINS: Final = 60
_MIB: Final = 1024
HEAVY_LOAD: Final = 0.5
"""Of other programs, for each core: above it the report says that times are not what the machine can do."""


def page(report: Figures, stem: str) -> str:
    """Return the report as Markdown. Its figures are beside it: `STEM-panels.png`, and so on."""
    parts = [_head(report[MACHINE])]
    if FAULTS in report:
        parts.append("\n".join(_faults(report[FAULTS], stem)))
    if PANELS in report:
        parts.append("\n".join(_panels(report[PANELS], stem)))
    known = {FAULTS, PANELS, SERIES, MACHINE}
    parts += ["\n".join(_plain(name, report[name])) for name in sorted(report) if name not in known]
    if report.get(SERIES):
        parts.append("\n".join(_series(report[SERIES])))
    return "\n".join(parts).rstrip() + "\n"


def _head(machine: Figures) -> str:
    before, after = machine["load_before"], machine["load_after"]
    said = f"Load (1 minute): {before:.1f} before, {after:.1f} after."
    if before > HEAVY_LOAD * machine["cores"]:
        said += " The machine did other things at the same time: what is counted holds, what is timed can be better."
    rows = {
        "code": machine["commit"],
        "machine": f"{machine['cores']} cores, {machine['cpu']}, {machine['memory_gib']:.0f} GiB, {machine['system']}",
        **machine["versions"],
    }
    return (
        f"# Campaign of {machine['date']}\n\n{_table(('', ''), rows.items())}\n{said}\n[How to read this](README.md).\n"
    )


def _faults(figures: Figures, stem: str) -> Iterator[str]:
    found = len(figures["found"])
    struck = sum(figures["faults"].values())
    yield f"## {figures['boards']:,} boards at two rigs, {struck:,} faults\n"
    minutes = figures["worked_s"] / 60
    yield f"Seed {figures['seed']}; chips with the times of `{figures['latency']}`; {minutes:.0f} minutes.\n"
    rows = {
        "rows that do not agree": found,
        "chips that do not hold what the books say": len(figures["chips_that_differ"]),
        "certificates": ", ".join(f"{count:,} {state}" for state, count in sorted(figures["certificates"].items())),
        "the ledger's own check": figures["ledger_check"].strip(),
    }
    yield _table(("", ""), rows.items())
    yield f"![Faults by kind]({stem}-faults.png)\n"
    yield "What the reconciler found:\n"
    relations = ((f"{each['compared']:,}", each["found"], each["demands"]) for each in figures["relations"])
    yield _table(("rows", "wrong", "must hold"), relations, align="rrl")
    yield "How the units ended, by what their boards were worth:\n"
    yield _table(("board, last verdict", "units"), sorted(figures["kinds"].items()), align="lr")
    yield "On the way:\n"
    counts = {
        **figures["counts"],
        **{f"starts of {rig}": starts for rig, starts in figures["starts"].items()},
    }
    yield _table(("", "times"), sorted(counts.items()), align="lr")
    yield "Faults:\n"
    yield _table(("fault", "times"), sorted(figures["faults"].items()), align="lr")


def _panels(figures: Figures, stem: str) -> Iterator[str]:
    yield f"## {figures['panels']:,} panels of {figures['positions']}, {figures['bad']} marked bad\n"
    yield f"Chips with the times of `{figures['chip']}`; takt {figures['takt_s']:g} s; the station's own panel times.\n"
    spans = {"all": figures, "first hundred": figures["first"], "last hundred": figures["last"]}
    rows = (
        (name, *(f"{each[key]:.3f}" if key in each else "" for key in ("p50_s", "p95_s", "p99_s", "max_s")))
        for name, each in spans.items()
    )
    yield _table(("panels", "p50 s", "p95 s", "p99 s", "longest s"), rows, align="lrrrr")
    yield f"![Panel time over panel number]({stem}-panels.png)\n"
    yield f"![Histogram of panel times]({stem}-spread.png)\n"
    yield "Steps, of the newest 400 of each, as the station's screen shows them:\n"
    steps = (
        (name, f"{each['p50_s'] * 1e3:.1f}", f"{each['p95_s'] * 1e3:.1f}") for name, each in figures["steps"].items()
    )
    yield _table(("step", "p50 ms", "p95 ms"), steps, align="lrr")
    first, last = figures["memory_kib"][0] / _MIB, figures["memory_kib"][-1] / _MIB
    yield f"The station's memory: {first:.0f} MiB after the first panel, {last:.0f} MiB near the last.\n"


def _plain(name: str, figures: Figures) -> Iterator[str]:
    """Whatever else a series kept, as far as it is plain."""
    yield f"## {name.capitalize()}\n"
    plain = {key: value for key, value in figures.items() if isinstance(value, str | int | float)}
    yield _table(("", ""), ((key.replace("_", " "), value) for key, value in plain.items()), align="lr")


def _series(series: Sequence[Figures]) -> Iterator[str]:
    yield "## All series\n"
    rows = ((each["name"], f"{each['seconds']:.0f}", each["result"]) for each in series)
    yield _table(("test", "seconds", ""), rows, align="lrl")


def _table(head: Sequence[str], rows: Any, align: str = "") -> str:
    marks = {"l": "---", "r": "---:"}
    lines = [head, [marks[each] for each in align or "l" * len(head)], *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


# --- figures ---


def draw(report: Figures, folder: Path, stem: str) -> list[Path]:
    """Write the figures of the report; return their paths."""
    made: dict[str, Figure] = {}
    with mpl.rc_context(_STYLE):
        if FAULTS in report:
            made["faults"] = _fault_figure(report[FAULTS])
        if PANELS in report:
            made["panels"] = _time_figure(report[PANELS])
            made["spread"] = _spread_figure(report[PANELS])
        paths = []
        for name, figure in made.items():
            paths.append(folder / f"{stem}-{name}.png")
            figure.savefig(paths[-1], dpi=_DPI, metadata={"Software": None})
    return paths


def _fault_figure(figures: Figures) -> Figure:
    faults = sorted(figures["faults"].items(), key=lambda each: (each[1], each[0]))
    figure = Figure(figsize=(7.2, 0.6 + 0.22 * len(faults)), layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{sum(count for _, count in faults):,} faults while {figures['boards']:,} boards were made")
    bars = axes.barh([name for name, _ in faults], [count for _, count in faults], color=_BLUE, height=0.7)
    axes.bar_label(bars, padding=3, color=_INK)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("times")
    return figure


def _time_figure(figures: Figures) -> Figure:
    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    axes = figure.subplots()
    times = figures["panel_s"]
    axes.set_title("Panel time over panel number")
    axes.plot(range(1, len(times) + 1), times, linestyle="", marker=".", markersize=3, color=_BLUE, label="a panel")
    axes.axhline(figures["takt_s"], color=_RED, linewidth=1.2, label="takt")
    axes.axhline(figures["p99_s"], color=_GREEN, linewidth=1.2, linestyle="--", label="p99")
    axes.set_ylim(0, max(figures["takt_s"], *times) * 1.1)
    axes.set_xlabel("panel")
    axes.set_ylabel("seconds")
    axes.legend(loc="upper right", ncols=3)
    return figure


def _spread_figure(figures: Figures) -> Figure:
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"{figures['panels']:,} panel times")
    axes.hist(figures["panel_s"], bins=_BINS, color=_BLUE)
    axes.axvline(figures["p99_s"], color=_GREEN, linewidth=1.2, linestyle="--", label="p99")
    axes.axvline(figures["takt_s"], color=_RED, linewidth=1.2, label="takt")
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("panels")
    axes.legend()
    return figure
