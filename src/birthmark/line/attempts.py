# SPDX-License-Identifier: Apache-2.0
"""
What an attempt at a unit counts as: pure, decided out of the unit's record when the attempt ends.

| the unit had | the verdict is | outcome |
|---|---|---|
| passed before | any | repeated |
| not passed | PASS, RESUMED | passed |
| not passed | PASS-ALREADY, after an interruption | passed: the run that passed it could not note it |
| not passed | PASS-ALREADY | repeated: it passed where these rigs did not see it |
| not passed | FAIL, QUARANTINE, at the board or its place | failed |
| not passed | FAIL, QUARANTINE, else | untried |

A position that is marked bad has no attempt. docs/reference/yields.md says why.
"""

from dataclasses import replace
from datetime import datetime

from birthmark.core.attempts import Attempt, Ending, Outcome, OwedEnd
from birthmark.core.work import Holder, UnitWork
from birthmark.line.journal import Result
from birthmark.line.outcomes import tried
from birthmark.line.units import UnitLimits, ended, is_held

_COUNTED = frozenset({Outcome.PASSED, Outcome.FAILED})
_PASSES = frozenset({Result.PASS, Result.PASS_ALREADY, Result.RESUMED})


def counted(work: UnitWork, attempt: Attempt, at: datetime) -> tuple[UnitWork, Attempt]:
    """Return the unit with its attempt counted, and the attempt as it counts."""
    outcome = outcome_of(work, attempt)
    nth = work.tries + 1 if outcome in _COUNTED else 0
    passes = work.passes + (Result(attempt.verdict) in _PASSES)
    return (
        replace(work, tries=max(work.tries, nth), passes=passes),
        replace(attempt, outcome=outcome, nth=nth, ended_at=at),
    )


def outcome_of(work: UnitWork, attempt: Attempt) -> Outcome:
    """Return what an attempt counts as, at a unit whose record was this before."""
    result = Result(attempt.verdict)
    if work.passes:
        return Outcome.REPEATED
    if result in _PASSES:
        seen = result is not Result.PASS_ALREADY or work.interruptions
        return Outcome.PASSED if seen else Outcome.REPEATED
    return Outcome.FAILED if tried(result, attempt.finding) else Outcome.UNTRIED


def ending_of(end: OwedEnd, limits: UnitLimits) -> Ending:
    """Return what an end makes of its unit: nothing but a count, where its run has the unit no more."""
    holder = Holder(end.attempt.rig, end.attempt.run)

    def ending(work: UnitWork, at: datetime) -> tuple[UnitWork, Attempt]:
        work, told = counted(work, end.attempt, at)
        if end.leased and is_held(work, holder):
            work = ended(work, holder, end.state, end.attempt.finding, limits, at)
        return work, told

    return ending
