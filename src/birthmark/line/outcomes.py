# SPDX-License-Identifier: Apache-2.0
"""
What a verdict means for the unit: whether it counts as a failure of the unit, and what may come next.

A failure counts when the board may be its cause. What rig, CA, database, order or operator did is not the board's.
What a place of the fixture did is not the board's either, and yet the attempt has failed there.
"""

from typing import Final

from birthmark.core.work import WorkState
from birthmark.line.journal import Result

COMMUNICATION: Final = ("chip.absent", "chip.communication")
"""Counted apart, as faults."""
NOT_THE_UNITS: Final = (
    "ca.",
    "config.",
    "est.",
    "internal",
    "line.ca.",
    "line.disk",
    "line.hold.",
    "line.power.",
    "line.stopped",
    "line.unit.",
    "line.units.",
    "net.",
    "store.",
    "tls.",
)
"""Findings, or how they begin, that say nothing about the board."""
_BROWN_OUT: Final = "line.power.brown-out"
_QUARANTINED: Final = "line.unit.quarantined"


def blames_board(result: Result, finding: str) -> bool:
    """Say whether a verdict that is no pass may be the board's own, and not rig's, CA's, order's or operator's."""
    return result is Result.QUARANTINE or not finding.startswith((*COMMUNICATION, *NOT_THE_UNITS))


def state_after(result: Result, finding: str) -> WorkState:
    """Return what becomes of a unit that was worked on."""
    match result:
        case Result.PASS | Result.PASS_ALREADY | Result.RESUMED:
            return WorkState.DONE
        case Result.QUARANTINE:
            return WorkState.QUARANTINED
        case _:
            return WorkState.FAILED if blames_board(result, finding) else WorkState.OPEN


def tried(result: Result, finding: str) -> bool:
    """Say whether a failure is one at the board or at its place in the fixture: contacts, supply, chip, label."""
    if result is Result.QUARANTINE:
        return finding != _QUARANTINED  # that one was known before it was looked at
    return finding.startswith(_BROWN_OUT) or not finding.startswith(NOT_THE_UNITS)
