# SPDX-License-Identifier: Apache-2.0
"""What an administrator does on the CA's own machine. The issuing key is not among it: nothing here can sign."""

from collections.abc import Iterator
from datetime import datetime

from msgspec import structs

from birthmark.ca.life.lifecycle import ADMINISTRATOR as LOCAL
from birthmark.ca.life.lifecycle import Lifecycle
from birthmark.ca.ports import CAStore
from birthmark.ca.transparency.check import check_ledger
from birthmark.ca.transparency.discrepancy import Discrepancy
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.clock import Clock
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipID, Issuance
from birthmark.core.ledger_rows import denied_chip_row, said
from birthmark.evidence.difference import PolicyDifference, difference
from birthmark.evidence.endorsements import Endorsements

PAGE = 500
"""Log entries that are read at a time."""


class Administration:
    """Works on the ledger beside a running service. Every change is audited in its own transaction."""

    def __init__(self, store: CAStore, authority: str, clock: Clock) -> None:
        """`authority` is the name of this CA, the origin of its log."""
        self._store = store
        self._authority = authority
        self._clock = clock

    def revoke(self, serial: str, reason: str) -> None:
        """
        Revoke the certificate with this serial (hexadecimal, colons allowed) from now on, its key for good.

        The certificates that it has replaced, and that live on for the overlap, go with it: the unit could renew itself
        with one of them.

        Raises:
            Refused: ca.certificate.unknown. StoreError: the ledger.

        """
        self.lifecycle.revoke_certificate(LOCAL, serial, reason)

    @property
    def lifecycle(self) -> Lifecycle:
        """What is said of units, and what is revoked."""
        return Lifecycle(self._store, self._clock)

    def deny_chip(self, chip: ChipID, reason: str) -> None:
        """Refuse this chip from now on (lost, scrapped, retired). Its certificates stay as they are: see `revoke`."""
        with self._store.writing() as ledger:
            ledger.deny(chip, reason)
            row = AuditRow(at=self._clock(), who=LOCAL.holder, act="deny", chip_serial=chip.serial, detail=reason)
            ledger.append([structs.replace(row, state=said("denied_chip", denied_chip_row(chip, reason)))])

    def certificates(self) -> Iterator[dict[str, str]]:
        """Return every certificate that was intended or issued, oldest first, as plain text. Raises StoreError."""
        at = self._clock()
        with self._store.reading() as ledger:
            yield from (plain_certificate(issuance, at) for issuance in ledger.issuances())

    def export(self) -> Iterator[dict[str, str]]:
        """Return every certificate as `certificates` does, each with its birth record, or "". Raises StoreError."""
        at = self._clock()
        with self._store.reading() as ledger:
            for issuance in ledger.issuances():
                row = plain_certificate(issuance, at)
                yield row | {"birth": ledger.birth(row["certificate_sha256"]) or ""}

    def audit(self) -> Iterator[dict[str, str]]:
        """Return every decision, oldest first, as plain text under plain names. Raises StoreError."""
        first = 0
        with self._store.reading() as ledger:
            while entries := ledger.entries(first, PAGE):
                yield from (_plain_decision(decode_row(entry)) for entry in entries)
                first += len(entries)

    def check(self) -> Iterator[Discrepancy]:
        """Return where the ledger's tables and its log disagree, as it is found. Raises StoreError."""
        with self._store.reading() as ledger:
            yield from check_ledger(ledger, self._authority)

    def policy_difference(self, old: Endorsements, new: Endorsements) -> PolicyDifference:
        """Return what another appraisal policy would change for the living certificates now. Raises StoreError."""
        at = self._clock()
        with self._store.reading() as ledger:
            living = (each for each in ledger.issuances() if each.certificate is not None and each.alive(at))
            return difference(old, new, living, at)


def _plain_decision(row: AuditRow) -> dict[str, str]:
    return {
        "at": _plain_moment(row.at),
        "who": row.who,
        "fingerprint": row.fingerprint,
        "act": row.act,
        "order": row.order,
        "unit": row.unit_serial,
        "chip": row.chip_serial,
        "certificate": row.certificate,
        "about": row.about,
        "finding": row.finding,
        "detail": row.detail,
    }


def plain_certificate(issuance: Issuance, at: datetime) -> dict[str, str]:
    """Return a certificate as plain text under plain names."""
    return {
        "serial": issuance.serial,
        "unit_serial": issuance.unit_serial,
        "chip_maker": issuance.chip.maker,
        "chip_serial": issuance.chip.serial,
        "chip_model": issuance.chip_model,
        "order": issuance.order,
        "state": issuance.state(at),
        "issued": _plain_moment(issuance.intended_at),
        "confirmed": _plain_moment(issuance.confirmed_at),
        "dies": _plain_moment(issuance.dies_at),
        "certificate_sha256": "" if issuance.certificate is None else fingerprint(issuance.certificate),
    }


def _plain_moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")
