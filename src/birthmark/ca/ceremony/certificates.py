# SPDX-License-Identifier: Apache-2.0
"""Makes the certificates of a plan, and judges whether a certificate is the one that was planned."""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from birthmark.ca.ceremony.errors import CeremonyChanged
from birthmark.ca.ceremony.plan import PlannedCertificate
from birthmark.pki import authorities
from birthmark.pki.algorithms import SigningKey, VerifyingKey, acceptable_certificate
from birthmark.pki.authorities import BACKDATE, Authority
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.reading import UNREADABLE
from birthmark.pki.rollover import make_rollover


def make_root(planned: PlannedCertificate, organization: str, key: SigningKey) -> x509.Certificate:
    """Return the self-signed certificate of a root."""
    return authorities.make_root(organization, planned.name, key, _begins(planned), _days(planned)).certificate


def make_issued(planned: PlannedCertificate, issuer: Authority, key: SigningKey) -> x509.Certificate:
    """Return the certificate of a CA or of a signer under its issuer."""
    at, days = _begins(planned), _days(planned)
    match planned.profile:
        case "ca":
            return authorities.make_sub_ca(issuer, planned.name, key, at, days).certificate
        case "rigs-ca":
            return authorities.make_rig_ca(issuer, planned.name, key, at, days).certificate
        case "ocsp":
            return authorities.make_ocsp_responder(issuer, planned.name, key.public_key(), at, days)
        case _:
            return authorities.make_signer(issuer, planned.name, key.public_key(), at, days)


def make_cross(planned: PlannedCertificate, issuer: Authority, subject: x509.Certificate) -> x509.Certificate:
    """Return a roll-over certificate."""
    return make_rollover(issuer, subject, (planned.not_before, planned.not_after))


def require_planned(
    planned: PlannedCertificate, made: x509.Certificate, key: VerifyingKey, issuer: x509.Certificate | None
) -> None:
    """
    Pass a certificate that is what was planned: name, dates, extensions, key, and the issuer's signature.

    `issuer` is None for a root, which is its own.

    Raises:
        CeremonyChanged: `ceremony.certificate`, with the first difference.

    """
    try:
        fault = _fault(planned, made, key, issuer or made)
    except UNREADABLE as error:
        fault = f"cannot be read: {error}"
    if fault:
        raise CeremonyChanged(f"certificate {planned.id!r} {fault}", finding="ceremony.certificate")


def _fault(planned: PlannedCertificate, made: x509.Certificate, key: VerifyingKey, issuer: x509.Certificate) -> str:
    differences: tuple[tuple[str, object, object], ...] = (
        ("the subject", made.subject.rfc4514_string(), planned.subject),
        ("notBefore", made.not_valid_before_utc, planned.not_before),
        ("notAfter", made.not_valid_after_utc, planned.not_after),
        ("the extensions", extension_texts(made), planned.extensions),
    )
    for what, found, wanted in differences:
        if found != wanted:
            return f"has {what} {_text(found)}; planned is {_text(wanted)}"
    if made.public_key() != key:
        return "is for another key"
    return _signature_fault(made, issuer)


def _signature_fault(made: x509.Certificate, issuer: x509.Certificate) -> str:
    try:
        acceptable_certificate(made)
        made.verify_directly_issued_by(issuer)
    except AlgorithmRefused as error:
        return error.message
    except (InvalidSignature, ValueError, TypeError):
        return f"is not signed by {issuer.subject.rfc4514_string()}"
    return ""


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _begins(planned: PlannedCertificate) -> datetime:
    return planned.not_before + BACKDATE


def _days(planned: PlannedCertificate) -> int:
    return (planned.not_after - _begins(planned)).days


# --- extensions as text ----------------------------------------------------------------------------------------


def extension_texts(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the extensions in their order, each as the plan writes it; one that no plan holds by its OID."""
    return tuple(_extension_text(extension) for extension in certificate.extensions)


def _extension_text(extension: x509.Extension[x509.ExtensionType]) -> str:
    name, describe = _KNOWN.get(extension.oid, (extension.oid.dotted_string, _undescribed))
    return " ".join(filter(None, (name, "critical" if extension.critical else "", describe(extension.value))))


def _undescribed(_: x509.ExtensionType) -> str:
    return ""


def _constraints(value: x509.ExtensionType) -> str:
    if not isinstance(value, x509.BasicConstraints) or not value.ca:
        return "CA:FALSE"
    return "CA:TRUE" if value.path_length is None else f"CA:TRUE pathlen:{value.path_length}"


def _usage(value: x509.ExtensionType) -> str:
    if not isinstance(value, x509.KeyUsage):
        return ""
    every = {
        "digitalSignature": value.digital_signature,
        "contentCommitment": value.content_commitment,
        "keyEncipherment": value.key_encipherment,
        "dataEncipherment": value.data_encipherment,
        "keyAgreement": value.key_agreement,
        "keyCertSign": value.key_cert_sign,
        "cRLSign": value.crl_sign,
    }
    return " ".join(name for name, on in every.items() if on)


def _purposes(value: x509.ExtensionType) -> str:
    if not isinstance(value, x509.ExtendedKeyUsage):
        return ""
    known = {ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}
    return " ".join(known.get(purpose, purpose.dotted_string) for purpose in value)


_KNOWN: Final[Mapping[x509.ObjectIdentifier, tuple[str, Callable[[x509.ExtensionType], str]]]] = MappingProxyType(
    {
        ExtensionOID.BASIC_CONSTRAINTS: ("basicConstraints", _constraints),
        ExtensionOID.KEY_USAGE: ("keyUsage", _usage),
        ExtensionOID.EXTENDED_KEY_USAGE: ("extendedKeyUsage", _purposes),
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: ("subjectKeyIdentifier", _undescribed),
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: ("authorityKeyIdentifier", _undescribed),
        ExtensionOID.OCSP_NO_CHECK: ("ocspNoCheck", _undescribed),
    }
)
