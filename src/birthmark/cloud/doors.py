# SPDX-License-Identifier: Apache-2.0
"""The two doors in front of the cloud, as one pure question: who is this certificate, and what is the verdict on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from birthmark.cloud.admission import Door
from birthmark.cloud.errors import CloudRefused
from birthmark.cloud.legacy import LegacyPolicy, refuse_new_line, verify_legacy
from birthmark.cloud.verification import Believed, Revocations, verify
from birthmark.evidence.ear import NO_SIGNERS, ResultSigners
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import Verdict
from birthmark.pki.paths import TrustAnchors


@dataclass(frozen=True, slots=True)
class Presented:
    """A certificate as a peer presents it: what TLS proved possession of, and what came beside it."""

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a door says of a certificate, and when it stops saying so by itself."""

    door: Door
    verdict: Verdict
    holds_until: datetime


@dataclass(frozen=True, slots=True)
class Doors:
    """What the two doors trust. Without `legacy` there is one door only."""

    trust: TrustAnchors
    endorsements: Endorsements
    legacy: LegacyPolicy | None = None
    signers: ResultSigners = NO_SIGNERS
    """The verifiers whose attestation results are believed in place of evidence."""

    def judge(self, presented: Presented, revoked: Revocations, at: datetime) -> Judgement:
        """
        Return the judgement of the door that the certificate's issuer leads to; never raises on what a peer may send.

        Whatever is not issued by a legacy CA has to be attested.
        """
        leaf, chain = presented.leaf, presented.chain
        if self.legacy is not None and self.legacy.issued(leaf):
            verdict = verify_legacy(leaf, chain, self.legacy, at)
            return Judgement(Door.LEGACY, verdict, min(leaf.not_valid_after_utc, self.legacy.sunset))
        verdict = verify(leaf, chain, self.trust, Believed(self.endorsements, self.signers), revoked, at)
        return Judgement(Door.ATTESTED, verdict, leaf.not_valid_after_utc)

    def refuse_new_line(self, claimed: str, *, registered: bool) -> None:
        """Take the legacy door's rule on the serial that a device claims. Raises CloudRefused."""
        if self.legacy is not None:
            refuse_new_line(self.legacy, claimed, registered=registered)


def read_presented(leaf: bytes | None, chain: Sequence[bytes]) -> Presented:
    """
    Return the certificates that a peer sent, from their DER.

    Raises:
        CloudRefused: no certificate, or one that cannot be read.

    """
    if leaf is None:
        raise CloudRefused("the client sent no certificate", finding="cloud.certificate.missing")
    return Presented(_certificate(leaf), tuple(_certificate(der) for der in chain if der != leaf))


def _certificate(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # pyca reads these when they are asked for; asked now, a malformed one is refused here and not somewhere.
        _ = certificate.subject, certificate.issuer, certificate.extensions
    except (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise CloudRefused(f"not a certificate: {error}", finding="cloud.certificate.malformed") from error
    return certificate
