# SPDX-License-Identifier: Apache-2.0
"""
Outages of the tokens that hold the authority's keys: one entry of the log for each.

An outage is told once, when it has ended, by the thread that reopened the token. It is noted here at once and written
down by a chore, so that a ledger that is away at that moment costs no entry, and never two. Every worker has a login of
its own and tells its own outages.
"""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from birthmark.ca.life.lapses import AUTHORITY
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.core.audit import AuditRow, encode_row
from birthmark.core.clock import Clock
from birthmark.core.errors import StoreError
from birthmark.pki.errors import PinRefused
from birthmark.pki.keys.pkcs11 import Ending, Outage

ACT = "hsm-outage"
PAGE = 500
"""Entries of the log that are read at a time."""

_LOG = logging.getLogger(__name__)


class Outages:
    """The outages of one worker that the log does not have yet. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._noted: list[AuditRow] = []
        self._tried_from: int | None = None  # the log's size before the first try whose end nobody heard of

    def note(self, outage: Outage) -> None:
        """Note an outage that has just ended. Never raises and never waits for the ledger."""
        row = _row(outage, self._clock())
        _LOG.warning("token %s", row.detail)
        with self._lock:
            self._noted.append(row)

    def write(self, store: CAStore) -> int:
        """
        Write down what was noted; return how many entries that were.

        Raises:
            StoreError: the ledger. The next call goes on, also where this one was committed and nobody heard of it.

        """
        with self._writing:
            with self._lock:
                noted = list(self._noted)
            if not noted:
                return 0
            with store.writing() as ledger:
                if self._tried_from is None:
                    self._tried_from, missing = ledger.log_size(), noted
                else:
                    missing = _missing(ledger, noted, self._tried_from)
                ledger.append(missing)
            self._tried_from = None
            with self._lock:
                del self._noted[: len(noted)]
            return len(missing)

    @contextmanager
    def kept(self, store: CAStore) -> Iterator[None]:
        """Write down at the end of the block what no chore has come to."""
        try:
            yield
        finally:
            try:
                self.write(store)
            except StoreError as error:
                _LOG.error("%s finding=%s: %s", ACT, error.finding, error.message)


def _missing(ledger: LedgerReader, noted: list[AuditRow], since: int) -> list[AuditRow]:
    """Return what the log does not have among its entries from number `since` on: an earlier try may have succeeded."""
    sought = {encode_row(row): row for row in noted}
    while leaves := ledger.leaves(since, PAGE):
        for leaf in leaves:
            sought.pop(leaf.entry, None)
        since = leaves[-1].number + 1
    return list(sought.values())


def _row(outage: Outage, at: datetime) -> AuditRow:
    began = (at - timedelta(seconds=outage.lasted_s)).isoformat(timespec="milliseconds")
    tries = "1 attempt" if outage.attempts == 1 else f"{outage.attempts} attempts"
    end = f"{outage.ending.value} after {outage.lasted_s:.1f} s, {tries} to reopen it; away since {began}"
    return AuditRow(
        at=at,
        who=AUTHORITY,
        act=ACT,
        finding=PinRefused.default_finding if outage.ending is Ending.LOST else "",
        detail=f"{outage.token}: {end}: {outage.cause}",
    )
