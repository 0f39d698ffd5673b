# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL could do to the ledger's promises, and does not: defaults of others, broken connections, restarts."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import psycopg
import pytest

from birthmark.core.audit import AuditRow
from birthmark.core.errors import StoreError
from birthmark.stores import ca_postgres
from birthmark.stores.ca_postgres import PostgresCAStore
from support.ca_parts import CAParts
from support.postgres import PostgreSQL, postgresql

ROW = AuditRow(at=datetime(2026, 11, 23, tzinfo=UTC), who="rig:a", act="nonce")
HEAL_MAX_S = 30
BOARDS = 12
"""More than what a statement is planned for anew: from then on its plan is kept."""
GROWING = {"birth", "certificate", "issuance", "leaf", "life", "nonce", "nonce_use", "order_unit", "tile"}
_ROWS_READ_IN_TURN = "SELECT relname, seq_tup_read FROM pg_stat_user_tables"


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture
def dsn(cluster: PostgreSQL) -> str:
    made = cluster.new_database()
    ca_postgres.migrate(made)
    return made


@pytest.fixture
def hostile(dsn: str) -> str:
    """A database whose owner has set defaults that would break the ledger's promises."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = connection.info.dbname
        for setting in ("default_transaction_isolation = 'repeatable read'", "synchronous_commit = off"):
            connection.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    return dsn


def append(store: PostgresCAStore) -> int:
    with store.writing() as ledger:
        ledger.append([ROW])
        return ledger.log_size()


def refused_row(store: PostgresCAStore) -> None:
    with store.writing() as ledger:
        ledger.append([ROW])
        ledger.take_quota([("no such order", "BM-000001")])


def someone_waits(dsn: str) -> None:
    """Return once a writer waits for the writers' lock."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        deadline = time.monotonic() + HEAL_MAX_S
        while connection.execute(waiting).fetchone() == (0,):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_writer_that_has_waited_sees_what_the_other_has_written_whatever_the_defaults_are(hostile: str) -> None:
    one, two = PostgresCAStore(hostile), PostgresCAStore(hostile)
    sizes: list[int] = []
    thread = threading.Thread(target=lambda: sizes.append(append(two)))
    with one.writing() as ledger:
        ledger.append([ROW])
        assert ledger.log_size() == 1
        thread.start()
        someone_waits(hostile)
    thread.join()
    assert sizes == [2]
    one.close()
    two.close()


def test_what_is_committed_is_on_the_disk_whatever_the_defaults_are(hostile: str) -> None:
    store = PostgresCAStore(hostile)
    with store._pool.connection() as connection:
        shown = connection.execute("SHOW synchronous_commit").fetchone()
    assert shown == ("on",)
    store.close()


def read_in_turn(dsn: str) -> set[str]:
    """Return the tables of which rows were read one after the other, without an index."""
    with psycopg.connect(dsn) as connection:
        return {str(table) for table, rows in connection.execute(_ROWS_READ_IN_TURN) if rows}


def test_a_birth_costs_the_same_in_a_large_ledger_although_its_plans_were_made_in_an_empty_one(dsn: str) -> None:
    store = PostgresCAStore(dsn)
    parts = CAParts(store)
    for number in range(1, BOARDS + 1):
        parts.confirmed(parts.board(f"BM-{number:06d}"))
    store.close()  # the server counts what a session has read when it ends, at the latest
    assert not read_in_turn(dsn) & GROWING


def test_a_refused_row_leaves_the_connection_as_good_as_it_was(dsn: str) -> None:
    store = PostgresCAStore(dsn)
    for number in range(1, 8):
        with pytest.raises(StoreError) as refused:
            refused_row(store)
        assert refused.value.finding == "store.conflict"
        assert append(store) == number
    store.close()


def test_after_a_restart_of_the_server_the_store_works_again_by_itself(
    cluster: PostgreSQL, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca_postgres, "WAIT_TIMEOUT_S", 0.2)
    store = PostgresCAStore(dsn)
    assert append(store) == 1
    cluster.stop()
    for _ in range(20):
        with pytest.raises(StoreError) as away:
            append(store)
        assert away.value.finding == "store.unreachable"
    cluster.start()
    assert working_again(store) == 2
    store.close()


def working_again(store: PostgresCAStore) -> int:
    deadline = time.monotonic() + HEAL_MAX_S
    while time.monotonic() < deadline:
        with suppress(StoreError):
            return append(store)
    raise AssertionError("it does not work again")


def test_one_caller_waits_for_a_server_that_is_away_and_the_others_do_not(
    cluster: PostgreSQL, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca_postgres, "WAIT_TIMEOUT_S", 0.2)
    store = PostgresCAStore(dsn)
    waits: list[float] = []
    lend = store._pool.getconn
    monkeypatch.setattr(store._pool, "getconn", lambda wait_s: waits.append(wait_s) or lend(wait_s))
    cluster.stop()
    try:
        for _ in range(12):
            with pytest.raises(StoreError):
                append(store)
    finally:
        cluster.start()
    # Those that were lent a broken connection did not wait; the first one that waited in vain was the last to do so.
    assert waits == sorted(waits, reverse=True)
    assert waits.count(0.2) <= ca_postgres.POOL_MAX_CONNECTIONS + 1
    assert waits[-1] == ca_postgres.BRIEFLY_S
    assert working_again(store) == 1
    store.close()
