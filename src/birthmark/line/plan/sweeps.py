# SPDX-License-Identifier: Apache-2.0
"""What the figures show beside the plan: the same line under other takts, failures and distances to the CA."""

from dataclasses import dataclass
from statistics import fmean
from typing import Final

from birthmark.line.plan.bounds import HOUR_S, cycle_s
from birthmark.line.plan.planner import options, saturated, simulate, survey, with_rigs
from birthmark.line.plan.results import percentile
from birthmark.line.plan.scenario import Nonces, Scenario, changed
from birthmark.line.plan.season import HOURS_PER_YEAR

COMPARED_RIGS: Final = (1, 2)
_PANELS: Final = 20
_REPLICATIONS: Final = 3
_TAKT_FACTORS: Final = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
_FAILURES: Final = 3_000
_YEARS_MAX: Final = 1_000.0
_MTBF_H: Final = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)
_ROUND_TRIPS_MS: Final = (0.0, 10.0, 25.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0)


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a figure."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]


def takt_curves(scenario: Scenario) -> tuple[Curve, ...]:
    """Return good boards per hour over the takt in seconds, for one rig and for two; no rig fails."""
    brief = _brief(scenario)
    takts = tuple(sorted({cycle_s(scenario) * factor for factor in _TAKT_FACTORS} | {scenario.line.takt_s} - {0.0}))

    def reached(rigs: int, takt_s: float) -> float:
        runs = simulate(changed(with_rigs(brief, rigs), (("line", "takt_s", takt_s),)))
        return fmean(run.boards_per_h for run in runs)

    return tuple(Curve(_rigs(rigs), takts, tuple(reached(rigs, takt) for takt in takts)) for rigs in COMPARED_RIGS)


def failure_curves(scenario: Scenario) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """Return good boards per hour, and hours per year in which no rig is alive, over the MTBF in hours."""
    brief, own = _brief(scenario), scenario.faults.mtbf_h
    mtbfs = tuple(sorted({*_MTBF_H} | ({own} if own else set())))
    floor = survey(brief)
    found = [options(_failing(brief, mtbf), floor)[0] for mtbf in mtbfs]
    boards = tuple(
        Curve(_rigs(rigs), mtbfs, tuple(rows[rigs - 1].boards_per_h.mean for rows in found)) for rigs in COMPARED_RIGS
    )
    stopped = tuple(
        Curve(_rigs(rigs), mtbfs, tuple(rows[rigs - 1].stopped_h_per_year for rows in found)) for rigs in COMPARED_RIGS
    )
    return boards, stopped


def ca_curves(scenario: Scenario) -> tuple[Curve, ...]:
    """Return the seconds that 95 % of the panels keep, over the CA's round trip in ms, for each way to fetch nonces."""
    brief = saturated(_brief(scenario))
    trips = tuple(sorted({*_ROUND_TRIPS_MS, scenario.ca.round_trip_ms}))

    def panel_s(nonces: Nonces, trip_ms: float) -> float:
        runs = simulate(changed(brief, (("ca", "nonces", nonces.value), ("ca", "round_trip_ms", trip_ms))))
        return percentile([panel.panel_s for run in runs for panel in run.panels], 95)

    return tuple(Curve(f"nonce {how.value}", trips, tuple(panel_s(how, trip) for trip in trips)) for how in Nonces)


def asked_per_h(scenario: Scenario, takt_s: float) -> float:
    """Return the boards per hour that a takt asks for."""
    return HOUR_S / takt_s * scenario.boards


def _failing(scenario: Scenario, mtbf_h: float) -> Scenario:
    """Return the scenario with rigs that fail so often, over so many years that each sees about as many failures."""
    years = min(max(mtbf_h * _FAILURES / HOURS_PER_YEAR, 1.0), _YEARS_MAX)
    return changed(scenario, (("faults", "mtbf_h", mtbf_h), ("run", "years", years)))


def _rigs(rigs: int) -> str:
    return "1 rig" if rigs == 1 else f"{rigs} rigs"


def _brief(scenario: Scenario) -> Scenario:
    run = scenario.run
    return changed(
        scenario,
        (
            ("run", "panels", min(run.panels, _PANELS)),
            ("run", "warm_up_panels", min(run.warm_up_panels, _PANELS)),
            ("run", "replications", min(run.replications, _REPLICATIONS)),
        ),
    )
