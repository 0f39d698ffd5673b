# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL that stands still and is not dead: nobody waits for it for ever, and what comes after is right."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pytest

from birthmark.core.audit import AuditRow
from birthmark.core.errors import StoreError
from birthmark.stores import ca_postgres, postgres_patience
from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.postgres_patience import ISSUING, READING, Patience
from support.postgres import PostgreSQL, postgresql

ROW = AuditRow(at=datetime(2026, 11, 23, tzinfo=UTC), who="rig:a", act="nonce")
SHORT = Patience(statement_s=1, lock_s=1, idle_s=2, silence_s=1.5)
HEAL_MAX_S = 30
MARGIN_S = 5.0
"""How much longer than it should anything may take on a machine that is busy."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


@pytest.fixture
def store(cluster: PostgreSQL) -> Iterator[PostgresCAStore]:
    made = cluster.new_database()
    ca_postgres.migrate(made)
    opened = PostgresCAStore(made, SHORT)
    yield opened
    opened.close()


@contextmanager
def stuck(cluster: PostgreSQL) -> Iterator[None]:
    cluster.suspend()
    try:
        yield
    finally:
        cluster.resume()


def append(store: PostgresCAStore) -> int:
    with store.writing() as ledger:
        ledger.append([ROW])
        return ledger.log_size()


def read(store: PostgresCAStore) -> int:
    with store.reading() as ledger:
        return ledger.log_size()


def working_again(store: PostgresCAStore) -> int:
    deadline = time.monotonic() + HEAL_MAX_S
    while True:
        try:
            return append(store)
        except StoreError:
            assert time.monotonic() < deadline, "it does not work again"


def failure(act: object, store: PostgresCAStore) -> StoreError:
    assert callable(act)
    with pytest.raises(StoreError) as failed:
        act(store)
    return failed.value


@pytest.mark.parametrize("act", [read, append])
def test_a_server_that_stands_still_is_given_up_and_used_again_when_it_goes_on(
    cluster: PostgreSQL, store: PostgresCAStore, act: object
) -> None:
    append(store)
    with stuck(cluster):
        begin = time.monotonic()
        assert failure(act, store).finding == "store.unreachable"
        assert time.monotonic() - begin < SHORT.silence_s + MARGIN_S
    size = working_again(store)
    assert read(store) == size


def test_after_the_first_one_who_waited_nobody_waits_as_long(cluster: PostgreSQL, store: PostgresCAStore) -> None:
    threads = [threading.Thread(target=read, args=(store,)) for _ in range(ca_postgres.POOL_MAX_CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stuck(cluster):
        failure(append, store)
        begin = time.monotonic()
        for _ in range(5):
            assert failure(append, store).finding == "store.unreachable"
        assert time.monotonic() - begin < SHORT.silence_s + MARGIN_S
    working_again(store)


def test_a_transaction_that_was_cut_before_its_commit_never_happens(
    cluster: PostgreSQL, store: PostgresCAStore
) -> None:
    append(store)

    def interrupted(store: PostgresCAStore) -> None:
        with store.writing() as ledger:
            ledger.append([ROW])
            assert ledger.log_size() == 2
            cluster.suspend()
            ledger.log_size()

    try:
        assert failure(interrupted, store).finding == "store.unreachable"
    finally:
        cluster.resume()
    assert working_again(store) == 2


def test_a_transaction_that_was_cut_in_its_commit_happened_or_did_not(
    cluster: PostgreSQL, store: PostgresCAStore
) -> None:
    append(store)

    def interrupted(store: PostgresCAStore) -> None:
        with store.writing() as ledger:
            ledger.append([ROW])
            cluster.suspend()

    try:
        assert failure(interrupted, store).finding == "store.unreachable"
    finally:
        cluster.resume()
    # The server has the commit in its socket: it happens when it goes on, before the next writer has the lock.
    assert working_again(store) in {2, 3}


def test_a_server_that_stands_still_while_it_is_connected_to_is_given_up(
    cluster: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ca_postgres, "WAIT_TIMEOUT_S", 0.5)
    dsn = cluster.new_database()
    ca_postgres.migrate(dsn)
    with stuck(cluster):
        with pytest.raises(StoreError) as failed:
            PostgresCAStore(dsn, SHORT)
        assert failed.value.finding == "store.unreachable"


def test_a_writer_that_does_nothing_holds_up_the_others_no_longer_than_its_limit(store: PostgresCAStore) -> None:
    lazy = PostgresCAStore(store._pool.conninfo, SHORT)

    def idle(lazy: PostgresCAStore) -> None:
        with lazy.writing() as ledger:
            ledger.append([ROW])
            assert ledger.log_size() == 1
            assert working_again(store) == 1
            ledger.log_size()

    assert failure(idle, lazy).finding == "store.unreachable"
    assert append(store) == 2
    lazy.close()


def test_what_ends_in_time_is_never_cut(store: PostgresCAStore) -> None:
    """Many statements, together longer than the silence that is borne."""
    with store.reading() as ledger:
        for _ in range(4):
            time.sleep(SHORT.silence_s / 2)
            assert ledger.log_size() == 0


@pytest.mark.parametrize("patience", [ISSUING, READING])
def test_the_server_gives_up_before_we_do(patience: Patience) -> None:
    assert max(patience.statement_s, patience.lock_s) < patience.silence_s


def test_the_limits_are_those_of_every_session(store: PostgresCAStore) -> None:
    with store._lent() as lease:
        connection = lease.connection
        for name, value in SHORT.settings.items():
            if not name.startswith("tcp_"):  # which mean nothing on a Unix socket
                assert connection.execute(b"SHOW " + name.encode()).fetchone() == (value,)
        given = connection.info.get_parameters()
        assert {name: int(given[name]) for name in postgres_patience.NETWORK} == dict(postgres_patience.NETWORK)


def test_a_connection_whose_time_is_over_is_cut_although_its_server_never_says_a_word(
    cluster: PostgreSQL,
) -> None:
    watch = postgres_patience.Watch(0.5)
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        with watch.over(connection) as lease, pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")
        assert (lease.ended, connection.closed) == (True, True)
    watch.close()
