# SPDX-License-Identifier: Apache-2.0
"""Certificate revocation lists (RFC 5280 §5): complete, direct, signed by the CA that issued the certificates."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from birthmark.pki import extensions
from birthmark.pki.algorithms import SigningKey, VerifyingKey, acceptable_signature, signature_hash
from birthmark.pki.errors import AlgorithmRefused, RevocationError
from birthmark.pki.reading import UNREADABLE

CRL_MAX_BYTES = 16 * 1024 * 1024
"""Some 500 000 entries."""

_UNDERSTOOD = frozenset({ExtensionOID.CRL_NUMBER, ExtensionOID.AUTHORITY_KEY_IDENTIFIER})


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One line of a list. A reason that is unspecified is left out, as RFC 5280 §5.3.1 wants it."""

    serial: int
    revoked_at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature was verified. Good from `this_update` until `next_update`."""

    serials: frozenset[int]
    number: int
    this_update: datetime
    next_update: datetime

    def require_current(self, at: datetime) -> None:
        """Pass while the list is current. Raises RevocationError: `pki.crl.stale` or `pki.crl.not-yet-valid`."""
        if at >= self.next_update:
            raise RevocationError(f"the revocation list ended at {self.next_update}", finding="pki.crl.stale")
        if at < self.this_update:
            raise RevocationError(f"the revocation list begins {self.this_update}", finding="pki.crl.not-yet-valid")


def build_crl(
    entries: Iterable[RevokedCertificate],
    issuer_key: SigningKey,
    issuer: x509.Certificate,
    at: datetime,
    next_update_s: int,
) -> bytes:
    """Return the DER of a list. Its number is `at` in milliseconds since 1970: it grows without being stored."""
    # All lines at once: the builder copies what it has for each line that is added, which takes 10 s for 100 000.
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=[_line(entry) for entry in entries])
        .issuer_name(issuer.subject)
        .last_update(at)
        .next_update(at + timedelta(seconds=next_update_s))
        .add_extension(x509.CRLNumber(int(at.timestamp() * 1000)), critical=False)
        .add_extension(extensions.authority_key_identifier(issuer), critical=False)
    )
    return builder.sign(issuer_key, signature_hash(issuer_key.public_key())).public_bytes(Encoding.DER)


def read_crl(data: bytes, issuer: x509.Certificate, at: datetime) -> RevocationList:
    """
    Return a list that the issuer signed and that is current at `at`.

    Raises:
        RevocationError: `pki.crl.malformed`, `.issuer`, `.algorithm`, `.signature`, `.stale` or `.not-yet-valid`.

    """
    if len(data) > CRL_MAX_BYTES:
        raise RevocationError(f"{len(data)} bytes; at most {CRL_MAX_BYTES} make a revocation list")
    try:
        parsed = x509.load_der_x509_crl(data)
        _check_signed(parsed, issuer)
        revocations = _understood(parsed)
    except UNREADABLE as error:
        raise RevocationError(f"not a revocation list: {error}") from error
    revocations.require_current(at)
    return revocations


def _line(entry: RevokedCertificate) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.revoked_at)
    if entry.reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(entry.reason), critical=False)
    return builder.build()


def _check_signed(parsed: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    if parsed.issuer != issuer.subject:
        raise RevocationError("the revocation list is another CA's", finding="pki.crl.issuer")
    try:
        acceptable_signature(parsed)
    except AlgorithmRefused as error:
        raise RevocationError(f"the revocation list: {error.message}", finding="pki.crl.algorithm") from error
    key = issuer.public_key()
    if not isinstance(key, VerifyingKey) or not parsed.is_signature_valid(key):
        raise RevocationError("the revocation list is not signed by its issuer", finding="pki.crl.signature")


def _understood(parsed: x509.CertificateRevocationList) -> RevocationList:
    """Refuse what would change the meaning: a delta, a partial or an indirect list says so in critical extensions."""
    present = {extension.oid: extension for extension in parsed.extensions}
    if any(extension.critical and oid not in _UNDERSTOOD for oid, extension in present.items()):
        raise RevocationError("the revocation list has a critical extension that is not understood")
    number = present.get(ExtensionOID.CRL_NUMBER)
    if number is None or parsed.next_update_utc is None:
        raise RevocationError("the revocation list has no number or no next update")
    serials = frozenset(_serial(line) for line in parsed)
    return RevocationList(serials, number.value.crl_number, parsed.last_update_utc, parsed.next_update_utc)


def _serial(line: x509.RevokedCertificate) -> int:
    if any(extension.critical for extension in line.extensions):
        raise RevocationError("a line of the revocation list has a critical extension")
    return line.serial_number
