# SPDX-License-Identifier: Apache-2.0
"""
What the rigs know of the attempts at their units, as it goes between a rig and a CA that keeps it: JSON, read strictly.

The end of an attempt is made against a version of its unit's record, as every change is (`core.work_wire`).
"""

from typing import Annotated, Final

import msgspec

from birthmark.core.attempts import Attempt, Cell, Outcome
from birthmark.core.work_wire import COUNT_MAX, Moment, Name, Number, UnitSerial, Version, WorkRecord

ATTEMPTS_MAX: Final = 500
"""Attempts that are asked for at a time."""
CELLS_MAX: Final = 100_000
"""Of one answer: the cells of three months at two rigs of eight places."""
POSITIONS_MAX: Final = 64
STEPS_MAX: Final = 32
SECONDS_MAX: Final = 1e9

_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=SECONDS_MAX)]
_StepName = Annotated[str, msgspec.Meta(pattern=r"\A[a-z-]{1,32}\Z")]
_Steps = Annotated[dict[_StepName, _Seconds], msgspec.Meta(max_length=STEPS_MAX)]


class AttemptRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One attempt (`core.attempts.Attempt`). Its `number` is the store's: 0 in what a rig sends."""

    unit: UnitSerial
    rig: Name
    run: Name
    position: Annotated[int, msgspec.Meta(ge=1, le=POSITIONS_MAX)]
    operator: Name
    product: Name
    order: Name
    verdict: Name
    site: Name
    line: Name
    station: Name
    fixture: Name
    finding: Name
    step: Name
    board_s: _Seconds
    step_ms: _Steps
    faults: _Count
    outcome: Outcome
    nth: _Count
    ended_at: Moment
    number: Number


class NewAttempt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The end of an attempt, and what its unit becomes by it: of which version that was made, with which moment."""

    version: Version
    at: Moment
    work: WorkRecord
    attempt: AttemptRecord


class AttemptAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The attempt as it is kept, or nothing when the unit's record is another one; that; the moment of the store."""

    attempt: AttemptRecord | None
    at: Moment
    work: WorkRecord


class AttemptList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attempts, and behind which end and number to go on: none at the end."""

    attempts: Annotated[tuple[AttemptRecord, ...], msgspec.Meta(max_length=ATTEMPTS_MAX)]
    next_at: Moment | None
    next_number: Number


class Passed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many attempts passed under an order, as far as they are kept."""

    passed: Number


class CellList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What attempts came to."""

    cells: Annotated[tuple[Cell, ...], msgspec.Meta(max_length=CELLS_MAX)]


def attempt_record(attempt: Attempt) -> AttemptRecord:
    """Return an attempt as it goes over the wire."""
    told = {name: getattr(attempt, name) for name in AttemptRecord.__struct_fields__}
    return AttemptRecord(**{**told, "step_ms": dict(attempt.step_ms)})


def attempt_of(record: AttemptRecord) -> Attempt:
    """Return an attempt as the line has it."""
    return Attempt(**{name: getattr(record, name) for name in record.__struct_fields__})
