# SPDX-License-Identifier: Apache-2.0
"""What every store of a line's units guarantees, also when several rigs and threads share it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.errors import UnitInWork
from birthmark.line.ports import UnitStore
from birthmark.line.units import UnitLimits, begun, ended, kept
from birthmark.stores.units_postgres import UnitsPostgreSQL
from birthmark.stores.units_sqlite import UnitsSQLite
from support.postgres import PostgreSQL

NOW = datetime(2026, 11, 23, 12, 0, 0, 123_456, UTC)
RIG_A, RIG_B = Holder("rig-a", "run-1"), Holder("rig-b", "run-2")
UNIT = "BM-000001"
LIMITS = UnitLimits()
RACERS = 8

Open = Callable[[], UnitStore]


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[Open]:
    """Opens the same store again and again, as several rigs do."""
    dsn = cluster.new_database() if request.param == "postgres" else ""
    opened: list[UnitStore] = []

    def make() -> UnitStore:
        opened.append(UnitsPostgreSQL(dsn) if dsn else UnitsSQLite(tmp_path / "units.sqlite"))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> UnitStore:
    return reopen()


def test_a_unit_that_nobody_has_seen_is_a_new_one(store: UnitStore) -> None:
    assert store.units((UNIT, "BM-000002")) == (UnitWork(UNIT), UnitWork("BM-000002"))


def test_what_is_written_is_read_by_every_rig(reopen: Open) -> None:
    counts = {"failures": 1, "faults": 2, "interruptions": 3, "reworks": 4}
    texts = {"finding": "chip.refused", "chip_serial": "c1", "key_sha256": "k1", "by": "lead", "reason": "why"}
    full = UnitWork(UNIT, WorkState.FAILED, RIG_A, NOW, NOW + timedelta(days=1), **counts, **texts)  # type: ignore[arg-type] # by name
    assert reopen().change(UNIT, lambda _work, _at: full) == full
    assert reopen().units((UNIT,)) == (full,)


def test_what_a_transition_raises_passes_through_and_changes_nothing(store: UnitStore) -> None:
    store.change(UNIT, lambda work, at: begun(work, RIG_A, LIMITS, at))
    before, history = store.units((UNIT,)), store.history(0, 10)
    with pytest.raises(UnitInWork):
        store.change(UNIT, lambda work, at: begun(work, RIG_B, LIMITS, at))
    assert (store.units((UNIT,)), store.history(0, 10)) == (before, history)


def test_of_many_who_take_a_unit_at_once_one_has_it(reopen: Open) -> None:
    stores = [reopen() for _ in range(RACERS)]

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
    return replace(work, faults=work.faults + 1)


def test_no_count_is_lost_when_many_count_at_once(reopen: Open) -> None:
    stores = [reopen() for _ in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as threads:
        list(threads.map(lambda each: each.change(UNIT, counted), stores * 5))
    assert stores[0].units((UNIT,))[0].faults == RACERS * 5
    assert len(stores[0].history(0, 100)) == RACERS * 5


def test_units_that_share_a_chip_or_a_key_are_found(store: UnitStore) -> None:
    for unit, chip, key in (("BM-1", "c1", "k1"), ("BM-2", "c1", ""), ("BM-3", "c3", "k1"), ("BM-4", "", "")):
        store.change(unit, lambda work, _, chip=chip, key=key: replace(work, chip_serial=chip, key_sha256=key))  # type: ignore[misc] # mypy sees no default
    assert [work.unit for work in store.sharing("c1", "k1")] == ["BM-1", "BM-2", "BM-3"]
    assert [work.unit for work in store.sharing("c3", "")] == ["BM-3"]
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
    begin = store.change(UNIT, lambda work, at: begun(work, RIG_A, LIMITS, at))
    store.change(UNIT, lambda work, at: kept(work, RIG_A, LIMITS, at))
    end = store.change(UNIT, lambda work, at: ended(work, RIG_A, WorkState.DONE, "", LIMITS, at))
    changes = store.history(0, 10)
    assert [change.work for change in changes] == [begin, end]
    assert store.history(changes[0].number, 10) == changes[1:]
    assert store.history(0, 1) == changes[:1]
    store.change("BM-000002", lambda work, at: begun(work, RIG_A, LIMITS, at))
    assert store.history_of(UNIT) == changes


def test_a_database_that_is_away_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as away:
        UnitsPostgreSQL(f"host={tmp_path} dbname=none")
    assert away.value.finding == "store.unreachable"
