# SPDX-License-Identifier: Apache-2.0
"""The issuing authority's ledger in memory: for tests and throw-away labs. Gone when the process ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import AuditRow, ChipID, Ending, Issuance, NonceGrant, Order, OrderUse, Revocation


@dataclass(slots=True)
class _Tables:
    orders: dict[str, Order] = field(default_factory=dict)
    takers: dict[str, frozenset[str]] = field(default_factory=dict)
    nonces: dict[bytes, NonceGrant] = field(default_factory=dict)
    issuances: dict[str, Issuance] = field(default_factory=dict)
    births: dict[str, str] = field(default_factory=dict)
    denials: dict[ChipID, str] = field(default_factory=dict)
    audit: tuple[AuditRow, ...] = ()

    def copy(self) -> "_Tables":
        return _Tables(
            orders=dict(self.orders),
            takers=dict(self.takers),
            nonces=dict(self.nonces),
            issuances=dict(self.issuances),
            births=dict(self.births),
            denials=dict(self.denials),
            audit=self.audit,
        )


class _MemoryLedger:
    """The operations of ca.ports.Ledger over one set of tables."""

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    def order(self, order_id: str) -> Order | None:
        return self._tables.orders.get(order_id)

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        takers = self._tables.takers.get(order_id, frozenset())
        return OrderUse(units=len(takers), holds_unit=unit_serial in takers)

    def nonce(self, digest: bytes) -> NonceGrant | None:
        return self._tables.nonces.get(digest)

    def open_nonce(self, unit_serial: str, at: datetime) -> NonceGrant | None:
        for grant in self._tables.nonces.values():
            if grant.unit_serial == unit_serial and grant.used_by is None and at < grant.expires_at:
                return grant
        return None

    def issuances(self) -> tuple[Issuance, ...]:
        return tuple(self._tables.issuances.values())

    def issuances_near(self, chip: ChipID, unit_serial: str) -> tuple[Issuance, ...]:
        return tuple(
            issuance
            for issuance in self._tables.issuances.values()
            if issuance.chip == chip or issuance.unit_serial == unit_serial
        )

    def issuance(self, serial: str) -> Issuance | None:
        return self._tables.issuances.get(serial)

    def issuance_of(self, certificate_sha256: str) -> Issuance | None:
        for issuance in self._tables.issuances.values():
            if issuance.certificate is not None and fingerprint(issuance.certificate) == certificate_sha256:
                return issuance
        return None

    def denial(self, chip: ChipID) -> str | None:
        return self._tables.denials.get(chip)

    def birth(self, certificate_sha256: str) -> str | None:
        return self._tables.births.get(certificate_sha256)

    def revocations(self, at: datetime) -> tuple[Revocation, ...]:
        dead = [
            Revocation(issuance.serial, issuance.dies_at, issuance.ending)
            for issuance in self._tables.issuances.values()
            if issuance.dies_at is not None and issuance.ending is not None and issuance.dies_at <= at
        ]
        return tuple(sorted(dead, key=lambda revocation: (revocation.at, revocation.serial)))

    def audit(self) -> tuple[AuditRow, ...]:
        return self._tables.audit

    def put_order(self, order: Order) -> None:
        self._tables.orders[order.id] = order

    def take_quota(self, order_id: str, unit_serial: str) -> None:
        if order_id not in self._tables.orders:
            raise StoreError(f"no order {order_id} to take from", finding="store.conflict")
        self._tables.takers[order_id] = self._tables.takers.get(order_id, frozenset()) | {unit_serial}

    def grant_nonce(self, grant: NonceGrant) -> None:
        nonces = self._tables.nonces
        for other in list(nonces.values()):
            if (other.unit_serial, other.holder, other.used_by) == (grant.unit_serial, grant.holder, None):
                del nonces[other.digest]
        nonces[grant.digest] = grant

    def use_nonce(self, digest: bytes, serial: str) -> None:
        self._tables.nonces[digest] = replace(self._tables.nonces[digest], used_by=serial)

    def forget_nonces(self, expired_before: datetime) -> None:
        kept = {d: grant for d, grant in self._tables.nonces.items() if grant.expires_at >= expired_before}
        self._tables.nonces = kept

    def intend(self, issuance: Issuance) -> None:
        if issuance.serial in self._tables.issuances:
            raise StoreError("the certificate serial is taken", finding="store.conflict")
        self._put(issuance)

    def record(self, serial: str, certificate: bytes) -> None:
        issuance = self._tables.issuances[serial]
        if issuance.certificate not in (None, certificate):
            raise StoreError(f"another certificate is recorded under {serial}", finding="store.conflict")
        self._put(replace(issuance, certificate=certificate))

    def end(self, serial: str, dies_at: datetime, ending: Ending) -> None:
        self._put(replace(self._tables.issuances[serial], dies_at=dies_at, ending=ending))

    def confirm(self, certificate_sha256: str, at: datetime, birth: str) -> None:
        issuance = self.issuance_of(certificate_sha256)
        if issuance is None:
            raise StoreError(f"no certificate {certificate_sha256} to confirm", finding="store.conflict")
        self._tables.births[certificate_sha256] = birth
        self._put(replace(issuance, confirmed_at=at, dies_at=None, ending=None))

    def deny(self, chip: ChipID, reason: str) -> None:
        self._tables.denials[chip] = reason

    def add_audit(self, row: AuditRow) -> None:
        self._tables.audit = (*self._tables.audit, row)

    def _put(self, issuance: Issuance) -> None:
        """Keep the issuance. Two open-ended lives for one chip or one unit are a conflict, as in the database."""
        if issuance.dies_at is None:
            for other in self.issuances_near(issuance.chip, issuance.unit_serial):
                if other.serial != issuance.serial and other.dies_at is None:
                    raise StoreError("the chip or the unit has a living certificate", finding="store.conflict")
        self._tables.issuances[issuance.serial] = issuance


class MemoryCAStore:
    """Implements ca.ports.CAStore in one process."""

    def __init__(self) -> None:
        self._tables = _Tables()
        self._lock = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[_MemoryLedger]:
        """Open a consistent view."""
        with self._lock:
            yield _MemoryLedger(self._tables.copy())

    @contextmanager
    def writing(self) -> Iterator[_MemoryLedger]:
        """Open a transaction on a copy, which takes the tables' place when the block ends without an error."""
        with self._lock:
            draft = self._tables.copy()
            yield _MemoryLedger(draft)
            self._tables = draft

    def close(self) -> None:
        """Let go of nothing: the tables live as long as this object."""
