# SPDX-License-Identifier: Apache-2.0
"""What may become of a unit at the rigs: each move of the table, and what no sequence of moves may lead to."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line import units
from birthmark.line.errors import LeaseLost, LineError, UnitInWork, UnitStopped
from birthmark.line.units import LEASE_S, UnitLimits

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(seconds=LEASE_S)
A, B = Holder("rig-a", "run-1"), Holder("rig-b", "run-2")
LIMITS = UnitLimits(failures=3, interruptions=2)
NEW = UnitWork("BM-000001")
IN_WORK = units.begun(NEW, A, LIMITS, NOW)
QUARANTINED = replace(NEW, state=WorkState.QUARANTINED, finding="line.unit.twin")
SPENT = replace(NEW, state=WorkState.SPENT, failures=3, finding="chip.refused")


@pytest.mark.parametrize("state", [WorkState.OPEN, WorkState.FAILED, WorkState.DONE])
def test_a_unit_that_is_free_is_leased(state: WorkState) -> None:
    work = units.begun(replace(NEW, state=state), A, LIMITS, NOW)
    assert (work.state, work.holder, work.lease_until, work.interruptions) == (WorkState.IN_WORK, A, LATER, 0)


REFUSED: dict[str, tuple[Callable[[], UnitWork], str]] = {
    "taken while another rig has it": (
        lambda: units.begun(IN_WORK, B, LIMITS, LATER - timedelta(milliseconds=1)),
        "line.unit.in-work",
    ),
    "taken out of quarantine": (lambda: units.begun(QUARANTINED, A, LIMITS, NOW), "line.unit.quarantined"),
    "taken with no attempts left": (lambda: units.begun(SPENT, A, LIMITS, NOW), "line.unit.spent"),
    "interrupted too often": (
        lambda: units.begun(replace(IN_WORK, interruptions=2), B, LIMITS, LATER),
        "line.unit.interrupted",
    ),
    "kept by who has it no more": (lambda: units.kept(IN_WORK, B, LIMITS, NOW), "line.unit.lease-lost"),
    "kept by nobody": (lambda: units.kept(NEW, A, LIMITS, NOW), "line.unit.lease-lost"),
    "ended by who has it no more": (
        lambda: units.ended(IN_WORK, B, WorkState.DONE, "", LIMITS, NOW),
        "line.unit.lease-lost",
    ),
    "seen by who has it no more": (lambda: units.seen(IN_WORK, B, "c", "k"), "line.unit.lease-lost"),
    "a fault of who has it no more": (lambda: units.faulted(IN_WORK, B), "line.unit.lease-lost"),
    "seen with another chip": (lambda: units.seen(replace(IN_WORK, chip_serial="c1"), A, "c2", ""), "line.unit.chip"),
    "overridden without quarantine": (lambda: units.overridden(NEW, "lead", "why", NOW), "line.unit.not-quarantined"),
    "overridden without a reason": (lambda: units.overridden(QUARANTINED, "lead", "  ", NOW), "line.unit.reason"),
    "overridden by nobody": (lambda: units.overridden(QUARANTINED, "", "why", NOW), "line.unit.reason"),
    "reworked though it is done": (
        lambda: units.reworked(replace(NEW, state=WorkState.DONE), "lead", "why", NOW),
        "line.unit.no-rework",
    ),
    "reworked while a rig has it": (lambda: units.reworked(IN_WORK, "lead", "why", NOW), "line.unit.no-rework"),
}


@pytest.mark.parametrize(("move", "finding"), REFUSED.values(), ids=REFUSED)
def test_a_move_is_refused(move: Callable[[], UnitWork], finding: str) -> None:
    with pytest.raises(LineError) as refused:
        move()
    assert refused.value.finding == finding


def test_who_waits_for_a_lease_is_told_how_long() -> None:
    with pytest.raises(UnitInWork) as waits:
        units.begun(IN_WORK, B, LIMITS, NOW + timedelta(seconds=3))
    assert waits.value.retry_after_s == LEASE_S - 3


def test_a_rig_that_died_is_an_interruption_and_no_failure() -> None:
    taken = units.begun(IN_WORK, B, LIMITS, LATER)
    assert (taken.holder, taken.interruptions, taken.failures) == (B, 1, 0)


def test_a_rig_goes_on_at_once_from_where_an_earlier_run_of_it_died() -> None:
    taken = units.begun(IN_WORK, Holder(A.rig, "run-9"), LIMITS, NOW)
    assert (taken.holder.run, taken.interruptions, taken.failures) == ("run-9", 1, 0)


def test_a_run_that_takes_its_own_unit_again_is_not_interrupted() -> None:
    assert units.begun(IN_WORK, A, LIMITS, LATER).interruptions == 0


def test_the_last_failure_that_is_allowed_spends_the_unit() -> None:
    states, work = [], NEW
    for _ in range(LIMITS.failures):
        work = units.begun(work, A, LIMITS, NOW)
        work = units.ended(work, A, WorkState.FAILED, "chip.refused", LIMITS, NOW)
        states.append(work.state)
    assert states == [WorkState.FAILED, WorkState.FAILED, WorkState.SPENT]


def test_a_rework_begins_all_counts_anew_and_counts_itself() -> None:
    worn = replace(SPENT, faults=4, interruptions=2, chip_serial="c", key_sha256="k")
    work = units.reworked(worn, "lead", "chip replaced", NOW)
    assert (work.failures, work.faults, work.interruptions, work.reworks) == (0, 0, 0, 1)
    assert (work.state, work.chip_serial, work.key_sha256) == (WorkState.OPEN, "", "")
    assert (work.by, work.reason) == ("lead", "chip replaced")


def test_an_override_keeps_the_counts() -> None:
    work = units.overridden(replace(QUARANTINED, failures=2), "lead", "label swapped", NOW)
    assert (work.state, work.failures, work.by, work.reason) == (WorkState.OPEN, 2, "lead", "label swapped")


@pytest.mark.parametrize(
    ("other", "what"),
    [(replace(NEW, unit="BM-2", chip_serial="c1"), "chip c1"), (replace(NEW, unit="BM-2", key_sha256="k1"), "key k1")],
)
def test_a_twin_is_named(other: UnitWork, what: str) -> None:
    work = units.seen(IN_WORK, A, "c1", "k1")
    with pytest.raises(UnitStopped, match=f"{what} was seen in unit BM-2") as stopped:
        units.demand_single(work, (work, other))
    assert stopped.value.finding == "line.unit.twin"
    units.demand_single(work, (work,))


class Lives(RuleBasedStateMachine):
    """Rigs, a lead and time in any order. What each did is counted beside, and compared."""

    def __init__(self) -> None:
        super().__init__()
        self.work, self.at = NEW, NOW
        self.failures = self.reworks = 0

    def attempt(self, move: Callable[[], UnitWork]) -> bool:
        before = self.work
        try:
            self.work = move()
        except LineError:
            self.work = before
            return False
        return True

    @rule(seconds=st.floats(0, 2 * LEASE_S))
    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    @rule(holder=st.sampled_from([A, B]))
    def take(self, holder: Holder) -> None:
        taken, held = self.work.state is WorkState.IN_WORK, self.work
        if self.attempt(lambda: units.begun(self.work, holder, LIMITS, self.at)) and taken and held.holder != holder:
            assert self.at >= held.lease_until

    @rule(holder=st.sampled_from([A, B]), state=st.sampled_from(["done", "open", "failed", "quarantined"]))
    def end(self, holder: Holder, state: str) -> None:
        held = self.work
        if self.attempt(lambda: units.ended(self.work, holder, WorkState(state), "f", LIMITS, self.at)):
            assert held.holder == holder
            self.failures += state == "failed"

    @rule(holder=st.sampled_from([A, B]))
    def keep(self, holder: Holder) -> None:
        self.attempt(lambda: units.kept(self.work, holder, LIMITS, self.at))

    @rule()
    def override(self) -> None:
        self.attempt(lambda: units.overridden(self.work, "lead", "why", self.at))

    @precondition(lambda self: self.work.state is not WorkState.OPEN)
    @rule()
    def rework(self) -> None:
        if self.attempt(lambda: units.reworked(self.work, "lead", "why", self.at)):
            self.failures, self.reworks = 0, self.reworks + 1

    @invariant()
    def counts_agree(self) -> None:
        assert (self.work.failures, self.work.reworks) == (self.failures, self.reworks)
        assert self.work.failures <= LIMITS.failures
        assert (self.work.state is WorkState.SPENT) <= (self.work.failures == LIMITS.failures)
        assert self.work.interruptions <= LIMITS.interruptions


TestLives = Lives.TestCase


def test_losing_a_lease_is_no_stop_of_the_unit() -> None:
    assert not issubclass(LeaseLost, UnitStopped)
