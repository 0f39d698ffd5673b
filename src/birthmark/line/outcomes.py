# SPDX-License-Identifier: Apache-2.0
"""
What a verdict means for the unit: whether it counts as a failure of the unit, and what may come next.

A failure counts when the board may be its cause. What rig, CA, database, order or operator did is not the board's.
"""

from typing import Final

from birthmark.core.work import WorkState
from birthmark.line.journal import Result

COMMUNICATION: Final = ("chip.absent", "chip.communication")
"""Counted apart, as faults."""
NOT_THE_UNITS: Final = (
    "ca.",
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


def state_after(result: Result, finding: str) -> WorkState:
    """Return what becomes of a unit that was worked on."""
    match result:
        case Result.PASS | Result.PASS_ALREADY | Result.RESUMED:
            return WorkState.DONE
        case Result.QUARANTINE:
            return WorkState.QUARANTINED
        case _:
            return WorkState.OPEN if finding.startswith((*COMMUNICATION, *NOT_THE_UNITS)) else WorkState.FAILED
