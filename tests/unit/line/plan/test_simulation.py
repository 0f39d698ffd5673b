# SPDX-License-Identifier: Apache-2.0
"""The floor against what is known without simulating it: closed forms, laws, and orders between scenarios."""

import pytest
from hypothesis import given, settings

from birthmark.line.journal import Step
from birthmark.line.plan.board import Where
from birthmark.line.plan.bounds import HOUR_S, Resource, board_s, bounds, cycle_s, step_s
from birthmark.line.plan.scenario import Scenario, changed
from birthmark.line.plan.simulation import Floor
from birthmark.line.plan.trace import FloorRun
from support.plans import ALONE, scenario, scenarios

CHIPS = ["optiga-trust-m", "se050", "slb9670", "nextgen-pq", "none"]


def run(planned: Scenario, panels: int = 24, warm_up: int = 6, replication: int = 0) -> FloorRun:
    return Floor(planned, replication).run(panels, warm_up)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("nonces", ["ahead", "overlapped", "late"])
@pytest.mark.parametrize("trip_ms", [0.0, 300.0])
def test_a_board_that_waits_for_nobody_takes_the_sum_of_its_steps(chip: str, nonces: str, trip_ms: float) -> None:
    planned = scenario(
        *ALONE,
        ("chip", "model", chip),
        ("ca", "nonces", nonces),
        ("ca", "round_trip_ms", trip_ms),
        ("line", "load_s", 0.05),
    )
    for panel in run(planned).panels:
        assert panel.panel_s == pytest.approx(board_s(planned))
        steps = {step.value: sum(s for (of, _), s in panel.boards[0].spent.items() if of is step) for step in Step}
        expected = step_s(planned)
        for name, seconds in expected.items():
            waits = panel.boards[0].spent.get((Step(name), Where.WAITING), 0.0)
            assert steps[name] - waits == pytest.approx(seconds)


@pytest.mark.parametrize("rigs", [1, 2, 3])
@pytest.mark.parametrize("takt_s", [0.0, 0.3, 1.0, 5.0])
def test_without_spread_and_waiting_the_output_is_the_smaller_of_takt_and_cycle(rigs: int, takt_s: float) -> None:
    handled = (("line", "load_s", 0.3), ("line", "unload_s", 0.2), ("rig", "power_s", 0.1), ("line", "operators", 50))
    planned = scenario(*ALONE, *handled, ("line", "rigs", rigs), ("line", "takt_s", takt_s))
    expected = rigs * HOUR_S / cycle_s(planned)
    if takt_s:
        expected = min(expected, HOUR_S / takt_s)
    assert run(planned, 24, 6).panels_per_h == pytest.approx(expected)


def test_a_second_nest_hides_the_handling_behind_the_work() -> None:
    handled = (("line", "load_s", 0.1), ("line", "unload_s", 0.1), ("line", "operators", 5), ("line", "takt_s", 0.0))
    planned = scenario(*ALONE, *handled, ("rig", "nests", 2))
    assert run(planned).panels_per_h == pytest.approx(HOUR_S / board_s(planned))


@pytest.mark.parametrize(
    ("changes", "binds"),
    [
        pytest.param((("ca", "enrol_ms", 400.0), ("rig", "nests", 4), ("line", "rigs", 4)), Resource.CA, id="CA"),
        pytest.param((("chip", "bus", "command"), ("rig", "software_ms", {})), Resource.BUS, id="bus"),
        pytest.param(
            (("line", "load_s", 3.0), ("rig", "nests", 2), ("line", "rigs", 2)), Resource.OPERATOR, id="operator"
        ),
        pytest.param(
            (("rig", "software_ms", {"record": 500.0}), ("ca", "workers", 9)), Resource.SOFTWARE, id="software"
        ),
    ],
)
def test_the_smallest_bound_is_reached_but_for_what_the_boards_do_alone(
    changes: tuple[tuple[str, str, object], ...], binds: Resource
) -> None:
    planned = changed(scenario(("line", "takt_s", 0.0)), changes)
    limits = {bound.resource: bound.panels_per_h or float("inf") for bound in bounds(planned)}
    assert min(limits, key=lambda name: limits[name]) is binds
    found = run(planned, 40, 8)
    assert found.panels_per_h <= limits[binds] * 1.001
    assert found.panels_per_h >= limits[binds] * 0.8
    assert max(found.utilisation, key=lambda name: found.utilisation[name] if name is not Resource.RIG else 0) is binds


@settings(deadline=None, max_examples=60)
@given(scenarios())
def test_no_line_exceeds_its_bounds_nor_its_resources(planned: Scenario) -> None:
    # Means bound means: with a spread a short run may be lucky.
    steady = changed(
        planned, (("chip", "spread", 0.0), ("rig", "spread", 0.0), ("ca", "spread", 0.0), ("faults", "board", 0.0))
    )
    found = run(steady, 24, 6)
    per_h = found.panels_per_h
    edge = 1 + 2 * steady.line.rigs * steady.rig.nests / 24  # panels that are halfway at the window's ends
    for bound in bounds(steady):
        assert bound.panels_per_h is None or per_h <= bound.panels_per_h * edge, bound
    for resource, busy in found.utilisation.items():
        assert -1e-9 <= busy <= 1 + 1e-9, resource


@settings(deadline=None, max_examples=60)
@given(scenarios())
def test_the_moments_of_a_panel_are_in_order_and_its_time_is_accounted_for(planned: Scenario) -> None:
    for panel in run(planned, 8, 0).panels:
        assert panel.arrived_s <= panel.taken_s <= panel.offered_s <= panel.decided_s <= panel.left_s
        assert len(panel.boards) == planned.boards
        for board in panel.boards:
            assert board.decided_s - panel.offered_s == pytest.approx(sum(board.spent.values()))


@settings(deadline=None, max_examples=40)
@given(scenarios())
def test_a_second_rig_never_lowers_the_output(planned: Scenario) -> None:
    one = changed(planned, (("line", "rigs", 1),))
    two = changed(planned, (("line", "rigs", 2),))
    # The window begins and ends with a panel that leaves: one of them at each end is beside the point.
    assert run(two, 32, 8).panels_per_h >= run(one, 32, 8).panels_per_h * (1 - 2 / 32)


@settings(deadline=None, max_examples=25)
@given(scenarios())
def test_the_same_seed_gives_the_same_run(planned: Scenario) -> None:
    assert run(planned, 6, 2) == run(planned, 6, 2)


@pytest.mark.parametrize("takt_s", [0.75, 1.0, 2.0])
@pytest.mark.parametrize("rigs", [1, 2])
def test_littles_law_holds(takt_s: float, rigs: int) -> None:
    spread = (("chip", "spread", 0.4), ("ca", "spread", 1.0), ("line", "load_s", 0.1))
    found = run(scenario(*spread, ("line", "takt_s", takt_s), ("line", "rigs", rigs)), 400, 20)
    mean_s = sum(panel.left_s - panel.arrived_s for panel in found.panels) / len(found.panels)
    assert found.in_system == pytest.approx(found.panels_per_h / HOUR_S * mean_s, rel=0.02)


def test_another_seed_and_another_replication_give_other_times() -> None:
    planned = scenario(("chip", "spread", 0.2))
    reseeded = changed(planned, (("run", "seed", 2),))
    times = {
        run(planned).panels[0].panel_s,
        run(planned, replication=1).panels[0].panel_s,
        run(reseeded).panels[0].panel_s,
    }
    assert len(times) == 3


def test_times_with_a_spread_keep_their_mean() -> None:
    planned = scenario(*ALONE, ("chip", "spread", 0.5))
    found = run(planned, 800, 0)
    assert sum(panel.panel_s for panel in found.panels) / 800 == pytest.approx(board_s(planned), rel=0.02)


def test_a_full_buffer_stops_the_line_before_it() -> None:
    planned = scenario(*ALONE, ("line", "takt_s", 0.1), ("line", "buffer_panels", 3))
    found = run(planned, 30, 10)
    assert all(panel.taken_s - panel.arrived_s <= 4 * cycle_s(planned) for panel in found.panels)


# What goes wrong


def test_boards_fail_as_often_as_is_said() -> None:
    found = run(scenario(("faults", "board", 0.1), ("line", "positions", 4)), 500, 0)
    assert found.yield_share == pytest.approx(0.9, abs=0.02)


def test_a_failed_talk_is_repeated_after_another_look_and_a_second_one_fails_the_board() -> None:
    planned = scenario(*ALONE, ("faults", "communication", 0.15), ("faults", "retries", 1))
    boards = [board for panel in run(planned, 300, 0).panels for board in panel.boards]
    by_faults = {faults: {board.passed for board in boards if board.faults == faults} for faults in (0, 1, 2)}
    assert by_faults == {0: {True}, 1: {True}, 2: {False}}
    once = next(board for board in boards if board.faults == 1)
    assert once.decided_s > 0
    assert sum(once.spent.values()) > board_s(planned) + 1.0  # the block waiting time of an OPTIGA


def test_without_retries_one_failed_talk_fails_the_board() -> None:
    planned = scenario(("faults", "communication", 0.05), ("faults", "retries", 0))
    assert {(board.faults, board.passed) for p in run(planned, 80, 0).panels for board in p.boards} == {
        (0, True),
        (1, False),
    }


def failing(rigs: int) -> Scenario:
    hours = 1 / HOUR_S
    return scenario(
        ("line", "rigs", rigs),
        ("line", "positions", 2),
        ("line", "takt_s", 0.0),
        ("faults", "mtbf_h", 20 * hours),
        ("faults", "mttr_h", 10 * hours),
        ("faults", "takeover_s", 2.0),
    )


@pytest.mark.parametrize("rigs", [1, 2])
def test_a_panel_whose_rig_died_is_finished_and_none_is_lost_or_doubled(rigs: int) -> None:
    found = run(failing(rigs), 400, 0)
    assert sum(panel.takeovers for panel in found.panels) > 5
    arrived = sorted(panel.arrived_s for panel in found.panels)
    assert len(found.panels) == 400
    assert found.yield_share == 1.0
    assert len({(panel.arrived_s, panel.taken_s, panel.left_s) for panel in found.panels}) == 400
    assert arrived[0] == 0.0


def test_a_panel_is_taken_over_when_its_lease_has_ended_and_not_only_after_the_repair() -> None:
    mean_s = {}
    for rigs in (1, 2):
        taken_over = [panel for panel in run(failing(rigs), 600, 0).panels if panel.takeovers == 1]
        mean_s[rigs] = sum(panel.left_s - panel.taken_s for panel in taken_over) / len(taken_over)
        assert min(panel.left_s - panel.taken_s for panel in taken_over) >= 2.0
    assert mean_s[2] < mean_s[1] / 2


def test_a_board_that_was_broken_off_keeps_its_key() -> None:
    found = run(failing(2), 400, 0)
    for panel in found.panels:
        for board in panel.boards:
            assert board.spent[Step.GENERATE, Where.CHIP] == pytest.approx(0.055)
