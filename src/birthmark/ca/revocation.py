# SPDX-License-Identifier: Apache-2.0
"""The revocation list: everything in the ledger that counts as revoked, signed by the issuing key."""

from datetime import datetime, timedelta

from cryptography import x509

from birthmark.ca.errors import NotNow
from birthmark.ca.ports import CAStore
from birthmark.core.issuance import Ending, Revocation
from birthmark.pki.authorities import Authority
from birthmark.pki.crl import RevokedCertificate, build_crl
from birthmark.pki.errors import PKIError

CRL_REUSE = timedelta(seconds=1)
"""The same list answers for this long: anyone may ask for it, and each new one costs a signature."""
SIGNER_RETRY_S = 5

_REASONS = {
    Ending.UNCONFIRMED: x509.ReasonFlags.cessation_of_operation,
    Ending.SUPERSEDED: x509.ReasonFlags.superseded,
    Ending.ROTATED: x509.ReasonFlags.superseded,
    Ending.REVOKED: x509.ReasonFlags.unspecified,
    Ending.HELD: x509.ReasonFlags.certificate_hold,
}


class RevocationPublisher:
    """Builds the list when it is asked for, at most once in CRL_REUSE."""

    def __init__(self, store: CAStore, authority: Authority, issued: frozenset[str], next_update: timedelta) -> None:
        """`issued` is what the ledger says of this authority's certificates (`Signers.issued_by`)."""
        self._store = store
        self._authority = authority
        self._issued = issued
        self._next_update = next_update
        self._latest: tuple[datetime, bytes] | None = None

    def current(self, at: datetime) -> bytes:
        """Return a list (DER) that says who was revoked a second ago at the latest. Raises NotNow, StoreError."""
        if self._latest is not None and self._latest[0] <= at < self._latest[0] + CRL_REUSE:
            return self._latest[1]
        with self._store.reading() as ledger:
            revocations = tuple(each for each in ledger.revocations(at) if each.issuer in self._issued)
        der = self._signed(revocations, at)
        self._latest = (at, der)
        return der

    def _signed(self, revocations: tuple[Revocation, ...], at: datetime) -> bytes:
        lines = (RevokedCertificate(int(r.serial, 16), r.at, _REASONS[r.ending]) for r in revocations)
        authority, next_update_s = self._authority, int(self._next_update.total_seconds())
        try:
            return build_crl(lines, authority.key, authority.certificate, at, next_update_s)
        except PKIError as error:
            raise NotNow(
                "ca.signer", "the issuing key cannot sign at the moment", retry_after_s=SIGNER_RETRY_S
            ) from error
