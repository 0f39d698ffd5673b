# SPDX-License-Identifier: Apache-2.0
"""
Certificates and units as officers see them.

Whoever reads what is about people (a unit's history holds the names of operators) is in the log with the reason, in
the transaction that reads it.
"""

from collections.abc import Sequence
from datetime import datetime

from birthmark.ca.admin.administration import plain_certificate
from birthmark.ca.admin.ledger_types import (
    CertificatePage,
    CertificateView,
    DeniedClientList,
    DeniedClientView,
    EntryView,
    HistoryView,
)
from birthmark.ca.demands import UNKNOWN
from birthmark.ca.errors import Refused
from birthmark.ca.people.denials import since_text
from birthmark.ca.people.roles import Officer
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.clock import Clock
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Issuance

READ = "unit.read"


class LedgerDesk:
    """Reads the ledger for officers. Calls may come from several threads."""

    def __init__(self, store: CAStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def certificates(self, after: int, limit: int) -> CertificatePage:
        """Return a page of all certificates, oldest first. Raises StoreError."""
        at = self._clock()
        with self._store.reading() as ledger:
            found = ledger.issuances_after(after, limit)
        views = tuple(certificate_view(issuance, at) for _, issuance in found)
        return CertificatePage(certificates=views, next=found[-1][0] if len(found) == limit else None)

    def denied_clients(self) -> DeniedClientList:
        """Return which clients two persons have denied. Raises StoreError."""
        with self._store.reading() as ledger:
            found = ledger.client_denials()
        views = (
            DeniedClientView(client=str(each.client), reason=each.reason, since=since_text(each)) for each in found
        )
        return DeniedClientList(clients=tuple(views))

    def history(self, officer: Officer, unit_serial: str, reason: str) -> HistoryView:
        """
        Return everything about a unit, and write down who has read it and why.

        Raises:
            Refused: ca.unit.unknown. StoreError.

        """
        at = self._clock()
        with self._store.writing() as ledger:
            entries, issuances = ledger.entries_of_unit(unit_serial), ledger.issuances_of_unit(unit_serial)
            if not entries and not issuances:
                raise Refused(UNKNOWN, "ca.unit.unknown", "nothing is known of such a unit")
            read = AuditRow(
                at=at,
                who=officer.holder,
                fingerprint=officer.fingerprint,
                act=READ,
                unit_serial=unit_serial,
                detail=reason,
            )
            ledger.append([read])
            births = _births(ledger, issuances)
        return HistoryView(
            unit_serial=unit_serial,
            certificates=tuple(certificate_view(each, at) for each in issuances),
            births=births,
            entries=tuple(_entry_view(number, entry) for number, entry in entries),
        )


def certificate_view(issuance: Issuance, at: datetime) -> CertificateView:
    """Return a certificate as it is told."""
    return CertificateView(**plain_certificate(issuance, at))


def _births(ledger: LedgerReader, issuances: Sequence[Issuance]) -> tuple[str, ...]:
    known = (ledger.birth(fingerprint(each.certificate)) for each in issuances if each.certificate is not None)
    return tuple(birth for birth in known if birth is not None)


def _entry_view(number: int, entry: bytes) -> EntryView:
    row = decode_row(entry)
    return EntryView(
        number=number,
        at=row.at,
        who=row.who,
        act=row.act,
        order=row.order,
        chip_serial=row.chip_serial,
        certificate=row.certificate,
        finding=row.finding,
        detail=row.detail,
    )
