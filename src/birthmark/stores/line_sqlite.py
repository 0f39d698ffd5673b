# SPDX-License-Identifier: Apache-2.0
"""
One rig's journal, events and outbox in one SQLite file.

WAL with synchronous=FULL: what a call has returned from is on the disk, also after a power cut. A journal entry and
the events that tell it are one transaction, so that a PASS never stands without its birth record or its deliveries.
"""

import shutil
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, LiteralString, Self

import msgspec

from birthmark.core.attempts import OwedEnd
from birthmark.core.delivery import Aside, Backlog, JournalEntry, Keep, Parcel, Routes, Wants
from birthmark.core.errors import StoreError
from birthmark.core.line_events import LineEvent, encode_event
from birthmark.stores.group_commit import GroupCommit
from birthmark.stores.line_schema import APPLICATION, MIGRATIONS
from birthmark.stores.sqlite_file import SQLiteFile

RESERVE_BYTES: Final = 16 * 1024 * 1024
"""Free space below which nothing is issued: room for thousands of births, so that no issued one is without."""
PRUNED_AT_ONCE: Final = 2_000
"""Rows that one call of `prune` takes away at most: more than the largest panel makes, and no wait for the line."""

_COLUMNS = "at, run, position, unit, event, step, ms, verdict, finding, detail"
_row = attrgetter(*_COLUMNS.split(", "))
_JOURNAL = f"insert into journal ({_COLUMNS}) values (?,?,?,?,?,?,?,?,?,?)"  # noqa: S608 constant text
_PARCEL: LiteralString = "sequence, key, unit, body"
_OPEN: LiteralString = """
from event join destination on destination.name = ?
where sequence > done and (wants = 'everything' or kind = 'unit.born')
    and not exists (select 1 from aside where aside.destination = name and aside.sequence = event.sequence)
"""
"""What waits for a destination behind its cursor."""
_CATCH_UP: LiteralString = """
update destination set done = coalesce((
    select sequence - 1 from event
    where sequence > done and (wants = 'everything' or kind = 'unit.born')
        and not exists (select 1 from aside where aside.destination = name and aside.sequence = event.sequence)
    order by sequence limit 1), (select sequence from identity))
"""
"""Lets the cursors pass over what their destinations do not want, and what is parked."""


class LineSQLite:
    """The line's store (`line.ports.LineStore`). Calls may come from any thread."""

    def __init__(self, path: Path, routes: Routes = MappingProxyType({})) -> None:
        """
        Open or create the file, for these destinations; a new one gets what is committed from now on.

        Raises:
            StoreError: the file cannot be used.

        """
        self._path = path
        self._routes = routes
        self._file = SQLiteFile(path, MIGRATIONS, APPLICATION)
        self._commits = GroupCommit(self._file)
        try:
            self._route(routes)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database."""
        self._file.close()

    # --- journal and events ---

    def journal(self, entries: Sequence[JournalEntry], events: Sequence[LineEvent] = ()) -> None:
        """
        Append the entries, and the events that tell them, all or none.

        Each event gets the next sequence of this journal. One whose key is there already is not added again.
        """
        self._commits.write(lambda: self._append(entries, events))

    def entries(self, unit: str) -> tuple[JournalEntry, ...]:
        """Return what the journal holds about one unit, oldest first."""
        rows = self._file.read(f"select {_COLUMNS} from journal where unit = ? order by id", unit)  # noqa: S608 constant text
        return tuple(JournalEntry(*row) for row in rows)

    def has(self, key: str) -> bool:
        """Say whether an event with this idempotency key is on the disk."""
        return bool(self._file.read("select 1 from event where key = ?", key))

    def told(self, kind: str = "") -> tuple[Parcel, ...]:
        """Return the events that are kept, of one kind or all, in their order, as parcels for nobody."""
        rows = self._file.read(
            f"select {_PARCEL} from event where ? in ('', kind) order by sequence",  # noqa: S608 constant text
            kind,
        )
        return tuple(_parcel("", row, 0) for row in rows)

    def since(self, kinds: Sequence[str]) -> tuple[Parcel, ...]:
        """Return the last event of these kinds and all after it, as parcels for nobody; all, where there is none."""
        marks = ", ".join("?" * len(kinds))
        rows = self._file.read(
            f"select {_PARCEL} from event where sequence >= coalesce("  # noqa: S608 constant text and question marks
            f"(select sequence from event where kind in ({marks}) order by sequence desc limit 1), 0)"
            " order by sequence",
            *kinds,
        )
        return tuple(_parcel("", row, 0) for row in rows)

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

    def _append(self, entries: Sequence[JournalEntry], events: Sequence[LineEvent]) -> None:
        for entry in entries:
            self._file.write(_JOURNAL, *_row(entry))
        for event in events:
            if not self.has(event.idempotency_key):
                self._add(event)

    def _add(self, event: LineEvent) -> None:
        ((journal, sequence),) = self._file.write(
            "update identity set sequence = sequence + 1 returning journal, sequence"
        ).fetchall()
        event = msgspec.structs.replace(event, journal=journal, sequence=sequence)
        self._file.write(
            "insert into event (sequence, key, kind, unit, at, body) values (?, ?, ?, ?, ?, ?)",
            sequence,
            event.idempotency_key,
            event.kind,
            event.about,
            event.at,
            encode_event(event).decode(),
        )

    # --- outbox ---

    def parcels(self, destination: str, limit: int) -> tuple[Parcel, ...]:
        """Return the first that wait for a destination: what was let go again, then the others in their order."""
        attempts = self._attempts(destination)
        rows = self._file.read(
            "select sequence, key, unit, body, attempts from aside join event using (sequence)"
            " where destination = ? and state = 'again' order by sequence limit ?",
            destination,
            limit,
        )
        again = tuple(_parcel(destination, row[:4], row[4]) for row in rows)
        rows = self._file.read(
            f"select {_PARCEL} {_OPEN} order by sequence limit ?",
            destination,
            limit - len(again),
        )
        first = 0 if again else attempts
        return again + tuple(_parcel(destination, row, 0 if n else first) for n, row in enumerate(rows))

    def delivered(self, parcels: Sequence[Parcel]) -> None:
        """Note that their destination has taken these parcels, the first ones that `parcels` gave."""
        with self._file.transaction():
            for parcel in parcels:
                self._file.write(
                    "delete from aside where destination = ? and sequence = ?", parcel.destination, parcel.sequence
                )
                # What was let go again lies at or below `done`.
                self._file.write(
                    "update destination set done = max(done, ?), attempts = 0, reason = '', pause_until = ''"
                    " where name = ?",
                    parcel.sequence,
                    parcel.destination,
                )

    def deferred(self, parcel: Parcel, reason: str, pause_until: str) -> None:
        """Note a failed attempt, and until when (RFC 3339, or empty) the destination asks for patience."""
        with self._file.transaction():
            self._file.write(
                "update destination set attempts = attempts + 1, reason = ?, pause_until = ? where name = ?",
                reason,
                pause_until,
                parcel.destination,
            )
            self._file.write(
                "update aside set attempts = attempts + 1 where destination = ? and sequence = ?",
                parcel.destination,
                parcel.sequence,
            )

    def pause_until(self, destination: str) -> str:
        """Return until when the destination asks for patience (RFC 3339), or nothing."""
        rows = self._file.read("select pause_until from destination where name = ?", destination)
        return str(rows[0][0]) if rows else ""

    def parked(self, parcel: Parcel, reason: str, at: str) -> None:
        """Put a parcel aside, with the reason and the moment; the next one moves up."""
        with self._file.transaction():
            self._file.write(
                "insert into aside (destination, sequence, attempts, reason, at, state)"
                " values (?, ?, ?, ?, ?, 'parked')"
                " on conflict do update set state = 'parked', attempts = excluded.attempts, reason = excluded.reason,"
                " at = excluded.at",
                parcel.destination,
                parcel.sequence,
                parcel.attempts + 1,
                reason,
                at,
            )
            self._file.write(
                "update destination set attempts = 0, reason = '', pause_until = '' where name = ?", parcel.destination
            )

    def unpark(self, destination: str, sequence: int | None = None) -> int:
        """Let the parked parcels of a destination, or one of them, wait again; return how many there were."""
        which = "state = 'parked' and destination = ?1 and (?2 is null or sequence = ?2)"
        done = "(select done from destination where name = ?1)"
        with self._file.transaction():
            early = self._file.write(
                f"update aside set state = 'again' where {which} and sequence <= {done}",  # noqa: S608 constant text
                destination,
                sequence,
            ).rowcount
            # Its turn has not come yet: it goes in its order.
            late = self._file.write(
                f"delete from aside where {which} and sequence > {done}",  # noqa: S608 constant text
                destination,
                sequence,
            ).rowcount
        return early + late

    def waiting_parcel(self, destination: str, sequence: int) -> Parcel | None:
        """Return a parcel that waits for the destination, or None."""
        rows = self._file.read(
            f"select {_PARCEL}, 0 {_OPEN} and event.sequence = ?"  # noqa: S608 constant text
            " union all select sequence, key, unit, body, attempts from aside join event using (sequence)"
            " where state = 'again' and destination = ? and sequence = ?",
            destination,
            sequence,
            destination,
            sequence,
        )
        return _parcel(destination, rows[0][:4], rows[0][4]) if rows else None

    def aside(self, destination: str = "") -> tuple[Aside, ...]:
        """Return what is parked, for one destination or all, in the order of the events."""
        rows = self._file.read(
            "select destination, sequence, key, unit, body, attempts, reason, aside.at"
            " from aside join event using (sequence)"
            " where state = 'parked' and ? in ('', destination) order by sequence, destination",
            destination,
        )
        return tuple(Aside(_parcel(row[0], row[1:5], row[5]), row[6], row[7]) for row in rows)

    def event_at(self, sequence: int) -> Parcel | None:
        """Return the event with this number, as a parcel for nobody; None when there is none, or no more."""
        rows = self._file.read(f"select {_PARCEL} from event where sequence = ?", sequence)  # noqa: S608 constant text
        return _parcel("", rows[0], 0) if rows else None

    def backlog(self) -> tuple[Backlog, ...]:
        """Return how every destination stands that this store has ever had and that was not forgotten."""
        with self._file.snapshot():
            rows = self._file.read(
                "select name, wants, attempts, reason, pause_until, done from destination order by name"
            )
            return tuple(self._standing(*row) for row in rows)

    def waiting(self) -> int:
        """Return how many parcels wait, over all destinations. Parked ones are not counted."""
        return sum(each.waiting for each in self.backlog())

    def parked_count(self) -> int:
        """Return how many parcels are parked, over all destinations."""
        return int(self._file.read("select count(*) from aside where state = 'parked'")[0][0])

    def forget(self, destination: str) -> bool:
        """Give up what waits for a destination that is routed no more. Return False when there is no such one."""
        return bool(self._file.write("delete from destination where name = ?", destination).rowcount)

    def prune(self, keep: Keep) -> int:
        """Take away what need not be kept, PRUNED_AT_ONCE rows at most of each kind; return how many went."""
        with self._file.transaction():
            self._file.write(_CATCH_UP)
            events = self._file.write(
                "delete from event where sequence in (select sequence from event"
                " where sequence <= (select min(done) from destination) and (at < ?1 or sequence <="
                " (select sequence from identity) - ?2) and sequence not in (select sequence from aside)"
                " order by sequence limit ?3)",
                keep.events_since,
                keep.events,
                PRUNED_AT_ONCE,
            ).rowcount
            entries = self._file.write(
                "delete from journal where id in (select id from journal order by id limit ?) and at < ?",
                PRUNED_AT_ONCE,
                keep.journal_since,
            ).rowcount
        return events + entries

    # --- what the units' store is owed ---

    def owe(self, end: OwedEnd) -> None:
        """Keep an end that the units' store could not be told."""
        self._file.write(
            "insert into owed (run, position, body) values (?, ?, ?) on conflict do nothing",
            end.attempt.run,
            end.attempt.position,
            msgspec.json.encode(end).decode(),
        )

    def owed(self) -> tuple[OwedEnd, ...]:
        """Return the ends that are still to be told."""
        rows = self._file.read("select body from owed order by run, position")
        return tuple(msgspec.json.decode(body, type=OwedEnd) for (body,) in rows)

    def settled(self, end: OwedEnd) -> None:
        """Forget an end that was told."""
        self._file.write("delete from owed where run = ? and position = ?", end.attempt.run, end.attempt.position)

    # --- decisions of leads ---

    def decisions_told(self) -> int | None:
        """Return up to which change in the units' history the decisions were told, or None before the first look."""
        number = self._file.read("select decisions from identity")[0][0]
        return None if number is None else int(number)

    def tell_decisions(self, number: int, events: Sequence[LineEvent]) -> None:
        """Keep events about leads' decisions, up to this change in the units' history, in one transaction."""

        def write() -> None:
            self._append((), events)
            self._file.write("update identity set decisions = max(coalesce(decisions, 0), ?)", number)

        self._commits.write(write)

    # ---

    def _route(self, routes: Routes) -> None:
        with self._file.transaction():
            for name, wants in routes.items():
                self._file.write(
                    "insert into destination (name, wants, done) values (?, ?, (select sequence from identity))"
                    " on conflict do update set wants = excluded.wants",
                    name,
                    wants.value,
                )

    def _attempts(self, destination: str) -> int:
        rows = self._file.read("select attempts from destination where name = ?", destination)
        return int(rows[0][0]) if rows else 0

    def _standing(self, name: str, wants: str, attempts: int, reason: str, pause_until: str, done: int) -> Backlog:
        behind = self._file.read(f"select count(*), coalesce(min(event.at), '') {_OPEN}", name)[0]
        again = self._file.read(
            "select count(*), coalesce(min(event.at), '') from aside join event using (sequence)"
            " where destination = ? and state = 'again'",
            name,
        )[0]
        parked = self._file.read("select count(*) from aside where destination = ? and state = 'parked'", name)[0][0]
        return Backlog(
            destination=name,
            wants=Wants(wants),
            waiting=behind[0] + again[0],
            oldest_at=min(filter(None, (behind[1], again[1])), default=""),
            parked=parked,
            attempts=attempts,
            reason=reason,
            pause_until=pause_until,
            done=done,
            configured=name in self._routes,
        )


def _parcel(destination: str, row: Sequence[Any], attempts: int) -> Parcel:
    sequence, key, unit, body = row
    return Parcel(destination, sequence, key, unit, body.encode(), attempts)
