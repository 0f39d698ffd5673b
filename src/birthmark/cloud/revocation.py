# SPDX-License-Identifier: Apache-2.0
"""
The revocation feed: pulls the issuing CA's CRL and says which one is in force.

`pull` runs beside the requests, `current` in each of them. A list that cannot be fetched leaves the earlier one in
force until its nextUpdate; from then on, as before the first list, nobody is let in.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from birthmark.cloud.errors import RevocationFetch, RevocationUnknown
from birthmark.cloud.ports import FetchCRL
from birthmark.cloud.verification import Revocations
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.pki.crl import read_crl

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RevocationsInForce:
    """One list and its epoch: a number that changes when, and only when, what is revoked changes."""

    revocations: Revocations
    epoch: int


class RevocationFeed:
    """One writer calls `pull`; any number of readers call `current`, which is an attribute read and a comparison."""

    def __init__(self, fetch: FetchCRL, issuers: Sequence[x509.Certificate], clock: Clock) -> None:
        self._fetch = fetch
        self._issuers = tuple(issuers)
        self._clock = clock
        self._in_force: RevocationsInForce | None = None

    def current(self, at: datetime) -> RevocationsInForce:
        """
        Return what is revoked at this time.

        Raises:
            RevocationUnknown: no list has come yet, or the last one is past its nextUpdate.

        """
        held = self._in_force
        if held is None:
            raise RevocationUnknown("no revocation list has been fetched yet")
        until = held.revocations.crl.next_update
        if at >= until:
            raise RevocationUnknown(f"the revocation list ran out at {until:%Y-%m-%d %H:%M:%S} UTC")
        return held

    def pull(self) -> None:
        """
        Fetch the list once and put it in force.

        Raises:
            RevocationFetch: not reachable, not signed by an issuing CA that we trust, run out, or older than ours.

        """
        try:
            fresh = self._read(self._fetch(), self._clock())
        except BirthmarkError as error:
            raise RevocationFetch(f"revocation list: {error.message}", hint=error.hint) from error
        held = self._in_force
        if held is None:
            self._in_force = RevocationsInForce(fresh, epoch=1)
            return
        before = held.revocations.crl
        if fresh.crl.number < before.number:
            raise RevocationFetch("the list is older than the one in force", finding="cloud.revocation-rollback")
        epoch = held.epoch if fresh.crl.serials == before.serials else held.epoch + 1
        self._in_force = RevocationsInForce(fresh, epoch)

    def pull_or_log(self) -> None:
        """Fetch once; a failure is one line in the log with its finding."""
        try:
            self.pull()
        except RevocationFetch as error:
            _LOG.warning("finding=%s %s", error.finding, error.message)

    def _read(self, der: bytes, at: datetime) -> Revocations:
        try:
            name = x509.load_der_x509_crl(der).issuer
        except ValueError as error:
            raise RevocationFetch(f"not a revocation list: {error}") from error
        issuer = next((ca for ca in self._issuers if ca.subject == name), None)
        if issuer is None:
            raise RevocationFetch(f"signed by {name.rfc4514_string()!r}, which device_trust does not hold")
        return Revocations(issuer, read_crl(der, issuer, at))
