# SPDX-License-Identifier: Apache-2.0
"""
Copies of the issuing authority's ledger while it is in use, and ledgers made from such copies.

A copy is one consistent state: a transaction is in it whole or not at all, and no writer waits for it. SQLite copies
itself (its online backup); for PostgreSQL see ca_vault_postgres. A ledger is only ever restored to where none is. A
copy holds no private key; it holds names of people (birth records): it is written for its owner alone (mode 0600).
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from birthmark.core.errors import StoreError
from birthmark.stores.ca_schema import migrations
from birthmark.stores.ca_sqlite import APPLICATION

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_BESIDE: Final = ("-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What is known of a ledger without opening it for work. `wanted` is the schema version of this program."""

    kind: str
    version: int
    """0 where there is no schema."""
    wanted: int
    size_bytes: int


class Vault(Protocol):
    """Where a ledger is kept."""

    def status(self) -> StoreStatus:
        """Return what is there. Raises StoreError."""
        ...

    def backup(self, target: Path) -> None:
        """Write a copy to a file that is not there yet. Raises StoreError: store.exists, store.program, store.*."""
        ...

    def restore(self, source: Path) -> None:
        """
        Make the ledger of a copy.

        Raises:
            StoreError: store.not-empty where something is already; store.foreign for a file that is no such copy;
                store.program. Nothing is left of what was begun.

        """
        ...

    def discard(self) -> None:
        """Take away what `restore` has just made. Raises StoreError."""
        ...


class SQLiteVault:
    """A ledger in an SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> StoreStatus:
        """Return what is there."""
        with _sqlite(self._path) as connection:
            _demand_ours(connection, self._path)
            (version,) = connection.execute("pragma user_version").fetchone()
        return StoreStatus("SQLite", version, len(migrations()), self._path.stat().st_size)

    def backup(self, target: Path) -> None:
        """Write a copy, in one step: it sees one state, and in WAL mode writers go on."""
        with _sqlite(self._path) as source:
            _demand_ours(source, self._path)
            with new_file(target) as part, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
                # One file that needs no other beside it.
                copy.execute("pragma journal_mode = delete")

    def restore(self, source: Path) -> None:
        """Make the ledger of a copy whose pages are sound."""
        if any(Path(f"{self._path}{ending}").exists() for ending in ("", *_BESIDE)):
            raise StoreError(
                f"{self._path} is there already",
                hint="move it, and what lies beside it, away",
                finding="store.not-empty",
            )
        demand_magic(source, _SQLITE_MAGIC)
        with _sqlite(source) as copy:
            _demand_ours(copy, source)
            found = copy.execute("pragma integrity_check").fetchone()
            if found != ("ok",):
                raise StoreError(f"{source} is damaged: {found[0]}", hint="take another copy", finding="store.damaged")
            with new_file(self._path) as part, closing(sqlite3.connect(part)) as ledger:
                copy.backup(ledger)

    def discard(self) -> None:
        """Take the file away."""
        for ending in ("", *_BESIDE):
            Path(f"{self._path}{ending}").unlink(missing_ok=True)


# --- files -------------------------------------------------------------------------------------------------------


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Lend a file that becomes `target`, on the disk and whole, when the block ends well. Raises StoreError."""
    if target.exists():
        raise StoreError(f"{target} is there already", hint="name a new file", finding="store.exists")
    part = target.with_name(f"{target.name}.part")
    try:
        # Made by us: for its owner alone, from the first byte on.
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError as error:
        hint = "another one is at work, or was cut off: then delete it"
        raise StoreError(f"{part} is there already", hint=hint, finding="store.exists") from error
    except OSError as error:
        raise StoreError(f"{part}: {error.strerror}", hint="name a folder that can be written") from error
    try:
        yield part
        _sync(part)
        # A hard link fails where a rename would replace what somebody has put there meanwhile.
        os.link(part, target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise StoreError(f"{target}: {error}", hint="look at the disk") from error
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror}", hint="look at the disk") from error
    finally:
        for ending in ("", *_BESIDE):
            Path(f"{part}{ending}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def demand_magic(source: Path, magic: bytes) -> None:
    """Pass a file that begins so. Raises StoreError (store.foreign)."""
    try:
        with source.open("rb") as file:
            begin = file.read(len(magic))
    except OSError as error:
        raise StoreError(f"{source}: {error.strerror}", hint="name a copy that can be read") from error
    if begin != magic:
        hint = "a copy of an SQLite ledger is restored to SQLite, one of PostgreSQL to PostgreSQL"
        raise StoreError(f"{source} is no copy of such a ledger", hint=hint, finding="store.foreign")


# --- SQLite ------------------------------------------------------------------------------------------------------


@contextmanager
def _sqlite(path: Path) -> Iterator[sqlite3.Connection]:
    """Lend a connection that reads what is there, and makes no file. Raises StoreError."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}", hint="name the file of a ledger", finding="store.foreign") from error


def _demand_ours(connection: sqlite3.Connection, path: Path) -> None:
    (mark,) = connection.execute("pragma application_id").fetchone()
    if mark != int.from_bytes(APPLICATION, "big"):
        raise StoreError(f"{path} is no ledger", hint="name the file of a ledger", finding="store.foreign")
