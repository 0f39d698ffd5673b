# SPDX-License-Identifier: Apache-2.0
"""
What a rig may make of a unit's record at the CA. Pure: no store, no clock.

The line's own state machine runs at the rig, which may be hostile. Held here is what one rig must not do to another:

* a unit that another rig has leased is left alone until the lease ends;
* a lease is the caller's own, and no longer than LEASE_MAX;
* only who holds a unit says what came of it; counts go up one by one;
* a unit in quarantine, or without attempts, is reopened by a decision alone, which names a person and a reason.

Who that person is, the CA cannot know. docs/reference/line.md says what a hostile rig can do all the same.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import CONFLICT, FORBIDDEN, MALFORMED
from birthmark.ca.errors import Refused
from birthmark.core.attempts import Attempt
from birthmark.core.work import UnitWork, WorkState

LEASE_MAX: Final = timedelta(seconds=300)
_COUNTS: Final = ("failures", "faults", "interruptions")
_STOPPED: Final = frozenset({WorkState.SPENT, WorkState.QUARANTINED})
_REWORKABLE: Final = _STOPPED | {WorkState.FAILED, WorkState.IN_WORK}


def demand_change(before: UnitWork, after: UnitWork, rig: str, at: datetime) -> None:
    """
    Pass what this rig may make of a record at this moment.

    Raises:
        Refused: ca.work.leased, ca.work.lease, ca.work.stopped, ca.work.decision, ca.work.record.

    """
    if after == before:
        return
    if (after.tries, after.passes) != (before.tries, before.passes):
        raise _malformed(before, "attempts are counted when they end")
    leased = before.state is WorkState.IN_WORK and at < before.lease_until
    if leased and before.holder.rig != rig:
        raise Refused(CONFLICT, "ca.work.leased", f"{before.unit} is leased by {before.holder.rig}")
    if after.unit != before.unit or after.changed_at not in {before.changed_at, at}:
        raise _malformed(before, "another unit, or a moment of its own")
    if after.lease_until != before.lease_until and not at <= after.lease_until <= at + LEASE_MAX:
        raise Refused(FORBIDDEN, "ca.work.lease", f"a lease ends now, or within {LEASE_MAX.total_seconds():g} s")
    if after.state is WorkState.IN_WORK:
        _demand_lease(before, after, rig)
    elif after.reworks > before.reworks or before.state is not WorkState.IN_WORK:
        _demand_decision(before, after, rig, leased=leased)
        return
    elif before.holder.rig != rig or after.holder != before.holder:
        raise Refused(FORBIDDEN, "ca.work.lease", f"what came of {before.unit} says who had it in work")
    _demand_counted(before, after)


def demand_attempt(before: UnitWork, after: UnitWork, attempt: Attempt, rig: str, at: datetime) -> None:
    """
    Pass the end of an attempt at this rig, and what this rig may make of the unit's record by it.

    It counts also at a unit that another rig has leased meanwhile, whose record it leaves as it is.

    Raises:
        Refused: as `demand_change`; ca.work.attempt.

    """
    if (attempt.unit, attempt.rig, attempt.ended_at) != (before.unit, rig, at):
        raise Refused(FORBIDDEN, "ca.work.attempt", f"an attempt at {before.unit} ends now, and at {rig}")
    if attempt.nth not in {0, after.tries} or not {after.tries - before.tries, after.passes - before.passes} <= {0, 1}:
        raise _malformed(before, "attempts are counted one by one")
    demand_change(before, replace(after, tries=before.tries, passes=before.passes), rig, at)


def _demand_lease(before: UnitWork, after: UnitWork, rig: str) -> None:
    if before.state in _STOPPED:
        raise Refused(CONFLICT, "ca.work.stopped", f"{before.unit} is {before.state}: somebody has to decide first")
    if after.holder.rig != rig or not after.holder.run:
        raise Refused(FORBIDDEN, "ca.work.lease", f"{rig} takes a lease for itself, and says for which run")


def _demand_counted(before: UnitWork, after: UnitWork) -> None:
    """Pass counts that went up by one at most; what persons have said stays."""
    steps = {getattr(after, name) - getattr(before, name) for name in _COUNTS}
    if not steps <= {0, 1} or after.reworks != before.reworks:
        raise _malformed(before, "counts go up one by one")
    if (after.by, after.reason) != (before.by, before.reason):
        raise _malformed(before, "what a person decided stays until the next decision")


def _demand_decision(before: UnitWork, after: UnitWork, rig: str, *, leased: bool) -> None:
    """Pass an override of a quarantine, or a rework of what did not pass and is at no rig now."""
    counts = [getattr(after, name) for name in _COUNTS]
    overridden = before.state is WorkState.QUARANTINED and after.reworks == before.reworks
    reworked = before.state in _REWORKABLE and after.reworks == before.reworks + 1 and not any(counts) and not leased
    kept = counts == [getattr(before, name) for name in _COUNTS]
    if after.state is not WorkState.OPEN or not (reworked or (overridden and kept)):
        raise Refused(CONFLICT, "ca.work.stopped", f"{before.unit} is {before.state}: it cannot become {after.state}")
    if not after.by.strip() or not after.reason.strip():
        raise Refused(FORBIDDEN, "ca.work.decision", "who decides, and why, must be said")
    if after.holder.rig != rig:
        raise Refused(FORBIDDEN, "ca.work.decision", f"a decision names the rig where it was made, {rig}")


def _malformed(before: UnitWork, why: str) -> Refused:
    return Refused(MALFORMED, "ca.work.record", f"{before.unit} cannot become that: {why}")
