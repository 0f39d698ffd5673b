# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's ledger in one SQLite file.

What `writing()` has committed survives a power cut. A writing transaction holds the database's only write lock from its
first read on, so that two workers with the same file decide one after the other. Partial unique indexes repeat the
rule "one open-ended life per chip and per unit" below the code that decides.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import AuditRow, ChipID, Ending, Issuance, NonceGrant, Order, OrderUse, Revocation
from birthmark.stores.sqlite_file import SQLiteFile

SCHEMA_VERSION: Final = 1
_APPLICATION: Final = b"BMCA"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

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

_ORDER_COLUMNS = "id, product, quantity, chip_models, rigs, not_before_us, not_after_us, profile, closed_us"
_NONCE_COLUMNS = "digest, holder, unit_serial, expires_us, used_by"
_ISSUANCE_COLUMNS = (
    "serial, unit_serial, chip_maker, chip_serial, chip_model, hw_type, spki, evidence, order_id, product,"
    " organization, profile, requested_by, intended_us, validity_days, certificate, confirmed_us, dies_us, ending"
)
_AUDIT_COLUMNS = "at_us, who, fingerprint, act, order_id, unit_serial, chip_serial, finding, detail"
_SELECT_ORDER = f"SELECT {_ORDER_COLUMNS} FROM production_order"  # noqa: S608 constant text
_SELECT_NONCE = f"SELECT {_NONCE_COLUMNS} FROM nonce"  # noqa: S608 constant text
_SELECT_ISSUANCE = f"SELECT {_ISSUANCE_COLUMNS} FROM issuance"  # noqa: S608 constant text
_SELECT_AUDIT = f"SELECT {_AUDIT_COLUMNS} FROM audit"  # noqa: S608 constant text
_PUT_ORDER = (
    f"INSERT INTO production_order ({_ORDER_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 constant text
    " ON CONFLICT (id) DO UPDATE SET product = excluded.product, quantity = excluded.quantity,"
    " chip_models = excluded.chip_models, rigs = excluded.rigs, not_before_us = excluded.not_before_us,"
    " not_after_us = excluded.not_after_us, profile = excluded.profile, closed_us = excluded.closed_us"
)
_PUT_NONCE = f"INSERT INTO nonce ({_NONCE_COLUMNS}) VALUES (?, ?, ?, ?, ?)"  # noqa: S608 constant text
_PUT_ISSUANCE = (
    f"INSERT INTO issuance ({_ISSUANCE_COLUMNS}, certificate_sha256)"  # noqa: S608 constant text
    f" VALUES ({', '.join('?' * 20)})"
)
_PUT_AUDIT = f"INSERT INTO audit ({_AUDIT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 constant text

_Row: TypeAlias = tuple[Any, ...]


class _SQLiteLedger:
    """The operations of ca.ports.Ledger inside one open transaction."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file

    def order(self, order_id: str) -> Order | None:
        row = self._one(f"{_SELECT_ORDER} WHERE id = ?", order_id)
        return None if row is None else _order(row)

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        row = self._one("SELECT units FROM production_order WHERE id = ?", order_id)
        held = self._one("SELECT 1 FROM order_unit WHERE order_id = ? AND unit_serial = ?", order_id, unit_serial)
        return OrderUse(units=0 if row is None else row[0], holds_unit=held is not None)

    def nonce(self, digest: bytes) -> NonceGrant | None:
        row = self._one(f"{_SELECT_NONCE} WHERE digest = ?", digest)
        return None if row is None else _nonce(row)

    def open_nonce(self, unit_serial: str, at: datetime) -> NonceGrant | None:
        where = "WHERE unit_serial = ? AND used_by IS NULL AND expires_us > ? LIMIT 1"
        row = self._one(f"{_SELECT_NONCE} {where}", unit_serial, _us(at))
        return None if row is None else _nonce(row)

    def issuances(self) -> tuple[Issuance, ...]:
        return tuple(_issuance(row) for row in self._file.read(f"{_SELECT_ISSUANCE} ORDER BY number"))

    def issuances_near(self, chip: ChipID, unit_serial: str) -> tuple[Issuance, ...]:
        where = "WHERE (chip_maker = ? AND chip_serial = ?) OR unit_serial = ? ORDER BY number"
        rows = self._file.read(f"{_SELECT_ISSUANCE} {where}", chip.maker, chip.serial, unit_serial)
        return tuple(_issuance(row) for row in rows)

    def issuance(self, serial: str) -> Issuance | None:
        row = self._one(f"{_SELECT_ISSUANCE} WHERE serial = ?", serial)
        return None if row is None else _issuance(row)

    def issuance_of(self, certificate_sha256: str) -> Issuance | None:
        row = self._one(f"{_SELECT_ISSUANCE} WHERE certificate_sha256 = ?", certificate_sha256)
        return None if row is None else _issuance(row)

    def denial(self, chip: ChipID) -> str | None:
        row = self._one("SELECT reason FROM denied_chip WHERE maker = ? AND serial = ?", chip.maker, chip.serial)
        return None if row is None else str(row[0])

    def birth(self, certificate_sha256: str) -> str | None:
        row = self._one("SELECT jws FROM birth WHERE certificate_sha256 = ?", certificate_sha256)
        return None if row is None else str(row[0])

    def revocations(self, at: datetime) -> tuple[Revocation, ...]:
        query = "SELECT serial, dies_us, ending FROM issuance WHERE dies_us <= ? ORDER BY dies_us, serial"
        rows = self._file.read(query, _us(at))
        return tuple(Revocation(serial, _moment(dies_us), Ending(ending)) for serial, dies_us, ending in rows)

    def audit(self) -> tuple[AuditRow, ...]:
        return tuple(_audit(row) for row in self._file.read(f"{_SELECT_AUDIT} ORDER BY number"))

    def put_order(self, order: Order) -> None:
        self._file.write(
            _PUT_ORDER,
            order.id,
            order.product,
            order.quantity,
            json.dumps(order.chip_models),
            json.dumps(order.rigs),
            _us(order.not_before),
            _us(order.not_after),
            order.profile,
            _maybe_us(order.closed_at),
        )

    def take_quota(self, order_id: str, unit_serial: str) -> None:
        insert = "INSERT INTO order_unit (order_id, unit_serial) VALUES (?, ?) ON CONFLICT DO NOTHING"
        if self._file.write(insert, order_id, unit_serial).rowcount:
            self._file.write("UPDATE production_order SET units = units + 1 WHERE id = ?", order_id)

    def grant_nonce(self, grant: NonceGrant) -> None:
        replaced = "DELETE FROM nonce WHERE unit_serial = ? AND holder = ? AND used_by IS NULL"
        self._file.write(replaced, grant.unit_serial, grant.holder)
        self._file.write(
            _PUT_NONCE, grant.digest, grant.holder, grant.unit_serial, _us(grant.expires_at), grant.used_by
        )

    def use_nonce(self, digest: bytes, serial: str) -> None:
        self._file.write("UPDATE nonce SET used_by = ? WHERE digest = ?", serial, digest)

    def forget_nonces(self, expired_before: datetime) -> None:
        self._file.write("DELETE FROM nonce WHERE expires_us < ?", _us(expired_before))

    def intend(self, issuance: Issuance) -> None:
        sha256 = None if issuance.certificate is None else fingerprint(issuance.certificate)
        self._file.write(_PUT_ISSUANCE, *_issuance_values(issuance), sha256)

    def record(self, serial: str, certificate: bytes) -> None:
        done = self._file.write(
            "UPDATE issuance SET certificate = ?1, certificate_sha256 = ?2"
            " WHERE serial = ?3 AND (certificate IS NULL OR certificate = ?1)",
            certificate,
            fingerprint(certificate),
            serial,
        )
        if done.rowcount != 1:
            raise StoreError(f"another certificate is recorded under {serial}", finding="store.conflict")

    def end(self, serial: str, dies_at: datetime, ending: Ending) -> None:
        update = "UPDATE issuance SET dies_us = ?, ending = ? WHERE serial = ?"
        self._file.write(update, _us(dies_at), ending.value, serial)

    def confirm(self, certificate_sha256: str, at: datetime, birth: str) -> None:
        self._file.write("INSERT INTO birth VALUES (?, ?, ?)", certificate_sha256, _us(at), birth)
        update = "UPDATE issuance SET confirmed_us = ?, dies_us = NULL, ending = NULL WHERE certificate_sha256 = ?"
        self._file.write(update, _us(at), certificate_sha256)

    def deny(self, chip: ChipID, reason: str) -> None:
        insert = "INSERT INTO denied_chip VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET reason = excluded.reason"
        self._file.write(insert, chip.maker, chip.serial, reason)

    def add_audit(self, row: AuditRow) -> None:
        self._file.write(
            _PUT_AUDIT,
            _us(row.at),
            row.who,
            row.fingerprint,
            row.act,
            row.order,
            row.unit_serial,
            row.chip_serial,
            row.finding,
            row.detail,
        )

    def _one(self, query: str, *values: str | bytes | int) -> _Row | None:
        rows = self._file.read(query, *values)
        return rows[0] if rows else None


class SQLiteCAStore:
    """Implements ca.ports.CAStore on a file, made when it is not there; other processes may open the same file."""

    def __init__(self, path: Path) -> None:
        self._file = SQLiteFile(path, _SCHEMA, SCHEMA_VERSION, _APPLICATION)

    @contextmanager
    def reading(self) -> Iterator[_SQLiteLedger]:
        """Open a consistent view, which takes no write lock."""
        with self._file.snapshot():
            yield _SQLiteLedger(self._file)

    @contextmanager
    def writing(self) -> Iterator[_SQLiteLedger]:
        """Open a transaction that no other writer can come between."""
        with self._file.transaction():
            yield _SQLiteLedger(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


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
    order_id, product, quantity, chip_models, rigs, not_before_us, not_after_us, profile, closed_us = row
    return Order(
        id=order_id,
        product=product,
        quantity=quantity,
        chip_models=tuple(json.loads(chip_models)),
        rigs=tuple(json.loads(rigs)),
        not_before=_moment(not_before_us),
        not_after=_moment(not_after_us),
        profile=profile,
        closed_at=_maybe_moment(closed_us),
    )


def _nonce(row: _Row) -> NonceGrant:
    digest, holder, unit_serial, expires_us, used_by = row
    return NonceGrant(
        digest=digest, holder=holder, unit_serial=unit_serial, expires_at=_moment(expires_us), used_by=used_by
    )


def _issuance_values(issuance: Issuance) -> tuple[str | bytes | int | None, ...]:
    """Return the values in the order of _ISSUANCE_COLUMNS."""
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
    serial, unit_serial, chip_maker, chip_serial, chip_model, hw_type, spki, evidence, order_id, *rest = row
    product, organization, profile, requested_by, intended_us, validity_days, *life = rest
    certificate, confirmed_us, dies_us, ending = life
    return Issuance(
        serial=serial,
        unit_serial=unit_serial,
        chip=ChipID(chip_maker, chip_serial),
        chip_model=chip_model,
        hw_type=hw_type,
        spki=spki,
        evidence=evidence,
        order=order_id,
        product=product,
        organization=organization,
        profile=profile,
        requested_by=requested_by,
        intended_at=_moment(intended_us),
        validity_days=validity_days,
        certificate=certificate,
        confirmed_at=_maybe_moment(confirmed_us),
        dies_at=_maybe_moment(dies_us),
        ending=None if ending is None else Ending(ending),
    )


def _audit(row: _Row) -> AuditRow:
    at_us, who, certificate_sha256, act, order_id, unit_serial, chip_serial, finding, detail = row
    return AuditRow(
        at=_moment(at_us),
        who=who,
        fingerprint=certificate_sha256,
        act=act,
        order=order_id,
        unit_serial=unit_serial,
        chip_serial=chip_serial,
        finding=finding,
        detail=detail,
    )
