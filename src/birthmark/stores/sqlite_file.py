# SPDX-License-Identifier: Apache-2.0
"""
One SQLite file with one schema: opening, creating, transactions, and SQLite's errors as StoreError.

WAL with synchronous=FULL: what a transaction has ended with is on the disk, also after a power cut. One connection
behind one re-entrant lock: calls may come from any thread, and a transaction keeps the other threads out.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from birthmark.core.errors import StoreError

_BUSY_TIMEOUT_S: Final = 5.0
_FINDINGS: Final = {
    sqlite3.SQLITE_FULL: "store.full",
    sqlite3.SQLITE_IOERR: "store.full",
    sqlite3.SQLITE_CONSTRAINT: "store.conflict",
    sqlite3.SQLITE_NOTADB: "store.foreign",
}
_OTHER_FILE: Final = "name another database file; this one is left as it is"
_PRIMARY_CODE_MASK: Final = 0xFF

MEMORY: Final = Path(":memory:")
"""SQLite's name for a database without a file."""

Argument = str | int | float | bytes | None


class SQLiteFile:
    """
    A database file whose schema is what the `migrations` lead to, marked as `application`'s (four letters).

    A new file gets the mark and all migrations, an older one those that it lacks. A newer version is refused, and so is
    every file with another mark, or with tables and no mark: one service never writes its tables into the database of
    another.
    """

    def __init__(self, path: Path, migrations: Sequence[str], application: bytes) -> None:
        self._path = path
        self._mark = int.from_bytes(application, "big")
        self._lock = threading.RLock()
        self._connection = self._opened(path)
        try:
            self._prepare(migrations)
        except BaseException:
            self._connection.close()
            raise

    def _opened(self, path: Path) -> sqlite3.Connection:
        # Made by us and not by SQLite, for its owner alone; the files beside it (WAL) get the same mode. Where it is
        # there already or cannot be made, SQLite opens it or says why not.
        if path != MEMORY:
            with suppress(OSError):
                path.touch(mode=0o600, exist_ok=False)
        try:
            return sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, with the write lock held from the start. Inside another transaction: a part of that one."""
        with self._begun("begin immediate"):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several reads of one state, without the write lock: other processes go on writing."""
        with self._begun("begin deferred"):
            yield

    def write(self, statement: str, *arguments: Argument) -> sqlite3.Cursor:
        """Run one statement in a transaction and return its cursor, for its `rowcount`."""
        with self._lock:
            if self._in_transaction():
                return self._execute(statement, arguments)
            with self.transaction():
                return self._execute(statement, arguments)

    def write_each(self, statement: str, arguments: Sequence[tuple[Argument, ...]]) -> int:
        """Run one statement for each set of arguments, in one transaction; return how many rows were touched."""
        with self.transaction():
            try:
                return self._connection.executemany(statement, arguments).rowcount
            except sqlite3.Error as error:
                raise self._failure(error) from error

    def read(self, query: str, *arguments: Argument) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock:
            return self._execute(query, arguments).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _begun(self, begin: str) -> Iterator[None]:
        with self._lock:
            if self._in_transaction():
                yield
                return
            self._execute(begin)
            try:
                yield
                self._execute("commit")
            except BaseException:
                # SQLite itself rolls back when the disk is full; a second rollback would be an error.
                if self._in_transaction():
                    self._execute("rollback")
                raise

    def _prepare(self, migrations: Sequence[str]) -> None:
        if not self._is_new():
            self._check(len(migrations))  # before the first write: a foreign file stays as it is
        for pragma in ("journal_mode = wal", "synchronous = full", "foreign_keys = on"):
            self._execute(f"pragma {pragma}")
        with self.transaction():
            # Of two processes that open a new file at once, the second finds it made.
            present = 0 if self._is_new() else self._check(len(migrations))
            if present < len(migrations):
                self._migrate(migrations[present:], len(migrations))

    def _is_new(self) -> bool:
        return self._number("select count(*) from sqlite_master") == 0 == self._number("pragma user_version")

    def _migrate(self, scripts: Sequence[str], version: int) -> None:
        for statement in ";\n".join(scripts).split(";\n"):
            self._execute(statement)
        self._execute(f"pragma user_version = {version}")
        self._execute(f"pragma application_id = {self._mark}")

    def _check(self, newest: int) -> int:
        """Return the version of the file, which is ours and not newer than this program."""
        if self._number("pragma application_id") != self._mark:
            raise StoreError(
                f"{self._path} is the database of another program", hint=_OTHER_FILE, finding="store.foreign"
            )
        found = self._number("pragma user_version")
        if found > newest:
            raise StoreError(
                f"{self._path} has schema version {found}, this program writes {newest}",
                hint="use the release that wrote it, or name another database file",
                finding="store.version",
            )
        return found

    def _number(self, query: str) -> int:
        return int(self._execute(query).fetchone()[0])

    def _in_transaction(self) -> bool:
        try:
            return self._connection.in_transaction
        except sqlite3.Error as error:  # the file was closed
            raise self._failure(error) from error

    def _execute(self, statement: str, arguments: tuple[Argument, ...] = ()) -> sqlite3.Cursor:
        # Every statement of every board goes through here: no context manager, for the sake of the line's time.
        try:
            return self._connection.execute(statement, arguments)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> StoreError:
        finding = _FINDINGS.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK, "")
        hint = _OTHER_FILE if finding == "store.foreign" else "look at the disk and at the rights"
        return StoreError(f"{self._path}: {error}", hint=hint, finding=finding)
