# SPDX-License-Identifier: Apache-2.0
"""What the demo shows: boards live, then the steps, the field, the attacks and one summary."""

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from birthmark.testing.attacks.catalogue import TITLE_WIDTH, Result
from birthmark.testing.demo.field import FieldDay
from birthmark.testing.demo.figures import step_spreads
from birthmark.testing.demo.report import CERTIFICATE_LIMIT_BYTES, PANEL_LIMIT_S, PANEL_OVER_FLOOR_LIMIT, Report
from birthmark.testing.lab.rig import STEPS, Event, PanelRun

_DONE, _TODO = "●", "○"
_COLOURS = {"PASS": "green", "PASS-ALREADY": "green", "RESUMED": "green", "SKIP": "dim"}


class BoardsView:
    """One row per board that fills up while the rig works; use as a context manager around the run."""

    def __init__(self, console: Console, units: list[str]) -> None:
        self._steps: dict[str, list[str]] = {unit: [] for unit in units}
        self._verdicts: dict[str, Event] = {}
        self._notice = ""
        self._console = console
        # Drawn on the display's own beat, not at every event: the boards need the processor more.
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=8)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
        if not self._console.is_terminal:
            self._console.print()  # rich ends the table of a display that is not live without a line end

    def watch(self, event: Event) -> None:
        """Take one event of the rig into the picture."""
        match event["event"]:
            case "step":
                self._steps[event["unit"]].append(event["step"])
            case "verdict":
                self._verdicts[event["unit"]] = event
            case "hold":
                self._notice = f"HOLD: {event['what']}; {event['hint']}"
            case "resume":
                self._notice = ""
            case _:
                pass

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), caption=self._notice, caption_style="yellow")
        for name in ("board", "steps", "", "seconds", ""):
            table.add_column(name, no_wrap=True)
        for unit, steps in self._steps.items():
            dots = Text(_DONE * len(steps), "green") + Text(_TODO * (len(STEPS) - len(steps)), "dim")
            table.add_row(unit, dots, *self._outcome(unit, steps))
        return table

    def _outcome(self, unit: str, steps: list[str]) -> tuple[Text, str, str]:
        event = self._verdicts.get(unit)
        if event is None:
            return Text(steps[-1] if steps else "waiting", "dim"), "", ""
        why = f"{event['finding']}: {event['reason']}" if event["finding"] else ""
        return Text(event["verdict"], _COLOURS.get(event["verdict"], "bold red")), f"{event['board_s']:.3f}", why


def show_steps(console: Console, run: PanelRun) -> None:
    """Print the table of steps: median, 95th percentile and the chip's share of each."""
    console.print()
    table = Table(box=None, pad_edge=False)
    table.add_column("step")
    for name in ("p50 ms", "p95 ms", "chip's share"):
        table.add_column(name, justify="right")
    for name, step in step_spreads(run).items():
        table.add_row(name, f"{step.p50_ms:.1f}", f"{step.p95_ms:.1f}", f"{step.chip_share:.0%}")
    console.print(table)


def show_panel(console: Console, report: Report) -> None:
    """Print the panel's time against its limit and against the chip's own floor."""
    within = "bold green" if report.panel_s <= PANEL_LIMIT_S else "bold red"
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_row(
        "panel", Text(f"{report.panel_s:.3f} s", within), f"{report.boards} boards; {PANEL_LIMIT_S:.1f} s allowed"
    )
    facts.add_row("chip and bus alone", f"{report.chip_floor_s:.3f} s", "one board, nothing else running")
    facts.add_row("panel over that", f"{report.panel_over_chip_floor:.2f} ×", f"{PANEL_OVER_FLOOR_LIMIT} is the aim")
    facts.add_row("our software", f"{report.software_s.p50 * 1000:.0f} ms", "per board, median")
    facts.add_row("certificate", f"{report.certificate_bytes} B", f"evidence inside; {CERTIFICATE_LIMIT_BYTES} allowed")
    console.print(facts)


def show_field(console: Console, days: tuple[FieldDay, ...], report_line: str) -> None:
    """Print one line about the field, and one for each board that had trouble."""
    console.print(report_line)
    for day in days:
        if day.trouble:
            console.print(Text(f"  {day.unit}  {day.trouble}", "red"))


def show_threat(console: Console, threat: str) -> None:
    """Print the heading of the attacks that follow."""
    console.print(f"  {threat}", style="bold")


def show_attack(console: Console, result: Result) -> None:
    """Print one attack as it ends."""
    word = Text("REFUSED", "green") if result.refused else Text("BREACH ", "bold white on red")
    console.print(Text.assemble("    ", word, f"  {result.title:<{TITLE_WIDTH}} ", (result.finding, "cyan")))


def show_summary(console: Console, report: Report) -> None:
    """Print the one summary: everything held, or what did not."""
    if report.not_held:
        console.print(Panel("\n".join(report.not_held), title="DID NOT HOLD", border_style="red", expand=False))
        return
    refused = sum(row.refused for row in report.attacks)
    console.print(
        Panel(
            f"{report.passed} of {report.boards} boards have a hardware-attested identity\n"
            f"{report.cloud.onboarded} connected with keys that never left their chips, all rotated\n"
            f"{refused} of {len(report.attacks)} attacks refused",
            title="EVERYTHING HELD",
            border_style="green",
            expand=False,
        )
    )
