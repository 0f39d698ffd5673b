# SPDX-License-Identifier: Apache-2.0
"""The cloud's registry, telemetry and commands in one SQLite file (`cloud.ports.Registry`)."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from birthmark.core.fleet import Command, RegisteredDevice, Telemetry
from birthmark.stores.sqlite_file import SQLiteFile

_APPLICATION: Final = b"BMCL"

# Times are RFC 3339 text in UTC, so that they sort and that a person can read them.
_SCHEMA = """
create table device (
    unit text primary key,
    chip_model text not null,
    chip_serial text not null,
    certificate text not null unique,
    not_before text not null,
    first_seen text not null,
    last_verified text not null,
    unique (chip_model, chip_serial)
) strict, without rowid;
create table superseded (
    certificate text primary key,
    unit text not null references device (unit),
    at text not null
) strict, without rowid;
create table telemetry (
    id integer primary key,
    unit text not null,
    door text not null,
    received text not null,
    body text not null
) strict;
create index telemetry_unit on telemetry (unit, id);
create table command (
    id integer primary key autoincrement,
    unit text not null,
    name text not null,
    payload text not null,
    queued text not null,
    done text
) strict;
create index command_waiting on command (unit, id) where done is null;
"""
_SERIAL = "alter table device add column serial text not null default ''"
_DEVICE = "unit, chip_model, chip_serial, certificate, not_before, first_seen, last_verified, serial"


class CloudSQLite:
    """Calls may come from any thread; other processes may have the same file open."""

    def __init__(self, path: Path) -> None:
        self._file = SQLiteFile(path, (_SCHEMA, _SERIAL), _APPLICATION)

    def transaction(self) -> AbstractContextManager[None]:
        """Hold the write lock: what is read inside stays true until the block ends. An exception undoes the block."""
        return self._file.transaction()

    def device(self, unit: str) -> RegisteredDevice | None:
        """Return the device registered under the unit serial."""
        rows = self._file.read(f"select {_DEVICE} from device where unit = ?", unit)  # noqa: S608 constant text
        return _device(rows[0]) if rows else None

    def unit_of_chip(self, chip_model: str, chip_serial: str) -> str | None:
        """Return the unit that the chip is bound to."""
        query = "select unit from device where chip_model = ? and chip_serial = ?"
        rows = self._file.read(query, chip_model, chip_serial)
        return str(rows[0][0]) if rows else None

    def is_superseded(self, certificate_sha256: str) -> bool:
        """Say whether a newer certificate of the same unit has been used since."""
        return bool(self._file.read("select 1 from superseded where certificate = ?", certificate_sha256))

    def register(self, device: RegisteredDevice) -> None:
        """Write a unit's first row."""
        self._file.write(f"insert into device ({_DEVICE}) values (?, ?, ?, ?, ?, ?, ?, ?)", *_row(device))  # noqa: S608 constant text

    def renew(self, device: RegisteredDevice) -> None:
        """Make this certificate and its chip the unit's current ones; the certificate before is superseded for good."""
        at = _text(device.last_verified)
        with self._file.transaction():
            self._file.write(
                "insert into superseded select certificate, unit, ? from device where unit = ?", at, device.unit
            )
            self._file.write(
                "update device set chip_model = ?, chip_serial = ?, certificate = ?, serial = ?, not_before = ?,"
                " last_verified = ? where unit = ?",
                device.chip_model,
                device.chip_serial,
                device.certificate_sha256,
                device.serial,
                _text(device.not_before),
                at,
                device.unit,
            )

    def touch(self, unit: str, at: datetime) -> None:
        """Note that the unit's certificate was verified at this time."""
        self._file.write("update device set last_verified = ? where unit = ?", _text(at), unit)

    def devices(self) -> Iterable[RegisteredDevice]:
        """Return every device, by unit serial."""
        return [_device(row) for row in self._file.read(f"select {_DEVICE} from device order by unit")]  # noqa: S608 constant text

    def add_telemetry(self, telemetry: Telemetry) -> None:
        """Keep one message."""
        self._file.write(
            "insert into telemetry (unit, door, received, body) values (?, ?, ?, ?)",
            telemetry.unit,
            telemetry.door,
            _text(telemetry.received),
            telemetry.body,
        )

    def telemetry(self, unit: str) -> list[Telemetry]:
        """Return the unit's messages, oldest first."""
        query = "select unit, door, received, body from telemetry where unit = ? order by id"
        return [Telemetry(unit, door, _time(at), body) for unit, door, at, body in self._file.read(query, unit)]

    def add_command(self, unit: str, name: str, payload: str, at: datetime) -> int:
        """Queue a command; return its id."""
        statement = "insert into command (unit, name, payload, queued) values (?, ?, ?, ?)"
        with self._file.transaction():
            self._file.write(statement, unit, name, payload, _text(at))
            return int(self._file.read("select last_insert_rowid()")[0][0])

    def next_command(self, unit: str) -> Command | None:
        """Return the oldest command of the unit that is not done."""
        query = "select id, unit, name, payload from command where unit = ? and done is null order by id limit 1"
        rows = self._file.read(query, unit)
        return Command(*rows[0]) if rows else None

    def finish_command(self, unit: str, command_id: int, at: datetime) -> bool:
        """Mark the unit's command as done, once or again; False when the unit has no such command."""
        statement = "update command set done = coalesce(done, ?) where id = ? and unit = ?"
        return self._file.write(statement, _text(at), command_id, unit).rowcount == 1

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _row(device: RegisteredDevice) -> tuple[str, ...]:
    return (
        device.unit,
        device.chip_model,
        device.chip_serial,
        device.certificate_sha256,
        _text(device.not_before),
        _text(device.first_seen),
        _text(device.last_verified),
        device.serial,
    )


def _device(row: tuple[Any, ...]) -> RegisteredDevice:
    unit, chip_model, chip_serial, certificate, not_before, first_seen, last_verified, serial = row
    return RegisteredDevice(
        unit,
        chip_model,
        chip_serial,
        certificate,
        not_before=_time(not_before),
        first_seen=_time(first_seen),
        last_verified=_time(last_verified),
        serial=serial,
    )


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
