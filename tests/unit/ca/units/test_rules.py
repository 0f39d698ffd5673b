# SPDX-License-Identifier: Apache-2.0
"""The CA lets a rig do all that the line's state machine does, and nothing to a unit that another rig has."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.errors import Refused
from birthmark.ca.units.rules import LEASE_MAX, demand_attempt, demand_change
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.errors import LineError
from birthmark.line.units import UnitLimits, begun, ended, faulted, kept, overridden, reworked, seen, unseen
from support.attempts import attempt

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
MINE, THEIRS = Holder("rig-a", "run-1"), Holder("rig-b", "run-2")
LIMITS = UnitLimits()
UNIT = "BM-000001"

Act = Callable[[UnitWork, datetime], UnitWork]


def acts(holder: Holder) -> tuple[Act, ...]:
    """Return all that the line does to a record, at one rig."""
    ends = (WorkState.OPEN, WorkState.DONE, WorkState.FAILED, WorkState.QUARANTINED)
    here = Holder(holder.rig, "")
    return (
        lambda work, at: begun(work, holder, LIMITS, at),
        lambda work, at: begun(work, Holder(holder.rig, "another run"), LIMITS, at),
        lambda work, at: kept(work, holder, LIMITS, at),
        lambda work, _at: faulted(work, holder),
        lambda work, _at: seen(work, holder, "C1", "ab" * 32),
        lambda work, _at: unseen(work, holder),
        *(lambda work, at, end=end: ended(work, holder, end, "chip.refused", LIMITS, at) for end in ends),  # type: ignore[misc] # mypy sees no default
        lambda work, at: replace(overridden(work, "lead", "why", at), holder=here),
        lambda work, at: replace(reworked(work, "lead", "why", at), holder=here),
    )


STEPS = st.lists(
    st.tuples(st.sampled_from([MINE, THEIRS]), st.integers(0, len(acts(MINE)) - 1), st.floats(0, 20, allow_nan=False)),
    max_size=30,
)


@given(STEPS)
def test_whatever_the_line_makes_of_a_unit_its_rig_may(steps: list[tuple[Holder, int, float]]) -> None:
    work, at = UnitWork(UNIT), NOW
    for holder, act, pause_s in steps:
        at += timedelta(seconds=pause_s)
        with suppress(LineError):
            after = acts(holder)[act](work, at)
            demand_change(work, after, holder.rig, at)
            work = after


LEASED = UnitWork(UNIT, WorkState.IN_WORK, THEIRS, NOW + timedelta(seconds=8), NOW)
OPEN, DONE = UnitWork(UNIT), UnitWork(UNIT, WorkState.DONE, THEIRS, NOW, NOW)
STUCK = UnitWork(UNIT, WorkState.QUARANTINED, THEIRS, NOW, NOW, "line.unit.twin", failures=2)
SPENT = UnitWork(UNIT, WorkState.SPENT, THEIRS, NOW, NOW, failures=3)
TAKEN = {"state": WorkState.IN_WORK, "holder": MINE, "lease_until": SOON + timedelta(seconds=8)}
REOPENED = {"state": WorkState.OPEN, "holder": Holder("rig-a", ""), "changed_at": SOON, "by": "lead", "reason": "why"}
REWORKED = {**REOPENED, "failures": 0, "reworks": 1}


@pytest.mark.parametrize("state", WorkState)
def test_nothing_is_done_to_a_unit_that_another_rig_has_leased(state: WorkState) -> None:
    with pytest.raises(Refused) as refused:
        demand_change(LEASED, replace(LEASED, **{**TAKEN, "state": state}), "rig-a", SOON)
    assert refused.value.finding == "ca.work.leased"


@pytest.mark.parametrize(
    ("before", "changed", "finding"),
    [
        pytest.param(OPEN, {**TAKEN, "holder": THEIRS}, "ca.work.lease", id="a lease for somebody else"),
        pytest.param(OPEN, {**TAKEN, "holder": Holder("rig-a", "")}, "ca.work.lease", id="a lease for no run"),
        pytest.param(
            OPEN,
            {**TAKEN, "lease_until": SOON + LEASE_MAX + timedelta(microseconds=1)},
            "ca.work.lease",
            id="a lease that is too long",
        ),
        pytest.param(DONE, {**TAKEN, "lease_until": NOW - LEASE_MAX}, "ca.work.lease", id="a lease in the past"),
        pytest.param(OPEN, {**TAKEN, "tries": 1}, "ca.work.record", id="a try without an attempt"),
        pytest.param(OPEN, {**TAKEN, "changed_at": NOW}, "ca.work.record", id="a moment of its own"),
        pytest.param(OPEN, {**TAKEN, "unit": "BM-000002"}, "ca.work.record", id="another unit"),
        pytest.param(OPEN, {**TAKEN, "failures": 2}, "ca.work.record", id="two failures at once"),
        pytest.param(STUCK, TAKEN, "ca.work.stopped", id="a lease out of quarantine"),
        pytest.param(SPENT, TAKEN, "ca.work.stopped", id="a lease without attempts"),
        pytest.param(
            replace(LEASED, lease_until=NOW), {"state": WorkState.DONE}, "ca.work.lease", id="a verdict for another"
        ),
        pytest.param(
            replace(LEASED, lease_until=NOW), {**TAKEN, "by": "lead"}, "ca.work.record", id="a name on a lease"
        ),
        pytest.param(OPEN, {"state": WorkState.DONE}, "ca.work.stopped", id="done without work"),
        pytest.param(DONE, {"state": WorkState.QUARANTINED}, "ca.work.stopped", id="quarantine without work"),
        pytest.param(DONE, REWORKED, "ca.work.stopped", id="rework of what is done"),
        pytest.param(STUCK, {**REOPENED, "failures": 0}, "ca.work.stopped", id="an override that resets the counts"),
        pytest.param(SPENT, {**REOPENED, "failures": 3}, "ca.work.stopped", id="an override of what is spent"),
        pytest.param(STUCK, {**REOPENED, "by": ""}, "ca.work.decision", id="an override by nobody"),
        pytest.param(SPENT, {**REWORKED, "reason": " "}, "ca.work.decision", id="a rework without a reason"),
        pytest.param(SPENT, {**REWORKED, "holder": THEIRS}, "ca.work.decision", id="a decision in another's name"),
    ],
)
def test_a_hostile_rig_is_refused(before: UnitWork, changed: dict[str, object], finding: str) -> None:
    with pytest.raises(Refused) as refused:
        demand_change(before, replace(before, **changed), "rig-a", SOON)  # type: ignore[arg-type] # by name
    assert refused.value.finding == finding


@pytest.mark.parametrize(
    ("before", "changed"), [(OPEN, TAKEN), (STUCK, {**REOPENED, "failures": 2}), (SPENT, REWORKED)]
)
def test_what_is_refused_above_is_refused_for_the_one_thing_that_is_wrong(
    before: UnitWork, changed: dict[str, object]
) -> None:
    demand_change(before, replace(before, **changed), "rig-a", SOON)  # type: ignore[arg-type] # by name


PASSED = attempt(1, ended_at=SOON, nth=1)
COUNTED = {"tries": 1, "passes": 1}


@pytest.mark.parametrize("before", [OPEN, LEASED])
def test_an_attempt_counts_also_at_a_unit_that_another_rig_has(before: UnitWork) -> None:
    demand_attempt(before, replace(before, **COUNTED), PASSED, "rig-a", SOON)  # type: ignore[arg-type] # by name


@pytest.mark.parametrize(
    ("changed", "told", "finding"),
    [
        pytest.param(COUNTED, {"rig": "rig-b"}, "ca.work.attempt", id="at another rig"),
        pytest.param(COUNTED, {"unit": "BM-000002"}, "ca.work.attempt", id="at another unit"),
        pytest.param(COUNTED, {"ended_at": NOW}, "ca.work.attempt", id="at another moment"),
        pytest.param(COUNTED, {"nth": 7}, "ca.work.record", id="of another number"),
        pytest.param({"tries": 2}, {"nth": 2}, "ca.work.record", id="two tries at once"),
        pytest.param({"tries": 1, "passes": 2}, {}, "ca.work.record", id="two passes at once"),
        pytest.param({**COUNTED, "state": WorkState.OPEN}, {}, "ca.work.leased", id="and frees another's lease"),
    ],
)
def test_a_hostile_rig_is_refused_an_attempt(changed: dict[str, object], told: dict[str, object], finding: str) -> None:
    with pytest.raises(Refused) as refused:
        demand_attempt(LEASED, replace(LEASED, **changed), replace(PASSED, **told), "rig-a", SOON)  # type: ignore[arg-type] # by name
    assert refused.value.finding == finding
