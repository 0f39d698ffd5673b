# SPDX-License-Identifier: Apache-2.0
"""The stores that a contract of the issuing authority is tried on: SQLite in memory and in a file, PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from birthmark.ca.ports import CAStore
from birthmark.stores import ca_postgres
from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore
from support.ledger_values import ORDER
from support.postgres import PostgreSQL, postgresql


@pytest.fixture(scope="session")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


def memory(_folder: Path, _cluster: PostgreSQL) -> CAStore:
    return SQLiteCAStore()


def sqlite(folder: Path, _cluster: PostgreSQL) -> CAStore:
    return SQLiteCAStore(folder / "ca.sqlite")


def postgres(_folder: Path, cluster: PostgreSQL) -> CAStore:
    dsn = cluster.new_database()
    ca_postgres.migrate(dsn)
    return PostgresCAStore(dsn)


@pytest.fixture(params=[memory, sqlite, postgres])
def store(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[CAStore]:
    """A store with one order in it."""
    make: Callable[[Path, PostgreSQL], CAStore] = request.param
    made = make(tmp_path, cluster)
    with made.writing() as ledger:
        ledger.put_order(ORDER)
    yield made
    made.close()
