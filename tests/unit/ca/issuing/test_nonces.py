# SPDX-License-Identifier: Apache-2.0
"""Nonces: which orders grant them, how many a rig may have, when they are forgotten, and that none is used twice."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from birthmark.ca.demands import RIG, Caller
from birthmark.ca.errors import CAError, Pending
from birthmark.ca.issuing.jobs import NonceJob
from birthmark.ca.issuing.leases import TURN
from birthmark.ca.issuing.nonces import FORGET_MAX, FULL_MEMORY, NONCE_MEMORY, Nonces, forget_nonces
from birthmark.ca.service import ORDER_MEMORY
from birthmark.ca.trail import Trail
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import NonceGrant
from birthmark.est.messages import NonceRequest
from support.ca_parts import NOW, ORDER, UNIT, CAParts, nonce_for, order

SECOND = timedelta(seconds=1)
LIMIT = 4


def refusal(act: Callable[[], object]) -> CAError:
    with pytest.raises(CAError) as refused:
        act()
    return refused.value


def unit(number: int) -> str:
    return f"BM-{number:06d}"


def known(parts: CAParts, nonce: bytes) -> NonceGrant | None:
    with parts.store.reading() as ledger:
        return ledger.nonce(fingerprint(nonce))


# --- which orders grant them -------------------------------------------------------------------------------------

CLOSED = {"closed_at": NOW - timedelta(hours=1)}
UNAPPROVED = {"approved_at": None}
LATER = {"approved_at": NOW + timedelta(hours=1)}
PAST = {"not_after": NOW - timedelta(hours=1)}
AHEAD = {"not_before": NOW + timedelta(hours=1)}


@pytest.mark.parametrize(
    ("changes", "status", "finding"),
    [
        (CLOSED, 403, "ca.8.order-closed"),
        (UNAPPROVED, 202, "ca.8.unapproved"),
        (LATER, 202, "ca.8.unapproved"),
        (PAST, 403, "ca.8.window"),
        (AHEAD, 403, "ca.8.window"),
    ],
)
def test_an_order_that_issues_nothing_grants_no_nonce(
    parts: CAParts, changes: dict[str, object], status: int, finding: str
) -> None:
    parts.put_order(order("other", **changes))
    told = refusal(lambda: parts.nonce(label="other"))
    assert (told.status, told.finding) == (status, finding)
    assert (parts.last_audit()["act"], parts.last_audit()["finding"]) == ("nonce", finding)
    with parts.store.reading() as ledger:
        assert ledger.leases([UNIT], parts.clock()) == ()


def test_an_order_that_was_closed_grants_no_nonce_from_a_second_later_on(parts: CAParts) -> None:
    parts.nonce()
    parts.close_order(ORDER)
    parts.clock.forward(seconds=ORDER_MEMORY.total_seconds())
    assert refusal(parts.nonce).finding == "ca.8.order-closed"


def test_an_approval_counts_at_once(parts: CAParts) -> None:
    parts.put_order(order("other", approved_at=None))
    assert isinstance(refusal(lambda: parts.nonce(label="other")), Pending)
    parts.put_order(order("other"))
    assert parts.nonce(label="other")


# --- how many ----------------------------------------------------------------------------------------------------


@pytest.fixture
def few() -> CAParts:
    """An authority that gives each rig a few nonces only."""
    parts = CAParts()
    parts.policy = replace(parts.policy, nonces_per_rig=LIMIT)
    parts.ca = parts.service(parts.store)
    return parts


def test_a_rig_has_so_many_living_nonces_and_no_more(few: CAParts) -> None:
    for number in range(LIMIT):
        few.nonce(unit(number))
    for number in range(3):
        told = refusal(lambda number=number: few.nonce(unit(LIMIT + number)))
        assert (told.status, told.finding, told.retry_after_s) == (429, "ca.6.nonces", 60)
    assert few.last_audit()["finding"] == "ca.6.nonces"
    assert few.nonce(unit(LIMIT), rig="rig-b")


def test_a_nonce_that_takes_the_place_of_another_is_not_one_more(few: CAParts) -> None:
    for number in range(LIMIT):
        few.nonce(unit(number))
    for _ in range(3 * LIMIT):
        assert few.nonce(unit(0))
    with few.store.reading() as ledger:
        assert ledger.living_nonces("rig:rig-a", few.clock()) == LIMIT


@pytest.mark.parametrize("pause", [FULL_MEMORY, timedelta(0)])
def test_a_used_nonce_makes_room_within_a_second(few: CAParts, pause: timedelta) -> None:
    board = few.board(unit(0))
    nonces = [few.nonce(unit(number)) for number in range(LIMIT)]
    if pause:
        assert refusal(lambda: few.nonce(unit(LIMIT))).finding == "ca.6.nonces"
    few.enrol(board.csr(nonces[0]))
    few.clock.forward(seconds=pause.total_seconds())
    assert few.nonce(unit(LIMIT))


def test_expired_nonces_make_room(few: CAParts) -> None:
    for number in range(LIMIT):
        few.nonce(unit(number))
    few.clock.forward(seconds=60)
    for number in range(LIMIT):
        assert few.nonce(unit(LIMIT + number))


def test_several_workers_count_the_same_nonces(few: CAParts) -> None:
    """Each of them may be behind by an eighth of the limit, here by none: the limit is too small."""
    workers = [few.service(few.store) for _ in range(3)]
    refused = []
    for number in range(5 * LIMIT):
        wish = workers[0].nonce_wish(few.client(), ORDER, NonceRequest(unit=unit(number)))
        (outcome,) = workers[number % 3].settle([wish])
        refused += [outcome.finding] if isinstance(outcome, CAError) else []
    with few.store.reading() as ledger:
        living = ledger.living_nonces("rig:rig-a", few.clock())
    assert LIMIT <= living <= LIMIT + 2
    assert refused == ["ca.6.nonces"] * (5 * LIMIT - living)


def test_the_ledger_is_not_counted_for_each_nonce(parts: CAParts, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[str] = []
    with parts.store.reading() as ledger:
        kind = type(ledger)
    count = kind.living_nonces
    monkeypatch.setattr(kind, "living_nonces", lambda self, rig, at: counts.append(rig) or count(self, rig, at))
    for number in range(100):
        parts.nonce(unit(number))
    assert counts == ["rig:rig-a"]


def test_a_device_has_one_nonce_beside_the_rig_s(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    earlier, later = nonce_for(parts, certificate), nonce_for(parts, certificate)
    assert known(parts, earlier) is None
    assert known(parts, later) is not None


def test_a_device_and_a_rig_that_are_settled_together_both_have_theirs(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    wishes = [
        parts.ca.nonce_wish(parts.client(), ORDER, NonceRequest(unit=UNIT)),
        parts.ca.nonce_wish(parts.device(certificate), None, NonceRequest()),
    ]
    outcomes = parts.ca.settle(wishes)
    for outcome in outcomes:
        assert isinstance(outcome, bytes)
        assert known(parts, outcome) is not None


# --- whose turn it is --------------------------------------------------------------------------------------------


def test_a_rig_cannot_keep_a_unit_by_asking_again_and_again(parts: CAParts) -> None:
    parts.nonce()
    told = refusal(lambda: parts.nonce(rig="rig-b"))
    assert told.finding == "ca.6.unit-in-work"
    ends = parts.clock() + timedelta(seconds=told.retry_after_s)
    while parts.clock() < ends:
        again = refusal(parts.nonce)
        assert (again.status, again.finding) == (409, "ca.6.unit-in-work")
        assert "rig-b has asked" in again.message
        parts.clock.forward(seconds=1)
    assert parts.nonce(rig="rig-b")
    assert refusal(parts.nonce).finding == "ca.6.unit-in-work"


def test_a_rig_cannot_keep_a_unit_by_using_its_nonces_either(parts: CAParts) -> None:
    board = parts.board()
    csr = board.csr(parts.nonce())
    refusal(lambda: parts.nonce(rig="rig-b"))
    parts.enrol(csr)
    assert refusal(parts.nonce).finding == "ca.6.unit-in-work"
    assert parts.nonce(rig="rig-b")


def test_a_rig_goes_on_with_the_nonce_that_it_has_while_others_wait(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    refusal(lambda: parts.nonce(rig="rig-b"))
    assert parts.enrol(csr)


def test_a_rig_that_does_not_come_back_misses_its_turn(parts: CAParts) -> None:
    parts.nonce()
    refusal(lambda: parts.nonce(rig="rig-b"))
    parts.clock.forward(seconds=60)
    assert refusal(parts.nonce).retry_after_s == TURN.total_seconds()
    parts.clock.forward(seconds=TURN.total_seconds())
    assert parts.nonce()


def test_who_has_too_many_nonces_does_not_end_the_queue(few: CAParts) -> None:
    few.nonce(unit(0), rig="rig-b")
    refusal(lambda: few.nonce(unit(0)))
    few.clock.forward(seconds=60)
    for number in range(1, LIMIT + 1):
        few.nonce(unit(number))
    assert refusal(lambda: few.nonce(unit(0))).finding == "ca.6.nonces"
    assert "rig-a has asked" in refusal(lambda: few.nonce(unit(0), rig="rig-b")).message


# --- when they are forgotten -------------------------------------------------------------------------------------


def test_used_and_expired_nonces_are_forgotten_soon(parts: CAParts) -> None:
    used, left = parts.nonce(), parts.nonce(unit(2))
    parts.enrol(parts.board().csr(used))
    parts.clock.forward(seconds=60 + NONCE_MEMORY.total_seconds())
    assert forget_nonces(parts.store, parts.clock) == 0
    parts.clock.forward(seconds=1)
    fresh = parts.nonce(unit(3))
    assert forget_nonces(parts.store, parts.clock) == 2
    assert [known(parts, each) is None for each in (used, left, fresh)] == [True, True, False]


def test_a_forgotten_nonce_is_refused_and_a_fresh_one_gets_the_same_certificate(parts: CAParts) -> None:
    board, nonce = parts.board(), parts.nonce()
    certificate = parts.enrol(board.csr(nonce))
    parts.clock.forward(seconds=61 + NONCE_MEMORY.total_seconds())
    assert parts.enrol(board.csr(nonce)) == certificate
    forget_nonces(parts.store, parts.clock)
    assert refusal(lambda: parts.enrol(board.csr(nonce))).finding == "ca.6.nonce-unknown"
    assert parts.enrol(board.csr(parts.nonce())) == certificate


def test_many_are_forgotten_in_several_transactions(parts: CAParts) -> None:
    grants = [
        NonceGrant(digest=f"{n:064x}", holder="rig:rig-a", unit_serial=unit(n), expires_at=parts.clock())
        for n in range(FORGET_MAX + 1)
    ]
    with parts.store.writing() as ledger:
        ledger.grant_nonces(grants)
    parts.clock.forward(seconds=1 + NONCE_MEMORY.total_seconds())
    assert forget_nonces(parts.store, parts.clock) == FORGET_MAX + 1


# --- none is used twice ------------------------------------------------------------------------------------------

RIGS = ("rig-a", "rig-b", "rig-z")


class NoncesOverTime(RuleBasedStateMachine):
    """Whatever is granted, used, extended and forgotten, by whichever worker: what was used is never unused again."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = CAParts()
        self.parts.policy = replace(self.parts.policy, nonces_per_rig=LIMIT)
        self.serials = [f"{self.parts.born(self.parts.board(unit(n))).serial_number:x}" for n in (900_000, 900_001)]
        self.workers = [Nonces(self.parts.policy) for _ in range(2)]
        self.granted: dict[str, NonceGrant] = {}
        self.used: dict[str, str] = {}

    @rule(worker=st.integers(0, 1), rig=st.sampled_from(RIGS), numbers=st.lists(st.integers(0, 9), max_size=6))
    def grant(self, worker: int, rig: str, numbers: list[int]) -> None:
        at = self.parts.clock()
        caller = Caller(rig, RIG, self.parts.rigs[rig])
        jobs = [NonceJob(caller, unit(number), Trail("nonce", at)) for number in numbers]
        if not jobs:
            return
        with self.parts.store.writing() as ledger:
            for outcome in self.workers[worker].grant(ledger, jobs):
                if isinstance(outcome, bytes):
                    found = ledger.nonce(fingerprint(outcome))
                    if found is not None:  # a later wish of the same batch took its place
                        assert (found.holder, found.used_by) == (caller.holder, None)
                        self.granted[found.digest] = found
                else:
                    assert outcome.finding in {"ca.6.unit-in-work", "ca.6.nonces"}

    @rule(pick=st.integers(0, 99), serial=st.integers(0, 1))
    def use(self, pick: int, serial: int) -> None:
        """Use a nonce as the issuer does: what the ledger says is unused and unexpired."""
        if not self.granted:
            return
        digest = self.picked(pick)
        with self.parts.store.writing() as ledger:
            found = ledger.nonce(digest)
            if found is not None and found.used_by is None and self.parts.clock() < found.expires_at:
                assert digest not in self.used
                ledger.use_nonces([(digest, self.serials[serial])])
                self.used[digest] = self.serials[serial]

    @rule(pick=st.integers(0, 99))
    def extend(self, pick: int) -> None:
        """Extend a nonce as the issuer does: one that is good, or that this very issuance has used."""
        if not self.granted:
            return
        at, digest = self.parts.clock(), self.picked(pick)
        with self.parts.store.writing() as ledger:
            found = ledger.nonce(digest)
            if found is not None and (found.used_by is not None or at < found.expires_at):
                ledger.extend_nonces([(digest, at + timedelta(minutes=2))])

    def picked(self, pick: int) -> str:
        return [*self.granted][pick % len(self.granted)]

    @rule(seconds=st.sampled_from((0.1, 1, 11, 59, 61, 301, 700)))
    def wait(self, seconds: float) -> None:
        self.parts.clock.forward(seconds=seconds)

    @rule()
    def forget(self) -> None:
        forget_nonces(self.parts.store, self.parts.clock)

    @invariant()
    def what_was_used_is_used_by_the_same_or_unknown(self) -> None:
        with self.parts.store.reading() as ledger:
            for digest, serial in self.used.items():
                found = ledger.nonce(digest)
                assert found is None or found.used_by == serial

    @invariant()
    def nothing_that_may_be_used_is_forgotten_and_nobody_has_too_many(self) -> None:
        at = self.parts.clock()
        with self.parts.store.reading() as ledger:
            living = [grant for grant in map(ledger.nonce, self.granted) if grant is not None and grant.expires_at > at]
            for rig in RIGS:
                assert ledger.living_nonces(f"rig:{rig}", at) <= LIMIT + 1
        units = [grant.unit_serial for grant in living if grant.used_by is None]
        assert len(units) == len(set(units)), "a unit has one living nonce of a rig"


NoncesOverTime.TestCase.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
TestNoncesOverTime = NoncesOverTime.TestCase
