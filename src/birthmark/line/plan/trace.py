# SPDX-License-Identifier: Apache-2.0
"""What one simulated run leaves behind: where each board's and each panel's time went, and who was busy."""

from collections.abc import Mapping
from dataclasses import dataclass

from birthmark.line.journal import Step
from birthmark.line.plan.board import Where
from birthmark.line.plan.bounds import HOUR_S, Resource

Spent = Mapping[tuple[Step, Where], float]
"""Seconds by step and by who was busy."""


@dataclass(frozen=True, slots=True)
class BoardTrace:
    """One board: when its verdict came, and where its time went. `faults` counts failed talks with its chip."""

    decided_s: float
    passed: bool
    faults: int
    spent: Spent

    @property
    def chip_s(self) -> float:
        """Return the seconds inside calls to the chip: its own, the bus's, and the wait for the bus."""
        return sum(seconds for (_, where), seconds in self.spent.items() if where in {Where.CHIP, Where.BUS})


@dataclass(frozen=True, slots=True)
class PanelTrace:
    """One panel: the moments of its way, and its boards. `takeovers` counts the rigs that died with it."""

    arrived_s: float
    taken_s: float
    offered_s: float
    decided_s: float
    left_s: float
    takeovers: int
    boards: tuple[BoardTrace, ...]

    @property
    def panel_s(self) -> float:
        """Return the seconds from the boards being offered to the last verdict."""
        return self.decided_s - self.offered_s

    @property
    def passed(self) -> int:
        """Return how many boards may go on."""
        return sum(board.passed for board in self.boards)

    @property
    def last_board(self) -> BoardTrace:
        """Return the board for which the panel waited."""
        return max(self.boards, key=lambda board: board.decided_s)


@dataclass(frozen=True, slots=True)
class FloorRun:
    """A run behind its warm-up. `in_system` is the mean number of panels between arriving and leaving."""

    panels: tuple[PanelTrace, ...]
    window_s: float
    utilisation: Mapping[Resource, float]
    in_system: float

    @property
    def panels_per_h(self) -> float:
        """Return how many panels left per hour."""
        return len(self.panels) * HOUR_S / self.window_s

    @property
    def boards_per_h(self) -> float:
        """Return how many boards passed per hour."""
        return sum(panel.passed for panel in self.panels) * HOUR_S / self.window_s

    @property
    def yield_share(self) -> float:
        """Return the share of the boards that passed."""
        boards = [board for panel in self.panels for board in panel.boards]
        return sum(board.passed for board in boards) / len(boards)
