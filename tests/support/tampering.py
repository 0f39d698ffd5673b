# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - the statements are those of the tests
"""
A ledger that somebody changes who can write its database: any row and column, past keys and constraints.

Each change is made to the same ledger in which everything has happened (`support.lived`), and is undone afterwards.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg

from birthmark.ca.transparency.check import check_ledger
from birthmark.stores import ca_postgres
from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore
from support.ca_parts import AUTHORITY
from support.lived import Lived
from support.postgres import PostgreSQL

OTHER = {
    "text": "coalesce({column}, '') || 'x'",
    "bigint": "coalesce({column}, 0) + 1000003",
    "sqlite bytes": "x'00'",
    "postgres bytes": "'\\x00'::bytea",
}
"""Another value for a column of each type: no row keeps its own."""
SET_ONLY = {("life", "dies_us"), ("life", "ending")}
"""Columns that the database lets nobody fill alone."""


class Tampering(Protocol):
    """A ledger in one database, and how that says: one zero byte; an entry as text."""

    zero_byte: str
    entry_text: str

    def is_empty(self, table: str) -> bool:
        """Say whether a table has no row."""
        ...

    def columns(self) -> dict[str, dict[str, str]]:
        """Return the type of every column of every table."""
        ...

    def findings(self, *statements: str) -> set[str]:
        """Return what the check finds after these statements."""
        ...


def other_value(ledger: Tampering, table: str, column: str) -> str:
    """Return the statement that gives every row of a table another value in a column."""
    value = OTHER[ledger.columns()[table][column]].format(column=column)
    where = f" WHERE {column} IS NOT NULL" if (table, column) in SET_ONLY else ""
    return f"UPDATE {table} SET {column} = {value}{where}"


class InSQLite:
    zero_byte = "x'00'"
    entry_text = "CAST(entry AS TEXT)"

    def __init__(self, ledger: bytes) -> None:
        self._ledger = ledger

    def columns(self) -> dict[str, dict[str, str]]:
        types = {"TEXT": "text", "INTEGER": "bigint", "BLOB": "sqlite bytes"}
        with self._copy() as (_, connection):
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {
                table: {row[1]: types[row[2]] for row in connection.execute(f"PRAGMA table_info({table})")}
                for table in tables
            }

    def findings(self, *statements: str) -> set[str]:
        with self._copy() as (path, connection):
            for statement in statements:
                connection.execute(statement)
            with closing(SQLiteCAStore(path)) as store, store.reading() as ledger:
                return {each.finding for each in check_ledger(ledger, AUTHORITY)}

    def is_empty(self, table: str) -> bool:
        with self._copy() as (_, connection):
            return connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is None

    @contextmanager
    def _copy(self) -> Iterator[tuple[Path, sqlite3.Connection]]:
        with tempfile.TemporaryDirectory(prefix="birthmark-") as folder:
            path = Path(folder, "ca.sqlite")
            path.write_bytes(self._ledger)
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                yield path, connection


class InPostgreSQL:
    zero_byte = "'\\x00'::bytea"
    entry_text = "convert_from(entry, 'UTF8')"

    def __init__(self, dsn: str) -> None:
        """Keep a copy of every table in a schema of its own."""
        self._dsn = dsn
        self._run("CREATE SCHEMA kept", *(f"CREATE TABLE kept.{each} AS TABLE {each}" for each in self.columns()))

    def columns(self) -> dict[str, dict[str, str]]:
        query = (
            "SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'"
        )
        found: dict[str, dict[str, str]] = {}
        with psycopg.connect(self._dsn) as connection:
            for table, column, kind in connection.execute(query):
                found.setdefault(table, {})[column] = "postgres bytes" if kind == "bytea" else kind
        del found["schema_version"]
        return found

    def findings(self, *statements: str) -> set[str]:
        try:
            self._run(*statements)
            with closing(PostgresCAStore(self._dsn)) as store, store.reading() as ledger:
                return {each.finding for each in check_ledger(ledger, AUTHORITY)}
        finally:
            tables = self.columns()
            self._run(
                *(f"DELETE FROM {table}" for table in tables),
                *(f"INSERT INTO {table} SELECT * FROM kept.{table}" for table in tables),
            )

    def is_empty(self, table: str) -> bool:
        with psycopg.connect(self._dsn) as connection:
            return connection.execute(f"SELECT 1 FROM {table} LIMIT 1".encode()).fetchone() is None

    def _run(self, *statements: str) -> None:
        with psycopg.connect(self._dsn) as connection:
            connection.execute("SET session_replication_role = replica")  # no foreign keys
            for statement in statements:
                connection.execute(statement.encode())


def in_sqlite() -> InSQLite:
    with tempfile.TemporaryDirectory(prefix="birthmark-") as folder:
        path = Path(folder, "ca.sqlite")
        with closing(SQLiteCAStore(path)) as store:
            Lived(store)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = delete")
        return InSQLite(path.read_bytes())


def in_postgresql(cluster: PostgreSQL) -> InPostgreSQL:
    dsn = cluster.new_database()
    ca_postgres.migrate(dsn)
    with closing(PostgresCAStore(dsn)) as store:
        Lived(store)
    return InPostgreSQL(dsn)


MAKERS: dict[str, Callable[[PostgreSQL], Tampering]] = {
    "SQLite": lambda _: in_sqlite(),
    "PostgreSQL": in_postgresql,
}
