# SPDX-License-Identifier: Apache-2.0
"""The plan for a person at a terminal: what binds first, then where the time goes, then what more rigs buy."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from birthmark.line.plan.bounds import HOUR_S, Resource
from birthmark.line.plan.calibration import TOLERANCE, holds
from birthmark.line.plan.results import Comparison, Plan, RigsOption

_BAR_COLUMNS = 20
_SHOWN = 0.00005
"""Of a cost per board, what four decimals show."""
_PARTS = (
    ("chip_s", "blue"),
    ("bus_s", "cyan"),
    ("software_s", "green"),
    ("ca_s", "magenta"),
    ("network_s", "yellow"),
    ("waiting_s", "red"),
)


def show(console: Console, plan: Plan) -> None:
    """Print the plan."""
    if plan.measured:
        _show_measured(console, plan.measured)
    _show_head(console, plan)
    _show_steps(console, plan)
    _show_limits(console, plan)
    _show_rigs(console, plan)
    console.print(
        f"\n± is half the 95 % confidence interval over {plan.replications} replications of {plan.panels} panels, "
        f"seed {plan.seed}.",
        style="dim",
    )


def _show_head(console: Console, plan: Plan) -> None:
    takt = f"a panel every {plan.takt_s:g} s" if plan.takt_s else "a panel always waiting"
    rigs = "1 rig" if plan.rigs == 1 else f"{plan.rigs} rigs"
    console.print(f"{plan.chip}, {plan.boards_per_panel} boards on a panel of {plan.positions}, {takt}, {rigs}\n")
    console.print(Text.assemble((plan.binding.resource, "bold"), f" {_verb(plan)}", _margin(plan)))
    table = _table("", "")
    table.show_header = False
    table.add_row("boards per hour", f"{plan.boards_per_h} good")
    limit = plan.option(plan.rigs).capacity_boards_per_h
    table.add_row("at the limit", f"{limit} good, with a panel always waiting and no failures")
    panel = plan.panel
    table.add_row("panel", f"p50 {panel.p50_s:.3f} s   p95 {panel.p95_s:.3f} s   p99 {panel.p99_s:.3f} s")
    table.add_row("first-run yield", f"{plan.first_run_yield:.2%}")
    console.print(table)


def _verb(plan: Plan) -> str:
    return "binds" if plan.binding.resource in {Resource.TAKT, Resource.BUS, Resource.SOFTWARE} else "bind"


def _margin(plan: Plan) -> str:
    step = f"; the longest step is {plan.binding.step}, {plan.binding.step_s * 1e3:.0f} ms"
    good = plan.boards_per_panel * plan.first_run_yield
    limit = plan.option(plan.rigs).capacity_boards_per_h.mean
    if not plan.takt_s or not good or not limit:
        return step
    return f": {plan.takt_s:g} s are asked for, {HOUR_S * good / limit:.3f} s can be kept{step}"


def _show_steps(console: Console, plan: Plan) -> None:
    console.print("\nWhere the time of a panel's last board goes, in milliseconds", style="bold")
    table = _table("step", "", "all", "chip", "bus", "software", "CA", "network", "waiting")
    longest = max(step.seconds for step in plan.steps) or 1.0
    for step in plan.steps:
        parts = [(getattr(step, name), colour) for name, colour in _PARTS]
        bar = Text()
        for seconds, colour in parts:
            bar.append("█" * round(seconds / longest * _BAR_COLUMNS), colour)
        table.add_row(step.step, bar, *(_ms(value) for value in (step.seconds, *(value for value, _ in parts))))
    total = sum(step.seconds for step in plan.steps)
    sums = [sum(getattr(step, name) for step in plan.steps) for name, _ in _PARTS]
    table.add_row("all", "", *(_ms(value) for value in (total, *sums)), style="bold")
    console.print(table)


def _show_limits(console: Console, plan: Plan) -> None:
    console.print("\nWhat limits the line", style="bold")
    table = _table("resource", "panels/h at most", "busy as planned", "busy at the limit")
    for each in plan.resources:
        limit = "" if each.limit_panels_per_h is None else f"{each.limit_panels_per_h:,.0f}"
        table.add_row(each.resource, limit, f"{each.busy_at_takt:.0%}", f"{each.busy_at_capacity:.0%}")
    console.print(table)


def _show_rigs(console: Console, plan: Plan) -> None:
    console.print("\nWhat more rigs buy", style="bold")
    cost = (f"{plan.currency}/board",) if plan.currency else ()
    table = _table("rigs", "boards/h at most", "boards/h over years", "alive", "stopped h/y", *cost)
    for option in plan.options:
        table.add_row(*_rigs_row(option), style="bold" if option.rigs == plan.rigs else "")
    console.print(table)
    console.print(f"a second rig: {plan.second_rig_boards_per_h} boards per hour more")
    chosen = plan.option(plan.rigs)
    if chosen.cost_items:
        parts = ", ".join(f"{item.item} {item.per_board:.4f}" for item in chosen.cost_items if item.per_board >= _SHOWN)
        console.print(f"a good board with {chosen.rigs}: {parts or 'nothing'} {plan.currency}")


def _rigs_row(option: RigsOption) -> tuple[str, ...]:
    row = (
        str(option.rigs),
        str(option.capacity_boards_per_h),
        str(option.boards_per_h),
        f"{option.availability:.2%}",
        f"{option.stopped_h_per_year:.1f}",
    )
    return row if option.cost_per_board is None else (*row, f"{option.cost_per_board:.4f}")


def _show_measured(console: Console, measured: tuple[Comparison, ...]) -> None:
    console.print("The model beside what was measured; software and CA are taken from the first file", style="bold")
    table = _table("boards", "panel s", "model s", "ratio", "chip s", "model s", "ratio", "", "file")
    for each in measured:
        table.add_row(
            str(each.boards),
            f"{each.measured_panel_s:.3f}",
            f"{each.model_panel_s:.3f}",
            f"{each.panel_ratio:.2f}",
            f"{each.measured_chip_s:.3f}",
            f"{each.model_chip_s:.3f}",
            f"{each.chip_ratio:.2f}",
            Text("holds", "green") if holds(each) else Text(f"> {TOLERANCE:.0%} off", "bold red"),
            Text(each.source, overflow="fold"),
        )
    console.print(table)
    console.print()


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        left = name in {"", "file"}
        table.add_column(name, justify="left" if left else "right", no_wrap=not left, overflow="fold")
    return table


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}" if seconds else "·"
