# SPDX-License-Identifier: Apache-2.0
"""What a good board costs: everything that a year costs, spread over the boards that pass in it."""

from birthmark.line.plan.results import CostItem
from birthmark.line.plan.scenario import Scenario


def board_cost(scenario: Scenario, boards_per_h: float, yield_share: float, stopped_share: float) -> list[CostItem]:
    """
    Return the parts of a good board's cost; none without a `[cost]` table, or when no board passes.

    `boards_per_h` are good boards; `stopped_share` is the part of production time in which no rig is alive.
    """
    cost = scenario.cost
    if cost is None or boards_per_h <= 0 or yield_share <= 0:
        return []
    rigs, operators, hours = scenario.line.rigs, scenario.line.operators, cost.hours_per_year
    per_year = boards_per_h * hours
    return [
        CostItem("rigs", rigs * (cost.rig / cost.rig_life_years + cost.rig_upkeep_per_year) / per_year),
        CostItem("operators", operators * cost.operator_per_h * hours / per_year),
        CostItem("CA", cost.ca_per_year / per_year),
        CostItem("line stopped", stopped_share * hours * cost.stop_per_h / per_year),
        CostItem("chip", cost.chip),
        CostItem("failed boards", cost.failed_board * (1 - yield_share) / yield_share),
    ]
