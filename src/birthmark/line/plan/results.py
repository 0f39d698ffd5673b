# SPDX-License-Identifier: Apache-2.0
"""The plan: what the simulation says, frozen, and ready for JSON. Field names carry their units."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final

import msgspec

# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom; beyond ten, upper bounds by class.
_T95: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
_T95_FROM: Final = ((121, 1.980), (61, 2.000), (41, 2.021), (31, 2.042), (21, 2.086), (16, 2.131), (11, 2.201))


class Estimate(msgspec.Struct, frozen=True):
    """A mean over replications, and half the width of its 95 % confidence interval."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.mean:,.1f} ± {self.half_width:,.1f}"


class PanelTime(msgspec.Struct, frozen=True):
    """Seconds from boards offered to the last verdict, over all panels of all replications."""

    p50_s: float
    p95_s: float
    p99_s: float


class ResourceUse(msgspec.Struct, frozen=True):
    """
    One resource: its limit in panels per hour (none: no limit), and the share of time that it is busy.

    `busy_at_takt` is at the planned rhythm, `busy_at_capacity` with a panel always waiting.
    """

    resource: str
    limit_panels_per_h: float | None
    busy_at_takt: float
    busy_at_capacity: float


class StepShare(msgspec.Struct, frozen=True):
    """One step of the boards for which their panels waited: mean seconds, by who was busy."""

    step: str
    seconds: float
    chip_s: float
    bus_s: float
    software_s: float
    ca_s: float
    network_s: float
    waiting_s: float


class CostItem(msgspec.Struct, frozen=True):
    """One part of what a good board costs."""

    item: str
    per_board: float


class RigsOption(msgspec.Struct, frozen=True):
    """
    What the line does with so many rigs.

    `capacity` is with a panel always waiting and no failures. `boards_per_h` is at the takt, failures and repairs
    included, over whole years. `stopped_h_per_year` is when no rig is alive, of 8,766 h.
    """

    rigs: int
    capacity_boards_per_h: Estimate
    boards_per_h: Estimate
    availability: float
    stopped_h_per_year: float
    cost_per_board: float | None
    cost_items: tuple[CostItem, ...]


class Binding(msgspec.Struct, frozen=True):
    """What limits the line: a resource, and the step in which the last board of a panel spends the most time."""

    resource: str
    step: str
    step_s: float


class Comparison(msgspec.Struct, frozen=True):
    """A measured run beside the model of it; a ratio is model through measurement."""

    source: str
    boards: int
    measured_panel_s: float
    model_panel_s: float
    panel_ratio: float
    measured_chip_s: float
    model_chip_s: float
    chip_ratio: float


class Plan(msgspec.Struct, frozen=True):
    """Everything that the planner found."""

    chip: str
    positions: int
    boards_per_panel: int
    takt_s: float
    rigs: int
    panel: PanelTime
    boards_per_h: Estimate
    first_run_yield: float
    binding: Binding
    resources: tuple[ResourceUse, ...]
    steps: tuple[StepShare, ...]
    options: tuple[RigsOption, ...]
    second_rig_boards_per_h: Estimate
    currency: str
    replications: int
    panels: int
    seed: int
    measured: tuple[Comparison, ...] = ()

    def option(self, rigs: int) -> RigsOption:
        """Return what so many rigs come to. Raises KeyError for a number that was not asked."""
        return {option.rigs: option for option in self.options}[rigs]


def estimate(values: Sequence[float]) -> Estimate:
    """Return mean and confidence interval of two or more replications."""
    mean = fmean(values)
    return Estimate(mean, _t95(len(values) - 1) * stdev(values) / math.sqrt(len(values)))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many per cent do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def _t95(degrees: int) -> float:
    if degrees <= len(_T95):
        return _T95[degrees - 1]
    return next(quantile for start, quantile in _T95_FROM if degrees >= start)
