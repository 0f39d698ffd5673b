# SPDX-License-Identifier: Apache-2.0
"""
Chance, by seed: times with a spread, faults, and the lives of rigs.

Every board has a stream of its own, named by run, panel and position. So a board meets the same luck however many
rigs there are, and two scenarios are compared under the same chances.
"""

import math
from random import Random
from typing import Final

from birthmark.line.plan.scenario import Scenario


class Chance:
    """The luck of one thing in the simulation. Not for secrets."""

    def __init__(self, *name: object) -> None:
        self._random: Final = Random("/".join(map(str, name)))  # noqa: S311 a simulation, repeatable by its seed

    def time(self, mean_s: float, spread: float) -> float:
        """Return a time with this mean and this coefficient of variation, log-normal: never negative, skewed right."""
        if mean_s <= 0 or spread <= 0:
            return mean_s
        variance = math.log1p(spread * spread)
        return self._random.lognormvariate(math.log(mean_s) - variance / 2, math.sqrt(variance))

    def strikes(self, probability: float) -> bool:
        """Say whether something that happens with this probability happens now."""
        return self._random.random() < probability

    def life(self, mean: float) -> float:
        """Return the time until something that does not age happens (exponential)."""
        return self._random.expovariate(1 / mean)

    def pick(self, count: int) -> int:
        """Return a number below `count`, each as likely."""
        return self._random.randrange(count)


def board_chance(scenario: Scenario, replication: int, panel: int, position: int) -> Chance:
    """Return the luck of one board."""
    return Chance(scenario.run.seed, replication, "board", panel, position)
