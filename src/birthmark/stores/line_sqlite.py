# SPDX-License-Identifier: Apache-2.0
"""
One rig's journal, births and outbox in one SQLite file.

WAL with synchronous=FULL: what a call has returned from is on the disk, also after a power cut. A birth, its parcels
and its journal entry are one transaction, so that a PASS never stands without its record or its deliveries.
"""

import shutil
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Final, Self

from birthmark.core.delivery import JournalEntry, Parcel, SignedBirth
from birthmark.core.errors import StoreError
from birthmark.stores.group_commit import GroupCommit
from birthmark.stores.sqlite_file import SQLiteFile

_APPLICATION: Final = b"BMLI"
RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Free space below which nothing is issued: room for thousands of births, so that no issued one is without."""

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
_row = attrgetter(*_COLUMNS.split(", "))
_JOURNAL = f"insert into journal ({_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 constant text


class LineSQLite:
    """The line's store (`line.ports.LineStore`). Calls may come from any thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises StoreError when it cannot be used."""
        self._path = path
        self._file = SQLiteFile(path, (_SCHEMA,), _APPLICATION)
        self._commits = GroupCommit(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def journal(self, entries: Sequence[JournalEntry]) -> None:
        """Append the entries, all or none."""
        self._commits.write(lambda: self._append(entries))

    def entries(self, unit: str) -> tuple[JournalEntry, ...]:
        """Return what the journal holds about one unit, oldest first."""
        rows = self._file.read(f"select {_COLUMNS} from journal where unit = ? order by id", unit)  # noqa: S608 constant text
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
        rows = self._file.read("select key, unit, jws from birth where key = ?", key)
        return SignedBirth(*rows[0]) if rows else None

    def births(self) -> tuple[SignedBirth, ...]:
        """Return all births in the order in which they were committed."""
        return tuple(SignedBirth(*row) for row in self._file.read("select key, unit, jws from birth order by sequence"))

    def commit_birth(self, birth: SignedBirth, destinations: Sequence[str], entries: Sequence[JournalEntry]) -> None:
        """Keep birth, one parcel per destination and the journal entries in one transaction. A known key adds none."""
        self._commits.write(lambda: self._add(birth, destinations, entries))

    def _append(self, entries: Sequence[JournalEntry]) -> None:
        for entry in entries:
            self._file.write(_JOURNAL, *_row(entry))

    def _add(self, birth: SignedBirth, destinations: Sequence[str], entries: Sequence[JournalEntry]) -> None:
        self._append(entries)
        added = self._file.write(
            "insert into birth (key, unit, jws) values (?, ?, ?) on conflict (key) do nothing",
            birth.key,
            birth.unit,
            birth.jws,
        )
        if added.rowcount:
            for name in destinations:
                self._file.write("insert into outbox (destination, sequence) values (?, ?)", name, added.lastrowid)

    def next_parcel(self, destination: str) -> Parcel | None:
        """Return the first waiting parcel for the destination, in the order of the births."""
        rows = self._file.read(
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
        self._file.write(
            "update outbox set state = ?, reason = ?, attempts = attempts + 1 where destination = ? and sequence = ?",
            state,
            reason,
            parcel.destination,
            parcel.sequence,
        )

    def unpark(self, destination: str) -> int:
        """Let the parked parcels wait again and return how many there were."""
        return self._file.write(
            "update outbox set state = 'waiting' where state = 'parked' and destination = ?", destination
        ).rowcount

    def waiting(self) -> int:
        """Return how many parcels wait, over all destinations. Parked ones are not counted."""
        return self._count("waiting")

    def parked_count(self) -> int:
        """Return how many parcels are parked, over all destinations."""
        return self._count("parked")

    def _count(self, state: str) -> int:
        return int(self._file.read("select count(*) from outbox where state = ?", state)[0][0])

    def close(self) -> None:
        """Let go of the database."""
        self._file.close()
