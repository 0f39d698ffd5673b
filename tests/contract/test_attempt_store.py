# SPDX-License-Identifier: Apache-2.0
"""What every store of a line's units guarantees of the attempts at them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from msgspec import structs

from birthmark.core.attempts import Attempt, Cell, Grain, KeepUnits, Outcome, Period
from birthmark.core.work import NEVER, UnitWork, WorkState
from birthmark.line.attempts import counted
from birthmark.line.errors import UnitInWork
from birthmark.line.ports import UnitStore
from birthmark.stores import units_rows
from birthmark.stores.sqlite_file import SQLiteFile
from birthmark.stores.units_postgres import UnitsPostgreSQL
from birthmark.stores.units_sqlite import UnitsSQLite
from support.attempts import attempt
from support.postgres import PostgreSQL

AT = datetime(2026, 5, 4, 11, 59, 59, 999_999, UTC)
"""The last microsecond before noon."""
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ALWAYS = Period(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
RACERS = 8

Open = Callable[[], UnitStore]


@pytest.fixture(params=["sqlite", "postgres"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[Open]:
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


def end(store: UnitStore, told: Attempt, at: datetime = AT, state: WorkState = WorkState.OPEN) -> Attempt:
    """End an attempt at a moment of the test's own."""

    def ending(work: UnitWork, _: datetime) -> tuple[UnitWork, Attempt]:
        after, ended = counted(work, told, at)
        return replace(after, state=state, changed_at=at), ended

    return store.end(told.unit, ending)


def failed(number: int, **changes: object) -> Attempt:
    return attempt(number, verdict="FAIL", finding="chip.communication", step="observe", **changes)


def test_an_attempt_is_read_as_it_was_ended_and_its_unit_is_counted(store: UnitStore) -> None:
    told = attempt(1, site="plant", line="smt-4", station="s", fixture="fx-1", step_ms={"power": 1.5}, faults=2)
    ended = end(store, told, state=WorkState.DONE)
    assert replace(ended, number=0) == replace(told, outcome=Outcome.PASSED, nth=1, ended_at=AT)
    assert store.last("rig-a", 10) == store.attempts(ALWAYS, None, 10) == (ended,)
    (work,) = store.units((told.unit,))
    assert (work.state, work.tries, work.passes) == (WorkState.DONE, 1, 1)
    assert [change.work for change in store.history_of(told.unit)] == [work]


def test_an_attempt_that_is_ended_twice_is_one(store: UnitStore) -> None:
    once = end(store, failed(1))
    assert end(store, failed(1), AT + HOUR) == once
    assert store.attempts(ALWAYS, None, 10) == (once,)
    assert sum(cell.attempts for cell in store.cells(ALWAYS, Grain.PLACES)) == 1
    assert store.units((once.unit,))[0].tries == 1


def test_what_an_ending_raises_passes_through_and_keeps_nothing(store: UnitStore) -> None:
    def refuse(_work: UnitWork, _at: datetime) -> tuple[UnitWork, Attempt]:
        raise UnitInWork("another rig has it")

    with pytest.raises(UnitInWork):
        store.end("BM-000001", refuse)
    assert store.attempts(ALWAYS, None, 10) == store.cells(ALWAYS, Grain.PLACES) == ()


def test_no_attempt_is_lost_when_rigs_end_theirs_at_once(reopen: Open) -> None:
    stores = [reopen() for _ in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as threads:
        list(threads.map(lambda number: end(stores[number % RACERS], failed(number % 5, run=f"{number}")), range(40)))
    (cell,) = {structs.replace(each, first=False, attempts=0) for each in stores[0].cells(ALWAYS, Grain.PLACES)}
    assert (cell.finding, cell.outcome) == ("chip.communication", Outcome.FAILED)
    assert {cell.first: cell.attempts for cell in stores[0].cells(ALWAYS, Grain.PLACES)} == {True: 5, False: 35}
    assert {work.tries for work in stores[0].units([f"BM-{number:06d}" for number in range(5)])} == {8}


def test_a_period_begins_and_ends_at_the_microsecond_also_within_an_hour(store: UnitStore) -> None:
    for number in range(1, 7):
        end(store, attempt(number), AT + (number - 3) * 30 * MINUTE)
    for since in (AT - HOUR, AT - MINUTE, AT, AT + timedelta(microseconds=1), AT + 31 * MINUTE):
        for until in (AT, AT + timedelta(microseconds=1), AT + HOUR, AT + 95 * MINUTE):
            expected = sum(since <= each.ended_at < until for each in store.attempts(ALWAYS, None, 10))
            assert sum(cell.attempts for cell in store.cells(Period(since, until), Grain.PLACES)) == expected, (
                since,
                until,
            )


def test_cells_say_where_attempts_ended_alike(store: UnitStore) -> None:
    for number in (1, 2):
        end(store, attempt(number, run=f"run-{number}", position=3, faults=1))
    end(store, failed(3, position=4, fixture="fx-1"))
    passed = Cell(NEVER, "rig-a", 3, "ada", "", "order-1", "", "", Outcome.PASSED, True, 2, 2)  # noqa: FBT003 a row
    wrong = Cell(
        *(NEVER, "rig-a", 4, "ada", "fx-1", "order-1", "observe", "chip.communication", Outcome.FAILED),
        first=True,
        attempts=1,
        faults=0,
    )
    for period in (ALWAYS, Period(AT - MINUTE, AT + MINUTE)):
        assert sorted(store.cells(period, Grain.PLACES), key=lambda cell: cell.position) == [passed, wrong]


def test_spans_of_time_begin_with_the_first_hour_of_the_period(store: UnitStore) -> None:
    for number in range(1, 50):
        end(store, attempt(number, position=number, rig=f"rig-{number % 2}"), AT + (number - 1) * HOUR)
    period = Period(AT - 10 * MINUTE, AT + 60 * HOUR)
    hours = store.cells(period, Grain.HOURS)
    assert {cell.hour for cell in hours} == {
        datetime(2026, 5, 4, 11, tzinfo=UTC) + number * HOUR for number in range(49)
    }
    assert {(cell.position, cell.operator, cell.order, cell.attempts) for cell in hours} == {(0, "", "order-1", 1)}
    days = {(cell.hour.day, cell.hour.hour, cell.rig): cell.attempts for cell in store.cells(period, Grain.DAYS)}
    assert days == {(day, 11, f"rig-{rig}"): 12 for day in (4, 5) for rig in (0, 1)} | {(6, 11, "rig-1"): 1}
    assert store.unfinished(period, Grain.DAYS) == ()
    end(store, failed(99), AT + HOUR)
    (cell,) = store.unfinished(period, Grain.HOURS)
    assert (cell.hour.hour, cell.rig, cell.first, cell.attempts) == (12, "rig-a", True, 1)


@pytest.mark.parametrize(
    ("state", "passes", "expected"),
    [
        (WorkState.OPEN, False, 1),
        (WorkState.FAILED, False, 1),
        (WorkState.SPENT, False, 1),
        (WorkState.QUARANTINED, True, 1),
        (WorkState.DONE, True, 0),
        (WorkState.IN_WORK, True, 0),
    ],
)
def test_a_unit_is_unfinished_until_it_is_good(
    store: UnitStore,
    state: WorkState,
    passes: bool,  # noqa: FBT001 a column of the table
    expected: int,
) -> None:
    told = attempt(1) if passes else failed(1)
    end(store, told, state=state)
    end(store, attempt(2), state=WorkState.DONE)
    assert sum(cell.attempts for cell in store.unfinished(ALWAYS, Grain.PLACES)) == expected
    assert store.unfinished(Period(AT + MINUTE, AT + HOUR), Grain.PLACES) == ()


def test_attempts_come_page_by_page_and_the_last_of_a_rig_newest_first(store: UnitStore) -> None:
    for number in range(1, 6):
        end(store, attempt(number, rig="rig-a" if number % 2 else "rig-b"), AT + (number // 2) * MINUTE)
    pages: list[Attempt] = []
    while page := store.attempts(ALWAYS, pages[-1] if pages else None, 2):
        pages += page
    assert [each.unit[-1] for each in pages] == ["1", "2", "3", "4", "5"]
    assert [each.unit[-1] for each in store.last("rig-a", 2)] == ["5", "3"]


def test_what_need_not_be_kept_goes_and_what_is_not_done_stays(store: UnitStore) -> None:
    states = {1: WorkState.DONE, 2: WorkState.SPENT, 3: WorkState.DONE}
    for number, state in states.items():
        end(store, attempt(number) if state is WorkState.DONE else failed(number), AT + number * HOUR, state)
    assert store.prune(KeepUnits(AT - HOUR, AT - HOUR)) == 0
    keep = KeepUnits(attempts_since=AT + 3 * HOUR, units_since=AT + 2 * HOUR)
    assert store.prune(keep) == 3
    assert [each.unit[-1] for each in store.attempts(ALWAYS, None, 10)] == ["3"]
    assert sum(cell.attempts for cell in store.cells(ALWAYS, Grain.PLACES)) == 1
    first, second, third = store.units([f"BM-{number:06d}" for number in states])
    assert first == UnitWork("BM-000001")
    assert store.history_of("BM-000001") == ()
    assert (second.state, second.tries) == (WorkState.SPENT, 1)
    assert third.state is WorkState.DONE
    assert len(store.history_of("BM-000003")) == 1


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_store_of_the_first_version_becomes_one_that_counts(kind: str, tmp_path: Path, cluster: PostgreSQL) -> None:
    made = (units_rows.UNIT_WORK, units_rows.UNIT_CHANGE, *units_rows.INDEXES)
    names = [name for name in units_rows.COLUMNS if name not in {"tries", "passes"}]
    rows = [
        ("BM-1", "done", "rig-a", "r", 0, 0, "", "c", "k", 1, 0, 0, 0, "", ""),
        ("BM-2", "failed", "rig-a", "r", 0, 0, "chip.refused", "c", "k", 2, 0, 0, 0, "", ""),
    ]
    store: UnitStore
    if kind == "sqlite":
        path = tmp_path / "units.sqlite"
        number = "integer primary key autoincrement"
        old = SQLiteFile(path, (";\n".join(each.format(number=number) for each in made),), b"BMUN")
        old.write_each(f"insert into unit_work ({', '.join(names)}) values ({', '.join('?' * 15)})", rows)  # noqa: S608 constant text
        old.close()
        store = UnitsSQLite(path)
    else:
        dsn = cluster.new_database()
        with psycopg.connect(dsn) as connection:
            for statement in made:
                text = statement.format(number="bigint generated always as identity primary key")
                connection.execute(text.encode())
            insert = f"insert into unit_work ({', '.join(names)}) values ({', '.join(['%s'] * 15)})"  # noqa: S608 constant text
            connection.cursor().executemany(insert.encode(), rows)
        store = UnitsPostgreSQL(dsn)
    done, failed_one = store.units(("BM-1", "BM-2"))
    assert (done.tries, done.passes, failed_one.tries, failed_one.passes) == (2, 1, 2, 0)
    assert end(store, attempt(1, unit="BM-1", verdict="PASS-ALREADY")).outcome is Outcome.REPEATED
    store.close()
