# SPDX-License-Identifier: Apache-2.0
"""
One rig's journal, births and outbox in one SQLite file.

WAL with synchronous=FULL: what a call has returned from is on the disk, also after a power cut. A birth, its parcels
and its journal entry are one transaction, so that a PASS never stands without its record or its deliveries.
"""

import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final, Self

from birthmark.core.delivery import JournalEntry, Parcel, SignedBirth
from birthmark.core.errors import StoreError

SCHEMA_VERSION: Final = 1
RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Free space below which nothing is issued: room for thousands of births, so that no issued one is without."""
_BUSY_TIMEOUT_S: Final = 5.0
_DISK_CODES: Final = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_PRIMARY_CODE_MASK: Final = 0xFF

_SCHEMA = """
create table journal (
    id integer primary key,
    at text not null,
    run text not null,
    position integer not null,
    unit text not null,
    event text not null,
    step text not null,
    ms real,
    verdict text not null,
    finding text not null,
    detail text not null
) strict;
create index journal_unit on journal (unit);
create table birth (
    sequence integer primary key autoincrement,
    key text not null unique,
    unit text not null,
    jws text not null
) strict;
create table outbox (
    destination text not null,
    sequence integer not null references birth (sequence),
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'parked')),
    attempts integer not null default 0,
    reason text not null default '',
    primary key (destination, sequence)
) strict, without rowid;
create index outbox_open on outbox (state, destination, sequence) where state <> 'delivered';
"""
_COLUMNS = "at, run, position, unit, event, step, ms, verdict, finding, detail"
_JOURNAL = f"insert into journal ({_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 constant text


class LineSQLite:
    """The line's store (`line.ports.LineStore`). One connection behind one lock: calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with _translated(path):
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _prepare(self) -> None:
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = full")
        self._connection.execute("pragma foreign_keys = on")
        version = self._version()
        if version == 0:
            self._create()
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} has schema version {version}, this program writes {SCHEMA_VERSION}",
                hint="use the release that wrote it, or name another database file",
                finding="store.version",
            )

    def _version(self) -> int:
        return int(self._connection.execute("pragma user_version").fetchone()[0])

    def _create(self) -> None:
        """Create the tables; of two processes that open a new file at once, the second finds them made."""
        self._connection.execute("begin immediate")
        if self._version() == 0:
            for statement in _SCHEMA.split(";\n"):
                self._connection.execute(statement)
            self._connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        self._connection.execute("commit")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _translated(self._path):
            self._connection.execute("begin immediate")
            try:
                yield self._connection
                self._connection.execute("commit")
            except BaseException:
                # SQLite itself rolls back when the disk is full; a second rollback would be an error.
                if self._connection.in_transaction:
                    self._connection.execute("rollback")
                raise

    def journal(self, entries: Sequence[JournalEntry]) -> None:
        """Append the entries, all or none."""
        with self._transaction() as connection:
            connection.executemany(_JOURNAL, map(astuple, entries))

    def entries(self, unit: str) -> tuple[JournalEntry, ...]:
        """Return what the journal holds about one unit, oldest first."""
        rows = self._read(f"select {_COLUMNS} from journal where unit = ? order by id", unit)  # noqa: S608 constant text
        return tuple(JournalEntry(*row) for row in rows)

    def require_room(self) -> None:
        """Raise StoreError when less than RESERVE_BYTES are free where the database lies."""
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError as error:
            raise StoreError(f"{self._path.parent}: {error.strerror}") from error
        if free < RESERVE_BYTES:
            raise StoreError(
                f"{self._path.parent} has {free // 1024} KiB left; {RESERVE_BYTES // 1024} KiB are kept for births",
                hint="make room on this disk",
                finding="store.full",
            )

    def birth(self, key: str) -> SignedBirth | None:
        """Return the birth with this idempotency key, or None."""
        rows = self._read("select key, unit, jws from birth where key = ?", key)
        return SignedBirth(*rows[0]) if rows else None

    def births(self) -> tuple[SignedBirth, ...]:
        """Return all births in the order in which they were committed."""
        return tuple(SignedBirth(*row) for row in self._read("select key, unit, jws from birth order by sequence"))

    def commit_birth(self, birth: SignedBirth, destinations: Sequence[str], entries: Sequence[JournalEntry]) -> None:
        """Keep birth, one parcel per destination and the journal entries in one transaction. A known key adds none."""
        with self._transaction() as connection:
            connection.executemany(_JOURNAL, map(astuple, entries))
            added = connection.execute(
                "insert into birth (key, unit, jws) values (?, ?, ?) on conflict (key) do nothing", astuple(birth)
            )
            if added.rowcount:
                rows = [(destination, added.lastrowid) for destination in destinations]
                connection.executemany("insert into outbox (destination, sequence) values (?, ?)", rows)

    def next_parcel(self, destination: str) -> Parcel | None:
        """Return the first waiting parcel for the destination, in the order of the births."""
        rows = self._read(
            "select sequence, attempts, key, unit, jws from outbox join birth using (sequence)"
            " where state = 'waiting' and destination = ? order by sequence limit 1",
            destination,
        )
        if not rows:
            return None
        sequence, attempts, *birth = rows[0]
        return Parcel(sequence, destination, SignedBirth(*birth), attempts)

    def delivered(self, parcel: Parcel) -> None:
        """Note that the destination has taken the parcel."""
        self._mark(parcel, "delivered", "")

    def deferred(self, parcel: Parcel, reason: str) -> None:
        """Note a failed attempt. The parcel stays first in its line."""
        self._mark(parcel, "waiting", reason)

    def parked(self, parcel: Parcel, reason: str) -> None:
        """Put a refused parcel aside, with the reason; the next one moves up."""
        self._mark(parcel, "parked", reason)

    def _mark(self, parcel: Parcel, state: str, reason: str) -> None:
        with self._transaction() as connection:
            connection.execute(
                "update outbox set state = ?, reason = ?, attempts = attempts + 1"
                " where destination = ? and sequence = ?",
                (state, reason, parcel.destination, parcel.sequence),
            )

    def unpark(self, destination: str) -> int:
        """Let the parked parcels wait again and return how many there were."""
        with self._transaction() as connection:
            return connection.execute(
                "update outbox set state = 'waiting' where state = 'parked' and destination = ?", (destination,)
            ).rowcount

    def waiting(self) -> int:
        """Return how many parcels wait, over all destinations. Parked ones are not counted."""
        return self._count("waiting")

    def parked_count(self) -> int:
        """Return how many parcels are parked, over all destinations."""
        return self._count("parked")

    def _count(self, state: str) -> int:
        return int(self._read("select count(*) from outbox where state = ?", state)[0][0])

    def _read(self, query: str, *arguments: str) -> list[tuple[Any, ...]]:
        with self._lock, _translated(self._path):
            return self._connection.execute(query, arguments).fetchall()

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._connection.close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK
        finding = "store.full" if code in _DISK_CODES else ""
        raise StoreError(f"{path}: {error}", hint="look at the disk and at the rights", finding=finding) from error
