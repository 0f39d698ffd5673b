# SPDX-License-Identifier: Apache-2.0
"""
What no line can exceed: closed forms, after the operational laws of queueing networks.

A resource with `c` servers that a panel needs for `d` seconds serves at most `c / d` panels per second, whatever
else happens. That boards wait for each other keeps a line below the smallest of these bounds.
"""

from dataclasses import dataclass
from enum import StrEnum

from birthmark.line.plan.board import StepWork, board_way
from birthmark.line.plan.scenario import Nonces, Scenario, Sharing

HOUR_S = 3600.0
_MS = 1e-3


class Resource(StrEnum):
    """What panels may wait for."""

    TAKT = "takt"
    RIG = "rigs"
    OPERATOR = "operators"
    BUS = "bus"
    SOFTWARE = "rig software"
    CA = "CA workers"


@dataclass(frozen=True, slots=True)
class Bound:
    """`panels_per_h` is None where a resource is no limit."""

    resource: Resource
    panels_per_h: float | None


def board_s(scenario: Scenario) -> float:
    """Return the mean seconds of one board that waits for nobody, from being offered to its verdict."""
    return sum(_step_s(scenario, work) for work in board_way(scenario)) + _nonce_wait_s(scenario)


def step_s(scenario: Scenario) -> dict[str, float]:
    """Return the mean seconds of each step of a board that waits for nobody."""
    return {work.step.value: _step_s(scenario, work) for work in board_way(scenario)}


def cycle_s(scenario: Scenario) -> float:
    """Return the mean seconds that a panel whose boards wait for nobody keeps a nest."""
    line = scenario.line
    return line.load_s + scenario.rig.power_s + board_s(scenario) + line.unload_s


def bounds(scenario: Scenario) -> tuple[Bound, ...]:
    """Return the bound of each resource, in panels per hour over all rigs."""
    line, rig, ca = scenario.line, scenario.rig, scenario.ca
    way = board_way(scenario)
    # A panel in a waiting nest has its nonces when its turn comes, however long they take.
    hidden_s = _nonce_wait_s(scenario) if ca.nonces is Nonces.AHEAD else 0.0
    head_s = rig.power_s + board_s(scenario) - hidden_s
    per_rig_s = max(head_s, cycle_s(scenario) / rig.nests)
    ca_s = scenario.boards * (ca.nonce_ms + ca.enrol_ms) * _MS
    software_s = scenario.boards * sum(work.software_s for work in way)
    return (
        _bound(Resource.TAKT, 1, line.takt_s),
        _bound(Resource.RIG, line.rigs, per_rig_s),
        _bound(Resource.OPERATOR, line.operators, line.load_s + line.unload_s),
        _bound(Resource.BUS, line.rigs, scenario.boards * _bus_s(scenario, way)),
        _bound(Resource.SOFTWARE, line.rigs * rig.cores, software_s),
        _bound(Resource.CA, ca.workers, ca_s),
    )


def _bound(resource: Resource, servers: int, seconds: float) -> Bound:
    return Bound(resource, servers * HOUR_S / seconds if seconds > 0 else None)


def _step_s(scenario: Scenario, work: StepWork) -> float:
    chip_s = sum(call.out_s + call.busy_s + call.back_s for call in work.calls)
    ca_s = 0.0 if work.ca_s is None else work.ca_s + scenario.ca.round_trip_ms * _MS
    return work.software_s + chip_s + ca_s


def _nonce_wait_s(scenario: Scenario) -> float:
    """Return how long a board waits for its nonce, behind what happens meanwhile."""
    ca = scenario.ca
    call_s = (ca.nonce_ms + ca.round_trip_ms) * _MS
    steps = step_s(scenario)
    match ca.nonces:
        case Nonces.AHEAD:
            hidden_s = scenario.line.load_s + scenario.rig.power_s + steps["observe"] + steps["generate"]
        case Nonces.OVERLAPPED:
            hidden_s = steps["generate"]
        case Nonces.LATE:
            hidden_s = 0.0
    return max(0.0, call_s - hidden_s)


def _bus_s(scenario: Scenario, way: tuple[StepWork, ...]) -> float:
    """Return how long one board keeps a bus that it shares."""
    calls = [call for work in way for call in work.calls]
    match scenario.chip.bus:
        case Sharing.NONE:
            return 0.0
        case Sharing.TRANSFER:
            return sum(call.out_s + call.back_s for call in calls)
        case Sharing.COMMAND:
            return sum(call.out_s + call.busy_s + call.back_s for call in calls)
