# SPDX-License-Identifier: Apache-2.0
"""
Certificates that nobody confirmed: no ghosts.

From its grace time on such a certificate counts as revoked by itself. This writes down that it happened, for the log
and for those who follow the endings.
"""

from datetime import datetime

from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.issuance import End, Ending, Issuance

AUTHORITY = "authority"
"""Who acts, in the log, where nobody asked."""
LAPSE_MAX = 500
"""Certificates that lapse in one transaction."""


def write_lapses(store: CAStore, clock: Clock) -> int:
    """Write down every certificate whose grace time has run out; return how many. Raises StoreError."""
    count = 0
    while True:
        at = clock()
        with store.reading() as ledger:
            if not ledger.unconfirmed(at, 1):
                return count
        with store.writing() as ledger:
            lapsed = ledger.unconfirmed(at, LAPSE_MAX)
            ledger.end([End(each.serial, each.dies_at or at, Ending.UNCONFIRMED) for each in lapsed])
            ledger.append([_row(each, at=clock()) for each in lapsed])
        count += len(lapsed)


def _row(issuance: Issuance, *, at: datetime) -> AuditRow:
    return AuditRow(
        at=at,
        who=AUTHORITY,
        act="lapse",
        order=issuance.order,
        unit_serial=issuance.unit_serial,
        chip_serial=issuance.chip.serial,
        certificate=issuance.serial,
        detail="no birth record within the grace time",
        dies=issuance.dies_at,
        ending=Ending.UNCONFIRMED.value,
    )
