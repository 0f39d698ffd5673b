# SPDX-License-Identifier: Apache-2.0
"""The lease of a unit: no rig keeps it while others wait, however often it asks, and each has its turn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.issuing.leases import QUEUE_MAX, TURN, Granted, PutOff, ask
from birthmark.core.issuance import NonceGrant

AT = datetime(2026, 11, 23, tzinfo=UTC)
LIFE = timedelta(seconds=60)
A, B, C = "rig:a", "rig:b", "rig:c"
LEASE = NonceGrant(digest="d" * 64, holder=A, unit_serial="BM-000001", expires_at=AT + LIFE)


def test_a_free_unit_is_anybody_s() -> None:
    assert ask(None, A, AT) == Granted()


def test_a_rig_renews_its_lease_while_nobody_waits() -> None:
    assert ask(LEASE, A, AT) == Granted()


def test_another_rig_waits_for_the_end_and_is_noted() -> None:
    assert ask(LEASE, B, AT + TURN) == PutOff((B,), LIFE - TURN)


def test_a_rig_that_others_wait_for_does_not_renew_its_lease_and_waits_behind_them() -> None:
    assert ask(replace(LEASE, waiting=(B,)), A, AT) == PutOff((B, A), LIFE + TURN)


def test_at_the_end_the_first_one_has_its_turn_and_then_the_second() -> None:
    queued, end = replace(LEASE, waiting=(B, C)), LEASE.expires_at
    assert ask(queued, C, end) == PutOff((B, C), TURN)
    assert ask(queued, A, end) == PutOff((B, C, A), 2 * TURN)
    assert ask(queued, B, end) == Granted((C,))
    assert ask(queued, C, end + TURN) == Granted()
    assert ask(queued, B, end + 9 * TURN) == Granted((C,))


def test_who_is_not_in_the_queue_may_have_the_unit_when_all_turns_are_over() -> None:
    queued, end = replace(LEASE, waiting=(B,)), LEASE.expires_at
    assert isinstance(ask(queued, A, end + TURN - timedelta.resolution), PutOff)
    assert ask(queued, A, end + TURN) == Granted()


def test_when_the_nonce_was_used_the_first_one_need_not_wait_and_the_others_do() -> None:
    used = replace(LEASE, waiting=(B, C), used_by="40aa")
    assert ask(used, B, AT) == Granted((C,))
    assert ask(used, A, AT) == PutOff((B, C, A), LIFE + 2 * TURN)
    assert ask(replace(used, waiting=()), C, AT) == Granted()


def test_a_queue_has_an_end() -> None:
    full = replace(LEASE, waiting=tuple(f"rig:{number}" for number in range(QUEUE_MAX)))
    assert ask(full, B, AT) == PutOff(full.waiting, LIFE + QUEUE_MAX * TURN)


# --- whatever the others do --------------------------------------------------------------------------------------

RIGS = tuple(f"rig:{letter}" for letter in "abcd")
HONEST = "rig:honest"


class Unit:
    """One unit's lease, as a ledger keeps it."""

    def __init__(self) -> None:
        self.last: NonceGrant | None = None

    def asked(self, rig: str, at: datetime) -> timedelta | None:
        """Ask; return how long to wait, or None when the rig has the unit."""
        told = ask(self.last, rig, at)
        if isinstance(told, Granted):
            self.last = replace(LEASE, holder=rig, expires_at=at + LIFE, waiting=told.waiting)
            return None
        assert self.last is not None
        assert told.wait > timedelta(0)
        self.last = replace(self.last, waiting=told.waiting)
        return told.wait

    def used(self, rig: str, at: datetime) -> None:
        if self.last is not None and self.last.holder == rig and at < self.last.expires_at:
            self.last = replace(self.last, used_by="40aa")


MOVES = st.lists(st.tuples(st.sampled_from(RIGS), st.booleans(), st.integers(0, 5_000)), min_size=1, max_size=400)


@given(before=MOVES, after=MOVES)
def test_a_rig_that_comes_when_it_is_told_to_gets_the_unit_whatever_all_others_do(
    before: list[tuple[str, bool, int]], after: list[tuple[str, bool, int]]
) -> None:
    """The others ask, and use what they got, as often and whenever they like."""
    unit, at = Unit(), AT
    for rig, uses, pause_ms in before:
        at += timedelta(milliseconds=pause_ms)
        (unit.used if uses else unit.asked)(rig, at)
    begin = at
    wait = unit.asked(HONEST, at)
    # Those who were before it: each holds the unit for a life, or misses its turn; and the one who holds it now.
    longest = (len(RIGS) + 1) * (LIFE + TURN)
    moves = [*after] * 40
    while wait is not None:
        due = at + wait
        while moves and (later := at + timedelta(milliseconds=moves[-1][2])) < due:
            rig, uses, _ = moves.pop()
            at = later
            (unit.used if uses else unit.asked)(rig, at)
        at = due
        assert at - begin <= longest
        wait = unit.asked(HONEST, at)
    assert at - begin <= longest


@given(before=MOVES)
def test_one_rig_has_the_unit_at_a_time(before: list[tuple[str, bool, int]]) -> None:
    unit, at = Unit(), AT
    for rig, uses, pause_ms in before:
        at += timedelta(milliseconds=pause_ms)
        last = unit.last
        if uses:
            unit.used(rig, at)
        elif unit.asked(rig, at) is None and last is not None and last.holder != rig:
            assert last.used_by is not None or at >= last.expires_at
        assert unit.last is None or len(set(unit.last.waiting)) == len(unit.last.waiting)
