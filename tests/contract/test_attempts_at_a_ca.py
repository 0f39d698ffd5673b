# SPDX-License-Identifier: Apache-2.0
"""
What the rigs' store of attempts guarantees, also when the CA keeps it: a rig reads what stands in its file.

Over the wire an attempt ends when it ends; the other moments are written into the CA's file beside it.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.attempts import Attempt, Grain, KeepUnits, Outcome, Period
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.attempts import counted
from birthmark.line.errors import AuthorityRefused, UnitInWork
from birthmark.line.ports import UnitStore
from birthmark.line.units import UnitLimits, begun, ended
from birthmark.stores.units_sqlite import UnitsSQLite
from support.attempts import attempt
from support.units_at_ca import UNITS, at_a_ca

AT = datetime.now(UTC).replace(hour=11, minute=59, second=59, microsecond=999_999) - timedelta(days=2)
ALWAYS = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
RACERS = 8
RIGS = ("rig-a", "rig-b")

Open = Callable[[str], UnitStore]


@pytest.fixture
def reopen(tmp_path: Path) -> Iterator[Open]:
    with at_a_ca(tmp_path, RIGS) as reopen:
        yield reopen


@pytest.fixture
def beside(reopen: Open, tmp_path: Path) -> Iterator[UnitStore]:
    """The CA's own file, opened beside it."""
    assert reopen is not None
    store = UnitsSQLite(tmp_path / UNITS)
    yield store
    store.close()


def end(store: UnitStore, told: Attempt, at: datetime | None = None) -> Attempt:
    return store.end(told.unit, lambda work, now: counted(work, told, at or now))


def failed(number: int, **changes: object) -> Attempt:
    return attempt(number, verdict="FAIL", finding="chip.communication", step="observe", **changes)


def test_an_attempt_is_read_as_it_was_ended_and_ends_its_units_lease(reopen: Open) -> None:
    store, told = reopen("rig-a"), attempt(1, site="plant", step_ms={"power": 1.5, "observe": 2.0}, faults=2)
    holder = Holder("rig-a", "run")
    store.change(told.unit, lambda work, at: begun(work, holder, UnitLimits(), at))

    def ending(work: UnitWork, at: datetime) -> tuple[UnitWork, Attempt]:
        after, kept = counted(work, told, at)
        return ended(after, holder, WorkState.DONE, "", UnitLimits(), at), kept

    kept = store.end(told.unit, ending)
    assert kept == replace(told, outcome=Outcome.PASSED, nth=1, ended_at=kept.ended_at, number=kept.number)
    assert store.last("rig-a", 10) == store.attempts(ALWAYS, None, 10) == (kept,)
    (work,) = reopen("rig-b").units((told.unit,))
    assert (work.state, work.tries, work.passes, work.changed_at) == (WorkState.DONE, 1, 1, kept.ended_at)


def test_an_attempt_that_is_ended_twice_is_one(reopen: Open) -> None:
    store = reopen("rig-a")
    once = end(store, failed(1))
    assert end(store, failed(1)) == once
    assert sum(cell.attempts for cell in store.cells(ALWAYS, Grain.PLACES)) == 1
    assert store.units((once.unit,))[0].tries == 1


def test_what_an_ending_raises_passes_through_and_keeps_nothing(reopen: Open) -> None:
    def refuse(_work: UnitWork, _at: datetime) -> tuple[UnitWork, Attempt]:
        raise UnitInWork("another rig has it")

    store = reopen("rig-a")
    with pytest.raises(UnitInWork):
        store.end("BM-000001", refuse)
    assert store.attempts(ALWAYS, None, 10) == store.cells(ALWAYS, Grain.PLACES) == ()


def test_no_attempt_is_lost_when_rigs_end_theirs_at_once(reopen: Open) -> None:
    stores = [(rig, reopen(rig)) for rig in RIGS * (RACERS // len(RIGS))]

    def one(number: int) -> None:
        rig, store = stores[number % RACERS]
        end(store, failed(number % 5, run=f"{number}", rig=rig))

    with ThreadPoolExecutor(RACERS) as threads:
        list(threads.map(one, range(40)))
    store = stores[0][1]
    tried: dict[bool, int] = {}
    for cell in store.cells(ALWAYS, Grain.PLACES):
        tried[cell.first] = tried.get(cell.first, 0) + cell.attempts
    assert tried == {True: 5, False: 35}
    assert {work.tries for work in store.units([f"BM-{number:06d}" for number in range(5)])} == {8}


def test_a_rig_reads_what_stands_in_the_file_page_by_page(reopen: Open, beside: UnitStore) -> None:
    for number in range(1, 8):
        told = attempt if number % 2 else failed
        end(beside, told(number, rig=RIGS[number % 2]), AT + number * timedelta(minutes=20))
    store = reopen("rig-a")
    for period in (ALWAYS, Period(AT, AT + timedelta(minutes=90)), Period(AT, AT)):
        for grain in Grain:
            assert sorted(map(str, store.cells(period, grain))) == sorted(map(str, beside.cells(period, grain)))
            assert sorted(map(str, store.unfinished(period, grain))) == sorted(
                map(str, beside.unfinished(period, grain))
            )
        pages: list[Attempt] = []
        while page := store.attempts(period, pages[-1] if pages else None, 2):
            pages += page
        assert tuple(pages) == beside.attempts(period, None, 10)
    assert store.last("rig-b", 2) == beside.last("rig-b", 2)
    assert store.passed("order-1") == beside.passed("order-1") == 4
    assert store.passed("order-of-others") == 0


def test_a_rig_prunes_nothing_and_reads_nothing_of_orders_that_do_not_name_it(reopen: Open, beside: UnitStore) -> None:
    end(beside, attempt(1, order="order-of-others"), AT)
    store = reopen("rig-a")
    assert store.prune(KeepUnits(AT + timedelta(days=1), AT + timedelta(days=1))) == 0
    assert store.cells(ALWAYS, Grain.PLACES) == store.attempts(ALWAYS, None, 10) == store.last("rig-a", 10) == ()
    assert len(beside.attempts(ALWAYS, None, 10)) == 1


@pytest.mark.parametrize("change", [{"order": "order-of-others"}, {"rig": "rig-b"}])
def test_an_attempt_is_at_the_rig_that_tells_it_and_under_an_order_of_its_own(
    reopen: Open, change: dict[str, str]
) -> None:
    with pytest.raises(AuthorityRefused) as refused:
        end(reopen("rig-a"), attempt(1, **change))
    assert refused.value.finding in {"ca.work.order", "ca.work.attempt"}
