# SPDX-License-Identifier: Apache-2.0
"""The planner's use case: simulate the line as planned, at its limit, with fewer and more rigs, and over years."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean
from typing import Final

from birthmark.line.plan.board import STEPS, Where
from birthmark.line.plan.bounds import HOUR_S, Resource, bounds
from birthmark.line.plan.cost import board_cost
from birthmark.line.plan.results import (
    Binding,
    Estimate,
    PanelTime,
    Plan,
    ResourceUse,
    RigsOption,
    StepShare,
    estimate,
    percentile,
)
from birthmark.line.plan.scenario import Scenario, changed
from birthmark.line.plan.season import HOURS_PER_YEAR, Fleet, run_season
from birthmark.line.plan.simulation import Floor
from birthmark.line.plan.trace import BoardTrace, FloorRun

_FEWEST_COMPARED: Final = 2
"""What a second rig buys is always asked."""
_NEARLY_ALWAYS: Final = 0.85
"""Busy for this share of the time, a shared resource limits the line more than the number of rigs does."""


def simulate(scenario: Scenario) -> tuple[FloorRun, ...]:
    """Return one run of the floor per replication, in which no rig fails."""
    run, rigs = scenario.run, scenario.line.rigs
    # Panels leave in rounds of one per rig: whole rounds are counted.
    panels, warm_up = -(-run.panels // rigs) * rigs, -(-run.warm_up_panels // rigs) * rigs
    alive = changed(scenario, (("faults", "mtbf_h", None),))
    return tuple(Floor(alive, number).run(panels, warm_up) for number in range(run.replications))


def with_rigs(scenario: Scenario, rigs: int) -> Scenario:
    """Return the scenario with so many rigs."""
    return changed(scenario, (("line", "rigs", rigs),))


def saturated(scenario: Scenario) -> Scenario:
    """Return the scenario with a panel always waiting."""
    return changed(scenario, (("line", "takt_s", 0.0),))


@dataclass(frozen=True, slots=True)
class Survey:
    """The floor with one rig, with two, and up to as many as planned: at its limit, and at the takt. None fails."""

    full: Mapping[int, tuple[FloorRun, ...]]
    planned: Mapping[int, tuple[FloorRun, ...]]


def survey(scenario: Scenario) -> Survey:
    """Return what the floor does; it does not depend on how often rigs fail."""
    most = max(scenario.line.rigs, _FEWEST_COMPARED)
    full = {rigs: simulate(saturated(with_rigs(scenario, rigs))) for rigs in range(1, most + 1)}
    planned = {rigs: simulate(with_rigs(scenario, rigs)) for rigs in full} if scenario.line.takt_s else full
    return Survey(full, planned)


def options(scenario: Scenario, floor: Survey) -> tuple[tuple[RigsOption, ...], Estimate]:
    """Return what each number of rigs comes to over the years, and the boards per hour that a second one adds."""
    reached = {rigs: _reached(with_rigs(scenario, rigs), floor.full, floor.planned[rigs]) for rigs in floor.full}
    rows = tuple(_option(with_rigs(scenario, rigs), floor.full[rigs], reached[rigs]) for rigs in floor.full)
    pairs = zip(reached[1].boards_per_h, reached[2].boards_per_h, strict=True)
    return rows, estimate([two - one for one, two in pairs])


def make_plan(scenario: Scenario) -> Plan:
    """Return the plan of a scenario: the same one for the same scenario, seed included."""
    chosen, floor = scenario.line.rigs, survey(scenario)
    planned, full = floor.planned[chosen], floor.full[chosen]
    rows, second = options(scenario, floor)
    panels = [panel for run in planned for panel in run.panels]
    steps = _shares([panel.last_board for panel in panels])
    times = [panel.panel_s for panel in panels]
    return Plan(
        chip=scenario.chip.model,
        positions=scenario.line.positions,
        boards_per_panel=scenario.boards,
        takt_s=scenario.line.takt_s,
        rigs=chosen,
        panel=PanelTime(*(percentile(times, percent) for percent in (50, 95, 99))),
        boards_per_h=rows[chosen - 1].boards_per_h,
        first_run_yield=fmean(run.yield_share for run in planned),
        binding=_binding(scenario, full, steps),
        resources=_resources(scenario, planned, full),
        steps=steps,
        options=rows,
        second_rig_boards_per_h=second,
        currency=scenario.cost.currency if scenario.cost else "",
        replications=scenario.run.replications,
        panels=scenario.run.panels,
        seed=scenario.run.seed,
    )


@dataclass(frozen=True, slots=True)
class _Reached:
    """What so many rigs reach over the years: good boards per hour in each replication, and the rigs' lives."""

    boards_per_h: tuple[float, ...]
    availability: float = 1.0
    stopped_h_per_year: float = 0.0


def _reached(scenario: Scenario, full: Mapping[int, tuple[FloorRun, ...]], planned: tuple[FloorRun, ...]) -> _Reached:
    """Return what the rigs of the scenario reach, given what any number of them does when none fails."""
    faults = scenario.faults
    if faults.mtbf_h is None:
        return _Reached(tuple(run.boards_per_h for run in planned))
    demand = HOUR_S / scenario.line.takt_s if scenario.line.takt_s else None
    seasons, boards_per_h = [], []
    for number, run in enumerate(planned):
        # A rig may always be left idle: more rigs do not reach less.
        alive = [full[rigs][number].panels_per_h for rigs in range(1, scenario.line.rigs + 1)]
        rates = tuple(accumulate(alive, max, initial=0.0))
        fleet = Fleet(rates, demand, scenario.line.buffer_panels, faults.mtbf_h, faults.mttr_h)
        season = run_season(fleet, scenario.run.years, scenario.run.seed, number, "season")
        # What the floor loses to the rhythm alone, because panels do not come exactly when a rig is free.
        blocking = run.boards_per_h / (rates[-1] if demand is None else min(rates[-1], demand))
        seasons.append(season)
        boards_per_h.append(season.panels_per_h * blocking)
    return _Reached(
        tuple(boards_per_h),
        availability=fmean(season.availability for season in seasons),
        stopped_h_per_year=fmean(season.stopped_h_per_year for season in seasons),
    )


def _option(scenario: Scenario, full: tuple[FloorRun, ...], reached: _Reached) -> RigsOption:
    boards_per_h = estimate(reached.boards_per_h)
    yield_share = fmean(run.yield_share for run in full)
    items = board_cost(scenario, boards_per_h.mean, yield_share, reached.stopped_h_per_year / HOURS_PER_YEAR)
    return RigsOption(
        rigs=scenario.line.rigs,
        capacity_boards_per_h=estimate([run.boards_per_h for run in full]),
        boards_per_h=boards_per_h,
        availability=reached.availability,
        stopped_h_per_year=reached.stopped_h_per_year,
        cost_per_board=sum(item.per_board for item in items) if items else None,
        cost_items=tuple(items),
    )


def _binding(scenario: Scenario, at_limit: tuple[FloorRun, ...], steps: tuple[StepShare, ...]) -> Binding:
    slowest = max(steps, key=lambda step: step.seconds)
    return Binding(_limit(scenario, at_limit).value, slowest.step, slowest.seconds)


def _limit(scenario: Scenario, at_limit: tuple[FloorRun, ...]) -> Resource:
    """Return the takt if the line can keep it; else what is busy nearly all the time, and if nothing is, the rigs."""
    takt_s = scenario.line.takt_s
    if takt_s and HOUR_S / takt_s <= fmean(run.panels_per_h for run in at_limit):
        return Resource.TAKT
    shared = [resource for resource in at_limit[0].utilisation if resource is not Resource.RIG]
    busiest = max(shared, key=lambda resource: _busy(at_limit, resource))
    return busiest if _busy(at_limit, busiest) >= _NEARLY_ALWAYS else Resource.RIG


def _resources(
    scenario: Scenario, planned: tuple[FloorRun, ...], at_limit: tuple[FloorRun, ...]
) -> tuple[ResourceUse, ...]:
    return tuple(
        ResourceUse(
            bound.resource.value,
            bound.panels_per_h,
            busy_at_takt=_busy(planned, bound.resource),
            busy_at_capacity=_busy(at_limit, bound.resource),
        )
        for bound in bounds(scenario)
        if bound.panels_per_h is not None and bound.resource is not Resource.TAKT
    )


def _busy(runs: tuple[FloorRun, ...], resource: Resource) -> float:
    return fmean(run.utilisation.get(resource, 0.0) for run in runs)


def _shares(boards: Sequence[BoardTrace]) -> tuple[StepShare, ...]:
    """Return where these boards' time went, on average."""
    shares = []
    for step in STEPS:
        spent = {where: fmean(board.spent.get((step, where), 0.0) for board in boards) for where in Where}
        shares.append(
            StepShare(
                step=step.value,
                seconds=sum(spent.values()),
                chip_s=spent[Where.CHIP],
                bus_s=spent[Where.BUS],
                software_s=spent[Where.RIG],
                ca_s=spent[Where.CA],
                network_s=spent[Where.NETWORK],
                waiting_s=spent[Where.WAITING],
            )
        )
    return tuple(shares)
