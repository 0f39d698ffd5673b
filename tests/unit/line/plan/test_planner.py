# SPDX-License-Identifier: Apache-2.0
"""The plan: what binds, what a second rig buys, what a board costs."""

import msgspec
import pytest

from birthmark.line.plan.bounds import HOUR_S, cycle_s
from birthmark.line.plan.planner import make_plan
from birthmark.line.plan.results import Estimate, Plan, estimate, percentile
from birthmark.line.plan.scenario import CostScenario, Scenario
from support.plans import ALONE, scenario

COST = CostScenario(
    currency="EUR",
    hours_per_year=4_000.0,
    rig=30_000.0,
    rig_life_years=5.0,
    rig_upkeep_per_year=1_000.0,
    operator_per_h=40.0,
    ca_per_year=20_000.0,
    stop_per_h=500.0,
    chip=0.8,
    failed_board=12.0,
)


def with_cost(planned: Scenario) -> Scenario:
    return msgspec.structs.replace(planned, cost=COST)


def test_the_same_scenario_gives_the_same_plan_and_json_keeps_it() -> None:
    planned = with_cost(scenario(("chip", "spread", 0.2), ("faults", "mtbf_h", 100.0), ("faults", "board", 0.01)))
    plan = make_plan(planned)
    assert make_plan(planned) == plan
    assert msgspec.json.decode(msgspec.json.encode(plan), type=Plan) == plan


@pytest.mark.parametrize(
    ("changes", "resource"),
    [
        ((), "takt"),
        ((("line", "takt_s", 0.0),), "rigs"),
        ((("line", "takt_s", 0.1),), "rigs"),
        ((("line", "takt_s", 0.1), ("ca", "enrol_ms", 900.0)), "CA workers"),
        ((("line", "takt_s", 0.1), ("chip", "bus", "command")), "bus"),
        ((("line", "takt_s", 1.0), ("line", "load_s", 2.0), ("rig", "nests", 2)), "operators"),
        ((("line", "takt_s", 0.1), ("rig", "software_ms", {"record": 900.0})), "rig software"),
    ],
)
def test_what_binds_is_named(changes: tuple[tuple[str, str, object], ...], resource: str) -> None:
    assert make_plan(scenario(*changes)).binding.resource == resource


def test_the_longest_step_is_named() -> None:
    assert make_plan(scenario(*ALONE)).binding.step == "import"
    assert make_plan(scenario(*ALONE, ("chip", "model", "slb9670"))).binding.step == "generate"
    assert make_plan(scenario(("ca", "round_trip_ms", 500.0))).binding.step == "enrol"


def test_without_failures_a_second_rig_buys_nothing_at_a_takt_that_one_keeps_and_doubles_the_limit() -> None:
    plan = make_plan(scenario(*ALONE))
    assert plan.second_rig_boards_per_h.mean == pytest.approx(0)
    one, two = (plan.option(rigs).capacity_boards_per_h.mean for rigs in (1, 2))
    assert one == pytest.approx(HOUR_S / cycle_s(scenario(*ALONE)))
    assert two == pytest.approx(2 * one)


def test_with_failures_a_second_rig_buys_what_the_first_stands_still() -> None:
    failing = (("faults", "mtbf_h", 90.0), ("faults", "mttr_h", 10.0), ("run", "years", 40.0))
    plan = make_plan(scenario(*ALONE, *failing))
    assert plan.option(1).boards_per_h.mean == pytest.approx(1_800 * 0.9, rel=0.02)
    assert plan.option(2).boards_per_h.mean == pytest.approx(1_800 * 0.99, rel=0.02)
    assert plan.second_rig_boards_per_h.mean == pytest.approx(1_800 * 0.09, rel=0.15)
    assert plan.option(1).stopped_h_per_year == pytest.approx(876.6, rel=0.1)


def test_as_many_rigs_as_planned_are_compared_and_two_at_least() -> None:
    assert [option.rigs for option in make_plan(scenario()).options] == [1, 2]
    assert [option.rigs for option in make_plan(scenario(("line", "rigs", 3))).options] == [1, 2, 3]


def test_the_cost_of_a_board_is_the_year_over_its_boards() -> None:
    plan = make_plan(with_cost(scenario(*ALONE, ("line", "rigs", 2))))
    per_year = 1_800 * 4_000.0
    items = {item.item: item.per_board for item in plan.option(2).cost_items}
    assert items == pytest.approx(
        {
            "rigs": 2 * (6_000 + 1_000) / per_year,
            "operators": 40 * 4_000 / per_year,
            "CA": 20_000 / per_year,
            "line stopped": 0.0,
            "chip": 0.8,
            "failed boards": 0.0,
        }
    )
    assert plan.option(2).cost_per_board == pytest.approx(sum(items.values()))
    assert plan.option(1).cost_per_board < plan.option(2).cost_per_board


def test_failed_boards_are_paid_by_the_good_ones() -> None:
    plan = make_plan(with_cost(scenario(("faults", "board", 0.2))))
    failed = next(item.per_board for item in plan.option(1).cost_items if item.item == "failed boards")
    # Capacity and takt are simulated apart; both see the same boards fail.
    assert failed == pytest.approx(12.0 * (1 - plan.first_run_yield) / plan.first_run_yield)
    assert plan.boards_per_h.mean == pytest.approx(14_400 * plan.first_run_yield, rel=0.01)


def test_without_costs_none_are_named() -> None:
    plan = make_plan(scenario())
    assert (plan.currency, plan.option(1).cost_per_board, plan.option(1).cost_items) == ("", None, ())


def test_an_interval_is_students() -> None:
    # t with 2 degrees of freedom is 4.303; the standard error of (1, 2, 3) is 1 / sqrt(3).
    assert estimate([1.0, 2.0, 3.0]) == Estimate(2.0, pytest.approx(4.303 / 3**0.5))
    assert estimate([5.0] * 200).half_width == 0.0


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_a_value_that_occurred(percent: float, expected: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected
