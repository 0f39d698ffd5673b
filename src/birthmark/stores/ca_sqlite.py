# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's ledger in SQLite: one file that several processes of one machine may share, or memory.

The schema is that of PostgreSQL (ca_schema/*.sql), said in SQLite's types; a file of an older release is brought up to
date when it is opened.
"""

import functools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from birthmark.core.ledger_rows import Value
from birthmark.stores.ca_database import Argument, Query
from birthmark.stores.ca_rows import Row, Table
from birthmark.stores.ca_schema import migrations
from birthmark.stores.ca_sql import SQLLedger
from birthmark.stores.sqlite_file import MEMORY, SQLiteFile

APPLICATION: Final = b"BMLG"
_TYPES: Final = (("BYTEA", "BLOB"), ("BIGINT", "INTEGER"), ("\n);", "\n) STRICT;"))


class SQLiteCAStore:
    """Implements ca.ports.CAStore on a file, made when it is not there; without a path, in memory."""

    def __init__(self, path: Path = MEMORY) -> None:
        self._file = SQLiteFile(path, tuple(_in_sqlite(script.sql) for script in migrations()), APPLICATION)
        self._ledger = SQLLedger(_SQLite(self._file))

    @contextmanager
    def reading(self) -> Iterator[SQLLedger]:
        """Open a consistent view, which takes no write lock."""
        with self._file.snapshot():
            yield self._ledger

    @contextmanager
    def writing(self) -> Iterator[SQLLedger]:
        """Open a transaction that no other writer can come between."""
        with self._file.transaction():
            yield self._ledger

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _SQLite:
    """Implements ca_database.Database."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def read(self, query: str, *arguments: Argument) -> list[Row]:
        return self._file.read(_spoken(query), *map(_bound, arguments))

    def read_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        return [self.read(query, *arguments) for query, arguments in queries]

    def write(self, statement: str, *arguments: Argument) -> None:
        self._file.write(_spoken(statement), *map(_bound, arguments))

    def change(self, statement: str, *arguments: Argument) -> int:
        return self._file.write(_spoken(statement), *map(_bound, arguments)).rowcount

    def write_each(self, statement: str, arguments: Sequence[tuple[Argument, ...]]) -> None:
        self._file.write_each(_spoken(statement), [tuple(map(_bound, each)) for each in arguments])

    def insert(self, table: Table, values: Sequence[tuple[Value, ...]], *, or_ignore: bool = False) -> None:
        self._file.write_each(_insert(table, or_ignore=or_ignore), values)


def _in_sqlite(script: str) -> str:
    for theirs, ours in _TYPES:
        script = script.replace(theirs, ours)
    return script


@functools.cache
def _spoken(statement: str) -> str:
    return statement.replace("IN LIST", "IN (SELECT value FROM json_each(?))")


def _bound(argument: Argument) -> Value:
    return argument if isinstance(argument, str | bytes | int | None) else json.dumps(list(argument))


@functools.cache
def _insert(table: Table, *, or_ignore: bool) -> str:
    columns, values = ", ".join(table.columns), ", ".join("?" * len(table.columns))
    if table.first_number is not None:
        columns = f"number, {columns}"
        values = f"(SELECT coalesce(max(number), {table.first_number - 1}) + 1 FROM {table.name}), {values}"  # noqa: S608 constant text
    ignored = " ON CONFLICT DO NOTHING" if or_ignore else ""
    return f"INSERT INTO {table.name} ({columns}) VALUES ({values}){ignored}"  # noqa: S608 constant text
