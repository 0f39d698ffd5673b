# SPDX-License-Identifier: Apache-2.0
"""What a benchmark gives: rows, each with the floor that was measured in the same run."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import msgspec

ROUNDS = 5


class Row(msgspec.Struct, frozen=True):
    """
    One figure. `ratio` is how near the figure is to its floor: 1 is the floor itself.

    For times and bytes it is value / floor (more is worse), for rates value / floor of rates (less is worse).
    """

    name: str
    value: float
    unit: str
    floor: float
    ratio: float
    note: str


def row(name: str, value: float, unit: str, floor: float, note: str) -> Row:
    """Return a row with its ratio."""
    return Row(name, round(value, 4), unit, round(floor, 4), round(value / floor, 3), note)


def seconds_per_call(call: Callable[[], Any], calls: int) -> float:
    """Return the median over ROUNDS of the mean seconds of `calls` calls."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(calls):
            call()
        rounds.append((time.perf_counter() - begun) / calls)
    return median(rounds)
