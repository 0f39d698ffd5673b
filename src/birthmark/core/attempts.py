# SPDX-License-Identifier: Apache-2.0
"""
What the rigs of a line know together of the attempts at their units: one row for each verdict on a board.

Plain data between the line and its stores, which may not import each other. What counts is decided by the line
(`line.attempts`), what it amounts to is in `line.yields`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TypeAlias

import msgspec

from birthmark.core.work import NEVER, UnitWork, WorkState


class Outcome(StrEnum):
    """What an attempt counts as. The unit's state is another matter: a bad contact fails an attempt and no unit."""

    PASSED = "passed"
    FAILED = "failed"
    """The board may not go on, for a reason at the board or at its place in the fixture."""
    UNTRIED = "untried"
    """It says nothing of board or fixture: CA, network, disk, order, or a unit that may not be worked on."""
    REPEATED = "repeated"
    """The unit had passed before."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One verdict on one board. `step` is the last that was begun, `faults` those of communication that were retried.

    `outcome`, `nth`, `ended_at` and `number` are the store's to say: `nth` counts the unit's attempts that passed or
    failed, whichever rig they were at, and is 0 for one that did neither; `number` counts all attempts of a store.
    """

    unit: str
    rig: str
    run: str
    position: int
    operator: str
    product: str
    order: str
    verdict: str
    site: str = ""
    line: str = ""
    station: str = ""
    fixture: str = ""
    finding: str = ""
    step: str = ""
    board_s: float = 0.0
    step_ms: Mapping[str, float] = field(default_factory=dict)
    faults: int = 0
    outcome: Outcome = Outcome.UNTRIED
    nth: int = 0
    ended_at: datetime = NEVER
    number: int = 0

    @property
    def began_at(self) -> datetime:
        """Return when the board was begun with."""
        return self.ended_at - timedelta(seconds=self.board_s)


@dataclass(frozen=True, slots=True)
class OwedEnd:
    """The end of an attempt that is to be told: what its unit becomes by it, if the attempt's run has it in work."""

    attempt: Attempt
    state: WorkState
    leased: bool


# What a unit's record becomes by an attempt's end, and the attempt as it counts.
Ending: TypeAlias = Callable[[UnitWork, datetime], tuple[UnitWork, Attempt]]


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, and before `until`."""

    since: datetime
    until: datetime


class Grain(IntEnum):
    """How finely cells are cut: by all but time, or by time, rig and order alone, in spans of so many hours."""

    PLACES = 0
    HOURS = 1
    DAYS = 24
    """Of 24 hours, from the beginning of the period's first hour on."""


class Cell(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """
    How many attempts of a period ended alike, and how many faults were retried in them. An array on the wire.

    `hour` is when the span began (Grain.HOURS, DAYS), else NEVER; with it all names but the rig's and the order's are
    empty, and the position is 0. `first`: they were the first attempts of their units that passed or failed. `step` and
    `finding` are empty for those that passed or were repeated.
    """

    hour: datetime
    rig: str
    position: int
    operator: str
    fixture: str
    order: str
    step: str
    finding: str
    outcome: Outcome
    first: bool
    attempts: int
    faults: int


@dataclass(frozen=True, slots=True)
class KeepUnits:
    """What the units' store keeps: attempts that ended since then, and records of units that were done since then."""

    attempts_since: datetime
    units_since: datetime
