# SPDX-License-Identifier: Apache-2.0
"""
What the rigs of a line know together of one unit: who works on it, how often it failed, whether it may go on.

Plain data between the line and its stores, which may not import each other. What may follow what is decided by the
line (`line.units`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, TypeAlias

NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


class WorkState(StrEnum):
    """How far a unit is."""

    OPEN = "open"
    """No rig has it, and one may take it."""
    IN_WORK = "in-work"
    """A rig has leased it."""
    DONE = "done"
    """It has its identity and its birth record. A rig may take it to look at it again."""
    FAILED = "failed"
    """It failed, and has attempts left."""
    SPENT = "spent"
    """It has no attempts left: it waits for rework."""
    QUARANTINED = "quarantined"
    """It contradicts itself or another unit: it waits for a lead's word."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a unit in work: one run of one rig."""

    rig: str
    run: str


NOBODY: Final = Holder("", "")


@dataclass(frozen=True, slots=True)
class UnitWork:
    """
    One unit. `lease_until` counts while it is in work; the counters begin anew with a rework.

    `failures` are counted against the attempts of the recipe; `faults` of communication, and `interruptions` (a rig
    that died, a power cut) are counted apart. `by` and `reason` are those of the person who decided last.
    """

    unit: str
    state: WorkState = WorkState.OPEN
    holder: Holder = NOBODY
    lease_until: datetime = NEVER
    changed_at: datetime = NEVER
    finding: str = ""
    chip_serial: str = ""
    key_sha256: str = ""
    failures: int = 0
    faults: int = 0
    interruptions: int = 0
    reworks: int = 0
    by: str = ""
    reason: str = ""
    tries: int = 0
    passes: int = 0


# What a record becomes, out of what it is and the store's moment.
Transition: TypeAlias = Callable[[UnitWork, datetime], UnitWork]


@dataclass(frozen=True, slots=True)
class UnitChange:
    """One line of a unit's history: what it became, numbered over all units in the order of the changes."""

    number: int
    work: UnitWork = field(repr=False)
