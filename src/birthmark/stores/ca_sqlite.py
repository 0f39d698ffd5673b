# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's ledger in one SQLite file.

What `writing()` has committed survives a power cut. A writing transaction is BEGIN IMMEDIATE: it holds the database's
only write lock from its first read on, so that two workers with the same file decide one after the other. Partial
unique indexes repeat the rule "one open-ended life per chip and per unit" below the code that decides.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import AuditRow, ChipID, Ending, Issuance, NonceGrant, Order, OrderUse, Revocation

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SCHEMA = """
CREATE TABLE production_order (
  id TEXT PRIMARY KEY,
  product TEXT NOT NULL,
  quantity INTEGER NOT NULL CHECK (quantity > 0),
  chip_models TEXT NOT NULL,
  rigs TEXT NOT NULL,
  not_before_us INTEGER NOT NULL,
  not_after_us INTEGER NOT NULL,
  profile TEXT NOT NULL,
  closed_us INTEGER,
  units INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE order_unit (
  order_id TEXT NOT NULL REFERENCES production_order (id),
  unit_serial TEXT NOT NULL,
  PRIMARY KEY (order_id, unit_serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE issuance (
  number INTEGER PRIMARY KEY,
  serial TEXT NOT NULL UNIQUE,
  unit_serial TEXT NOT NULL,
  chip_maker TEXT NOT NULL,
  chip_serial TEXT NOT NULL,
  chip_model TEXT NOT NULL,
  hw_type TEXT NOT NULL,
  spki BLOB NOT NULL,
  evidence BLOB NOT NULL,
  order_id TEXT NOT NULL REFERENCES production_order (id),
  product TEXT NOT NULL,
  organization TEXT NOT NULL,
  profile TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  intended_us INTEGER NOT NULL,
  validity_days INTEGER NOT NULL,
  certificate BLOB,
  certificate_sha256 TEXT UNIQUE,
  confirmed_us INTEGER,
  dies_us INTEGER,
  ending TEXT,
  CHECK ((certificate IS NULL) = (certificate_sha256 IS NULL)),
  CHECK ((dies_us IS NULL) = (ending IS NULL))
) STRICT;
CREATE INDEX issuance_chip ON issuance (chip_maker, chip_serial);
CREATE INDEX issuance_unit ON issuance (unit_serial);
CREATE INDEX issuance_death ON issuance (dies_us) WHERE dies_us IS NOT NULL;
CREATE UNIQUE INDEX one_life_per_chip ON issuance (chip_maker, chip_serial) WHERE dies_us IS NULL;
CREATE UNIQUE INDEX one_life_per_unit ON issuance (unit_serial) WHERE dies_us IS NULL;

CREATE TABLE nonce (
  digest BLOB PRIMARY KEY,
  holder TEXT NOT NULL,
  unit_serial TEXT NOT NULL,
  expires_us INTEGER NOT NULL,
  used_by TEXT REFERENCES issuance (serial)
) STRICT, WITHOUT ROWID;
CREATE INDEX nonce_unit ON nonce (unit_serial);
CREATE INDEX nonce_expiry ON nonce (expires_us);

CREATE TABLE birth (
  certificate_sha256 TEXT PRIMARY KEY REFERENCES issuance (certificate_sha256),
  received_us INTEGER NOT NULL,
  jws TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE denied_chip (
  maker TEXT NOT NULL,
  serial TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (maker, serial)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at_us INTEGER NOT NULL,
  who TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  act TEXT NOT NULL,
  order_id TEXT NOT NULL,
  unit_serial TEXT NOT NULL,
  chip_serial TEXT NOT NULL,
  finding TEXT NOT NULL,
  detail TEXT NOT NULL
) STRICT;
"""

_ISSUANCE_COLUMNS = (
    "serial, unit_serial, chip_maker, chip_serial, chip_model, hw_type, spki, evidence, order_id, product,"
    " organization, profile, requested_by, intended_us, validity_days, certificate, confirmed_us,"
    " dies_us, ending"
)
_AUDIT_COLUMNS = "at_us, who, fingerprint, act, order_id, unit_serial, chip_serial, finding, detail"

_Row: TypeAlias = sqlite3.Row


class _SQLiteLedger:
    """The operations of ca.ports.Ledger inside one open transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def order(self, order_id: str) -> Order | None:
        row = self._one("SELECT * FROM production_order WHERE id = ?", order_id)
        return None if row is None else _order(row)

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        row = self._one("SELECT units FROM production_order WHERE id = ?", order_id)
        held = self._one("SELECT 1 FROM order_unit WHERE order_id = ? AND unit_serial = ?", order_id, unit_serial)
        return OrderUse(units=0 if row is None else row["units"], holds_unit=held is not None)

    def nonce(self, digest: bytes) -> NonceGrant | None:
        row = self._one("SELECT * FROM nonce WHERE digest = ?", digest)
        return None if row is None else _nonce(row)

    def open_nonce(self, unit_serial: str, at: datetime) -> NonceGrant | None:
        row = self._one(
            "SELECT * FROM nonce WHERE unit_serial = ? AND used_by IS NULL AND expires_us > ? LIMIT 1",
            unit_serial,
            _us(at),
        )
        return None if row is None else _nonce(row)

    def issuances_near(self, chip: ChipID, unit_serial: str) -> tuple[Issuance, ...]:
        rows = self._connection.execute(
            f"SELECT {_ISSUANCE_COLUMNS} FROM issuance"  # noqa: S608 constant column names
            " WHERE (chip_maker = ? AND chip_serial = ?) OR unit_serial = ? ORDER BY number",
            (chip.maker, chip.serial, unit_serial),
        )
        return tuple(_issuance(row) for row in rows)

    def issuance(self, serial: str) -> Issuance | None:
        return self._issuance_where("serial", serial)

    def issuance_of(self, certificate_sha256: str) -> Issuance | None:
        return self._issuance_where("certificate_sha256", certificate_sha256)

    def denial(self, chip: ChipID) -> str | None:
        row = self._one("SELECT reason FROM denied_chip WHERE maker = ? AND serial = ?", chip.maker, chip.serial)
        return None if row is None else str(row["reason"])

    def birth(self, certificate_sha256: str) -> str | None:
        row = self._one("SELECT jws FROM birth WHERE certificate_sha256 = ?", certificate_sha256)
        return None if row is None else str(row["jws"])

    def revocations(self, at: datetime) -> tuple[Revocation, ...]:
        rows = self._connection.execute(
            "SELECT serial, dies_us, ending FROM issuance WHERE dies_us <= ? ORDER BY dies_us, serial", (_us(at),)
        )
        return tuple(Revocation(row["serial"], _moment(row["dies_us"]), Ending(row["ending"])) for row in rows)

    def audit(self) -> tuple[AuditRow, ...]:
        query = f"SELECT {_AUDIT_COLUMNS} FROM audit ORDER BY number"  # noqa: S608 constant column names
        return tuple(_audit(row) for row in self._connection.execute(query))

    def put_order(self, order: Order) -> None:
        self._connection.execute(
            "INSERT INTO production_order"
            " (id, product, quantity, chip_models, rigs, not_before_us, not_after_us, profile, closed_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET product = excluded.product, quantity = excluded.quantity,"
            " chip_models = excluded.chip_models, rigs = excluded.rigs, not_before_us = excluded.not_before_us,"
            " not_after_us = excluded.not_after_us, profile = excluded.profile, closed_us = excluded.closed_us",
            (
                order.id,
                order.product,
                order.quantity,
                json.dumps(order.chip_models),
                json.dumps(order.rigs),
                _us(order.not_before),
                _us(order.not_after),
                order.profile,
                _maybe_us(order.closed_at),
            ),
        )

    def take_quota(self, order_id: str, unit_serial: str) -> None:
        taken = self._connection.execute(
            "INSERT INTO order_unit (order_id, unit_serial) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (order_id, unit_serial),
        )
        if taken.rowcount:
            self._connection.execute("UPDATE production_order SET units = units + 1 WHERE id = ?", (order_id,))

    def grant_nonce(self, grant: NonceGrant) -> None:
        self._connection.execute(
            "DELETE FROM nonce WHERE unit_serial = ? AND holder = ? AND used_by IS NULL",
            (grant.unit_serial, grant.holder),
        )
        self._connection.execute(
            "INSERT INTO nonce (digest, holder, unit_serial, expires_us, used_by) VALUES (?, ?, ?, ?, ?)",
            (grant.digest, grant.holder, grant.unit_serial, _us(grant.expires_at), grant.used_by),
        )

    def use_nonce(self, digest: bytes, serial: str) -> None:
        self._connection.execute("UPDATE nonce SET used_by = ? WHERE digest = ?", (serial, digest))

    def forget_nonces(self, expired_before: datetime) -> None:
        self._connection.execute("DELETE FROM nonce WHERE expires_us < ?", (_us(expired_before),))

    def intend(self, issuance: Issuance) -> None:
        sha256 = None if issuance.certificate is None else fingerprint(issuance.certificate)
        self._connection.execute(
            f"INSERT INTO issuance ({_ISSUANCE_COLUMNS}, certificate_sha256)"  # noqa: S608 constant column names
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_issuance_values(issuance), sha256),
        )

    def record(self, serial: str, certificate: bytes) -> None:
        done = self._connection.execute(
            "UPDATE issuance SET certificate = ?1, certificate_sha256 = ?2"
            " WHERE serial = ?3 AND (certificate IS NULL OR certificate = ?1)",
            (certificate, fingerprint(certificate), serial),
        )
        if done.rowcount != 1:
            raise StoreError(f"another certificate is recorded under {serial}", finding="store.conflict")

    def end(self, serial: str, dies_at: datetime, ending: Ending) -> None:
        self._connection.execute(
            "UPDATE issuance SET dies_us = ?, ending = ? WHERE serial = ?", (_us(dies_at), ending.value, serial)
        )

    def confirm(self, certificate_sha256: str, at: datetime, birth: str) -> None:
        self._connection.execute("INSERT INTO birth VALUES (?, ?, ?)", (certificate_sha256, _us(at), birth))
        self._connection.execute(
            "UPDATE issuance SET confirmed_us = ?, dies_us = NULL, ending = NULL WHERE certificate_sha256 = ?",
            (_us(at), certificate_sha256),
        )

    def deny(self, chip: ChipID, reason: str) -> None:
        self._connection.execute(
            "INSERT INTO denied_chip VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason",
            (chip.maker, chip.serial, reason),
        )

    def add_audit(self, row: AuditRow) -> None:
        self._connection.execute(
            f"INSERT INTO audit ({_AUDIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 constant names
            (
                _us(row.at),
                row.who,
                row.fingerprint,
                row.act,
                row.order,
                row.unit_serial,
                row.chip_serial,
                row.finding,
                row.detail,
            ),
        )

    def _one(self, query: str, *values: str | bytes | int) -> _Row | None:
        row: _Row | None = self._connection.execute(query, values).fetchone()
        return row

    def _issuance_where(self, column: str, value: str) -> Issuance | None:
        query = f"SELECT {_ISSUANCE_COLUMNS} FROM issuance WHERE {column} = ?"  # noqa: S608 constant names
        row = self._one(query, value)
        return None if row is None else _issuance(row)


class SQLiteCAStore:
    """
    Implements ca.ports.CAStore on a file, made when it is not there.

    One connection, behind a lock; other processes may open the same file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with self._errors():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._set_up()

    @contextmanager
    def reading(self) -> Iterator[_SQLiteLedger]:
        """Open a consistent view: a deferred transaction, which takes no write lock."""
        with self._transaction("BEGIN DEFERRED") as ledger:
            yield ledger

    @contextmanager
    def writing(self) -> Iterator[_SQLiteLedger]:
        """Open a transaction that no other writer can come between."""
        with self._transaction("BEGIN IMMEDIATE") as ledger:
            yield ledger

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[_SQLiteLedger]:
        with self._lock, self._errors():
            self._connection.execute(begin)
            try:
                yield _SQLiteLedger(self._connection)
                self._connection.execute("COMMIT")
            finally:
                # A full disk may have made SQLite roll back by itself; COMMIT leaves nothing to undo.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _set_up(self) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            # One script, one transaction: a second opener waits, then meets the tables and fails to make them anew.
            self._create()
        elif version != SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} has schema version {version}, this program knows {SCHEMA_VERSION}",
                hint="use the release that wrote the file, or migrate it",
                finding="store.schema",
            )

    def _create(self) -> None:
        self._connection.execute("BEGIN EXCLUSIVE")
        if self._connection.execute("PRAGMA user_version").fetchone()[0] == 0:
            for statement in _SCHEMA.split(";"):
                self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._connection.execute("COMMIT")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise StoreError(f"{self._path.name}: {error}", finding="store.conflict") from error
        except sqlite3.Error as error:
            hint = "make room on the disk, or look at its health; nothing was written"
            raise StoreError(f"{self._path.name}: {error}", hint=hint) from error


def _us(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC: exact, sortable, without a float."""
    return (moment - _EPOCH) // _MICROSECOND


def _maybe_us(moment: datetime | None) -> int | None:
    return None if moment is None else _us(moment)


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _maybe_moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _moment(microseconds)


def _order(row: _Row) -> Order:
    return Order(
        id=row["id"],
        product=row["product"],
        quantity=row["quantity"],
        chip_models=tuple(json.loads(row["chip_models"])),
        rigs=tuple(json.loads(row["rigs"])),
        not_before=_moment(row["not_before_us"]),
        not_after=_moment(row["not_after_us"]),
        profile=row["profile"],
        closed_at=_maybe_moment(row["closed_us"]),
    )


def _nonce(row: _Row) -> NonceGrant:
    return NonceGrant(
        digest=row["digest"],
        holder=row["holder"],
        unit_serial=row["unit_serial"],
        expires_at=_moment(row["expires_us"]),
        used_by=row["used_by"],
    )


def _issuance_values(issuance: Issuance) -> tuple[str | bytes | int | None, ...]:
    return (
        issuance.serial,
        issuance.unit_serial,
        issuance.chip.maker,
        issuance.chip.serial,
        issuance.chip_model,
        issuance.hw_type,
        issuance.spki,
        issuance.evidence,
        issuance.order,
        issuance.product,
        issuance.organization,
        issuance.profile,
        issuance.requested_by,
        _us(issuance.intended_at),
        issuance.validity_days,
        issuance.certificate,
        _maybe_us(issuance.confirmed_at),
        _maybe_us(issuance.dies_at),
        None if issuance.ending is None else issuance.ending.value,
    )


def _issuance(row: _Row) -> Issuance:
    return Issuance(
        serial=row["serial"],
        unit_serial=row["unit_serial"],
        chip=ChipID(row["chip_maker"], row["chip_serial"]),
        chip_model=row["chip_model"],
        hw_type=row["hw_type"],
        spki=row["spki"],
        evidence=row["evidence"],
        order=row["order_id"],
        product=row["product"],
        organization=row["organization"],
        profile=row["profile"],
        requested_by=row["requested_by"],
        intended_at=_moment(row["intended_us"]),
        validity_days=row["validity_days"],
        certificate=row["certificate"],
        confirmed_at=_maybe_moment(row["confirmed_us"]),
        dies_at=_maybe_moment(row["dies_us"]),
        ending=None if row["ending"] is None else Ending(row["ending"]),
    )


def _audit(row: _Row) -> AuditRow:
    return AuditRow(
        at=_moment(row["at_us"]),
        who=row["who"],
        fingerprint=row["fingerprint"],
        act=row["act"],
        order=row["order_id"],
        unit_serial=row["unit_serial"],
        chip_serial=row["chip_serial"],
        finding=row["finding"],
        detail=row["detail"],
    )
