# SPDX-License-Identifier: Apache-2.0
"""
What may become of a unit's record at the rigs: a state machine without I/O and without a clock.

| from, to: | in work | done | failed, spent | quarantined | open |
|---|---|---|---|---|---|
| open, failed, done | `begun` | | | | failed: `reworked` |
| in work | `begun`, when its lease has ended: an interruption | `ended` | `ended` | `ended` | |
| in work, its lease ended; spent | | | | | `reworked` |
| quarantined | | | | | `overridden`, `reworked` |

Every function returns the record as it becomes, or raises UnitStopped. The store applies them one after the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.errors import LeaseLost, UnitInWork, UnitStopped

LEASE_S = 8.0
"""After the last sign of life of a rig, another one takes its units: together with a retry within ten seconds."""
FAILURES_MAX = 3
INTERRUPTIONS_MAX = 5
RENEWALS = 4
"""How often a lease is renewed in its time."""


@dataclass(frozen=True, slots=True)
class UnitLimits:
    """How often a unit may fail, and be interrupted, until it waits for rework; and how long a lease lasts."""

    failures: int = FAILURES_MAX
    interruptions: int = INTERRUPTIONS_MAX
    lease_s: float = LEASE_S

    def lease_end(self, at: datetime) -> datetime:
        """Return until when a lease lasts that is given now."""
        return at + timedelta(seconds=self.lease_s)


def begun(work: UnitWork, holder: Holder, limits: UnitLimits, at: datetime) -> UnitWork:
    """
    Return the unit as one that the holder works on.

    Raises:
        UnitInWork: another run has it; `retry_after_s` says for how long at least.
        UnitStopped: line.unit.quarantined, line.unit.spent, line.unit.interrupted.

    """
    interrupted = work.state is WorkState.IN_WORK and work.holder != holder
    # A rig has one run at a time (`line.wiring`): whatever else of it is said to be at work has died.
    if interrupted and at < work.lease_until and work.holder.rig != holder.rig:
        wait_s = (work.lease_until - at).total_seconds()
        raise UnitInWork(
            f"{work.unit} is with {work.holder.rig}",
            hint="its lease ends by itself; this position waits for it",
            finding="line.unit.in-work",
            retry_after_s=wait_s,
        )
    work = replace(work, interruptions=work.interruptions + interrupted)
    _demand_free(work, limits)
    return replace(work, state=WorkState.IN_WORK, holder=holder, lease_until=limits.lease_end(at), changed_at=at)


def kept(work: UnitWork, holder: Holder, limits: UnitLimits, at: datetime) -> UnitWork:
    """Return the unit with its lease renewed. Raises LeaseLost."""
    _demand_held(work, holder)
    return replace(work, lease_until=limits.lease_end(at))


def seen(work: UnitWork, holder: Holder, chip_serial: str, key_sha256: str) -> UnitWork:
    """
    Return the unit with the chip and the key that were found on it; an empty key leaves the one that is known.

    Raises:
        LeaseLost: another run has it.
        UnitStopped: line.unit.chip: it was seen with another chip.

    """
    _demand_held(work, holder)
    if work.chip_serial not in {"", chip_serial}:
        raise UnitStopped(
            f"{work.unit} was seen with chip {work.chip_serial}, now with {chip_serial}",
            hint="does the sticker belong to this board? A lead may override with a reason",
            finding="line.unit.chip",
        )
    return replace(work, chip_serial=chip_serial, key_sha256=key_sha256 or work.key_sha256)


def unseen(work: UnitWork, holder: Holder) -> UnitWork:
    """Return the unit without chip and key: they are another unit's, which is not to wait for this one. LeaseLost."""
    _demand_held(work, holder)
    return replace(work, chip_serial="", key_sha256="")


def demand_single(work: UnitWork, sharing: Sequence[UnitWork]) -> None:
    """
    Pass a unit whose chip and key no other unit was seen with: `sharing` has all that were, itself among them.

    Raises:
        UnitStopped: line.unit.twin, which names the other unit.

    """
    for other in sharing:
        if other.unit != work.unit:
            what = f"chip {work.chip_serial}" if other.chip_serial == work.chip_serial else f"key {work.key_sha256}"
            raise UnitStopped(
                f"{what} was seen in unit {other.unit} too ({other.state}, {other.holder.rig})",
                hint="two labels on one board, or one chip on two: a lead may override with a reason",
                finding="line.unit.twin",
            )


def faulted(work: UnitWork, holder: Holder) -> UnitWork:
    """Return the unit with one more fault of communication. Raises LeaseLost."""
    _demand_held(work, holder)
    return replace(work, faults=work.faults + 1)


def ended(work: UnitWork, holder: Holder, state: WorkState, finding: str, limits: UnitLimits, at: datetime) -> UnitWork:
    """
    Return the unit after its run: DONE, OPEN (nothing was decided), FAILED or QUARANTINED.

    A failure counts; the last that the limits allow makes it SPENT. Raises LeaseLost.
    """
    _demand_held(work, holder)
    failures = work.failures + (state is WorkState.FAILED)
    if state is WorkState.FAILED and failures >= limits.failures:
        state = WorkState.SPENT
    return replace(work, state=state, failures=failures, finding=finding, lease_until=at, changed_at=at)


def overridden(work: UnitWork, by: str, reason: str, at: datetime) -> UnitWork:
    """
    Return a quarantined unit as one that may be worked on; its chip and key are learnt anew.

    Raises:
        UnitStopped: line.unit.not-quarantined, line.unit.reason.

    """
    if work.state is not WorkState.QUARANTINED:
        raise UnitStopped(f"{work.unit} is {work.state}, not quarantined", finding="line.unit.not-quarantined")
    return _reopened(work, by, reason, at)


def reworked(work: UnitWork, by: str, reason: str, at: datetime) -> UnitWork:
    """
    Return a unit that did not pass as a new one, with its counters at zero.

    Raises:
        UnitStopped: line.unit.no-rework, line.unit.reason.

    """
    abandoned = work.state is WorkState.IN_WORK and at >= work.lease_until
    if not abandoned and work.state not in {WorkState.FAILED, WorkState.SPENT, WorkState.QUARANTINED}:
        raise UnitStopped(f"{work.unit} is {work.state}: nothing to rework", finding="line.unit.no-rework")
    counted = replace(work, failures=0, faults=0, interruptions=0, reworks=work.reworks + 1)
    return _reopened(counted, by, reason, at)


def _reopened(work: UnitWork, by: str, reason: str, at: datetime) -> UnitWork:
    if not by or not reason.strip():
        raise UnitStopped("who decides, and why, must be said", finding="line.unit.reason")
    return replace(
        work, state=WorkState.OPEN, chip_serial="", key_sha256="", finding="", by=by, reason=reason, changed_at=at
    )


def _demand_free(work: UnitWork, limits: UnitLimits) -> None:
    if work.state is WorkState.QUARANTINED:
        raise UnitStopped(
            f"{work.unit} is in quarantine: {work.finding}",
            hint="a lead may override with a reason",
            finding="line.unit.quarantined",
        )
    if work.state is WorkState.SPENT:
        raise UnitStopped(
            f"{work.unit} failed {work.failures} times, last with {work.finding}",
            hint="send it to rework",
            finding="line.unit.spent",
        )
    if work.interruptions > limits.interruptions:
        raise UnitStopped(
            f"{work.unit} was interrupted {work.interruptions} times",
            hint="send it to rework",
            finding="line.unit.interrupted",
        )


def is_held(work: UnitWork, holder: Holder) -> bool:
    """Say whether the holder has the unit in work."""
    return work.state is WorkState.IN_WORK and work.holder == holder


def _demand_held(work: UnitWork, holder: Holder) -> None:
    if not is_held(work, holder):
        raise LeaseLost(
            f"{work.unit} is with {work.holder.rig or 'nobody'} now",
            hint="this rig was too slow or cut off; run the board again",
        )
