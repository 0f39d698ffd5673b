# SPDX-License-Identifier: Apache-2.0
"""
What every store of a line's units guarantees, also when several rigs and threads share it.

A CA that keeps them lets a rig do only what is the rig's to do: every change here is one that the line makes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.errors import LeaseLost, UnitInWork
from birthmark.line.ports import UnitStore
from birthmark.line.units import UnitLimits, begun, ended, faulted, kept, reworked, seen
from birthmark.stores.units_postgres import UnitsPostgreSQL
from birthmark.stores.units_sqlite import UnitsSQLite
from support.postgres import PostgreSQL
from support.units_at_ca import at_a_ca

RIG_A, RIG_B = Holder("rig-a", "run-1"), Holder("rig-b", "run-2")
UNIT = "BM-000001"
KEY = "ab" * 32
LIMITS = UnitLimits()
RACERS = 8

RIGS = ("rig-a", "rig-b", *(f"rig-{number}" for number in range(RACERS)))

Open = Callable[[str], UnitStore]


@pytest.fixture(params=["sqlite", "postgres", "ca", "ca-postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[Open]:
    """Opens the same store again and again, as several rigs do."""
    dsn = cluster.new_database() if request.param.endswith("postgres") else ""
    with ExitStack() as stack:

        def make(rig: str) -> UnitStore:
            opened = direct(rig)
            stack.callback(opened.close)
            return opened

        if request.param.startswith("ca"):
            direct = stack.enter_context(at_a_ca(tmp_path, RIGS, dsn))
        else:
            direct = lambda _rig: UnitsPostgreSQL(dsn) if dsn else UnitsSQLite(tmp_path / "units.sqlite")  # noqa: E731 one of two
        yield make


@pytest.fixture
def store(reopen: Open) -> UnitStore:
    return reopen("rig-a")


def test_a_unit_that_nobody_has_seen_is_a_new_one(store: UnitStore) -> None:
    assert store.units((UNIT, "BM-000002")) == (UnitWork(UNIT), UnitWork("BM-000002"))


def test_what_is_written_is_read_by_every_rig(reopen: Open) -> None:
    store = reopen("rig-a")
    begin(store)
    store.change(UNIT, lambda work, at: ended(work, RIG_A, WorkState.FAILED, "chip.refused", LIMITS, at))
    store.change(UNIT, lambda work, at: replace(reworked(work, "lead", "why", at), holder=RIG_A))
    begin(store)
    store.change(UNIT, lambda work, at: begun(work, Holder("rig-a", "run-2"), LIMITS, at))
    store.change(UNIT, lambda work, _at: faulted(work, Holder("rig-a", "run-2")))
    store.change(UNIT, lambda work, _at: seen(work, Holder("rig-a", "run-2"), "C1", KEY))
    full = store.change(
        UNIT, lambda work, at: ended(work, Holder("rig-a", "run-2"), WorkState.FAILED, "chip.away", LIMITS, at)
    )
    counts = {"failures": 1, "faults": 1, "interruptions": 1, "reworks": 1}
    texts = {"finding": "chip.away", "chip_serial": "C1", "key_sha256": KEY, "by": "lead", "reason": "why"}
    at = full.changed_at
    assert full == UnitWork(UNIT, WorkState.FAILED, Holder("rig-a", "run-2"), at, at, **counts, **texts)  # type: ignore[arg-type] # by name
    assert reopen("rig-b").units((UNIT,)) == (full,)


def test_what_a_transition_raises_passes_through_and_changes_nothing(store: UnitStore) -> None:
    store.change(UNIT, lambda work, at: begun(work, RIG_A, LIMITS, at))
    before, history = store.units((UNIT,)), store.history(0, 10)
    with pytest.raises(UnitInWork):
        store.change(UNIT, lambda work, at: begun(work, RIG_B, LIMITS, at))
    assert (store.units((UNIT,)), store.history(0, 10)) == (before, history)


def begin(store: UnitStore, unit: str = UNIT) -> UnitWork:
    return store.change(unit, lambda work, at: begun(work, RIG_A, LIMITS, at))


def test_of_many_who_take_a_unit_at_once_one_has_it(reopen: Open) -> None:
    stores = [reopen(f"rig-{number}") for number in range(RACERS)]

    def take(number: int) -> bool:
        holder = Holder(f"rig-{number}", "run")
        try:
            stores[number].change(UNIT, lambda work, at: begun(work, holder, LIMITS, at))
        except UnitInWork:
            return False
        return True

    with ThreadPoolExecutor(RACERS) as threads:
        assert sorted(threads.map(take, range(RACERS))) == [False] * (RACERS - 1) + [True]


def counted(work: UnitWork, _at: datetime) -> UnitWork:
    return faulted(work, RIG_A)


def test_no_count_is_lost_when_many_count_at_once(reopen: Open) -> None:
    stores = [reopen("rig-a") for _ in range(RACERS)]
    begin(stores[0])
    with ThreadPoolExecutor(RACERS) as threads:
        list(threads.map(lambda each: each.change(UNIT, counted), stores * 5))
    assert stores[0].units((UNIT,))[0].faults == RACERS * 5
    assert len(stores[0].history(0, 100)) == RACERS * 5 + 1


def test_a_refusal_among_changes_that_come_at_once_is_its_own(store: UnitStore) -> None:
    units = [f"BM-{number:06d}" for number in range(2 * RACERS)]

    def end(unit: str) -> UnitWork:
        return store.change(unit, lambda work, at: ended(work, RIG_A, WorkState.FAILED, "chip.away", LIMITS, at))

    begun_ones = set(units[::2])
    for unit in begun_ones:
        begin(store, unit)
    with ThreadPoolExecutor(len(units)) as racers:
        ends = {unit: racers.submit(end, unit) for unit in units}
    refused = {unit for unit, done in ends.items() if isinstance(done.exception(), LeaseLost)}
    assert refused == set(units) - begun_ones
    assert {work.unit for work in store.units(units) if work.failures == 1} == begun_ones


def test_units_that_share_a_chip_or_a_key_are_found(store: UnitStore) -> None:
    one, two, three, four = (f"BM-00000{number}" for number in range(1, 5))
    for unit, chip, key in ((one, "C1", KEY), (two, "C1", ""), (three, "C3", KEY), (four, "", "")):
        begin(store, unit)
        store.change(unit, lambda work, _, chip=chip, key=key: seen(work, RIG_A, chip, key))  # type: ignore[misc] # mypy sees no default
    assert [work.unit for work in store.sharing("C1", KEY)] == [one, two, three]
    assert [work.unit for work in store.sharing("C3", "")] == [three]
    assert store.sharing("", "") == ()


def test_the_moment_is_the_stores_and_goes_on(store: UnitStore) -> None:
    moments: list[datetime] = []

    def look(work: UnitWork, at: datetime) -> UnitWork:
        moments.append(at)
        return work

    before = datetime.now(UTC)
    store.change(UNIT, look)
    store.change("BM-000002", look)
    assert before <= moments[0] < moments[1] <= datetime.now(UTC)


def test_the_history_has_every_change_in_order_and_no_renewal_of_a_lease(store: UnitStore) -> None:
    begin_ = begin(store)
    store.change(UNIT, lambda work, at: kept(work, RIG_A, LIMITS, at))
    end = store.change(UNIT, lambda work, at: ended(work, RIG_A, WorkState.DONE, "", LIMITS, at))
    changes = store.history(0, 10)
    assert [change.work for change in changes] == [begin_, end]
    assert store.history(changes[0].number, 10) == changes[1:]
    assert store.history(0, 1) == changes[:1]
    store.change("BM-000002", lambda work, at: begun(work, RIG_A, LIMITS, at))
    assert store.history_of(UNIT) == changes


def test_a_database_that_is_away_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as away:
        UnitsPostgreSQL(f"host={tmp_path} dbname=none")
    assert away.value.finding == "store.unreachable"


def test_a_server_that_stands_still_is_a_store_error_and_is_used_again_when_it_goes_on(cluster: PostgreSQL) -> None:
    store = UnitsPostgreSQL(cluster.new_database(), silence_s=0.5)
    try:
        taken = store.change(UNIT, lambda work, at: begun(work, RIG_A, LIMITS, at))
        cluster.suspend()
        try:
            with pytest.raises(StoreError):
                store.change(UNIT, lambda work, at: kept(work, RIG_A, LIMITS, at))
        finally:
            cluster.resume()
        assert store.change(UNIT, lambda work, at: kept(work, RIG_A, LIMITS, at)).holder == taken.holder
    finally:
        store.close()
