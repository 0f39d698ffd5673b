# SPDX-License-Identifier: Apache-2.0
"""
May this certificate follow the one in use? Pure.

1. key        it is for the key in the slot                          device.certificate.key
2. names      subject and SAN are those of the certificate in use    device.certificate.names
3. order      it is not older than the certificate in use            device.certificate.older
4. path       it leads to our trust anchor, now, as a TLS client     device.certificate.<as pki.path>
5. evidence   it carries evidence, and where endorsements are at hand, evidence that holds; or an attestation result,
              which is the CA's word as the certificate is            device.certificate.evidence, evidence.*
"""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.core.errors import DecodeError
from birthmark.device.errors import CertificateRejected
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import require
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path


@dataclass(frozen=True, slots=True)
class Standards:
    """What the device trusts: the root and issuing CA of its certificate, and chip makers if it is given any."""

    trust: TrustAnchors
    endorsements: Endorsements | None = None


def check_successor(
    candidate: x509.Certificate, current: x509.Certificate, spki: bytes, standards: Standards, at: datetime
) -> None:
    """
    Raise unless `candidate`, for the slot's key `spki`, may follow `current`.

    Raises:
        CertificateRejected: findings as listed above.
        AppraisalRefused: the evidence in it does not hold; finding `evidence.*`.

    """
    # 1. key
    if _spki(candidate) != spki:
        raise CertificateRejected("the certificate is for another key", finding="device.certificate.key")
    # 2. names
    if candidate.subject != current.subject or _san(candidate) != _san(current):
        raise CertificateRejected("the certificate has other names", finding="device.certificate.names")
    # 3. order
    if candidate.not_valid_before_utc < current.not_valid_before_utc:
        raise CertificateRejected("the certificate is older than ours", finding="device.certificate.older")
    # 4. path
    try:
        validate_path(candidate, (), standards.trust, at, Purpose.CLIENT)
    except PathError as error:
        kind = error.finding.rpartition(".")[2]
        raise CertificateRejected(error.message, finding=f"device.certificate.{kind}") from error
    # 5. evidence
    _check_evidence(candidate, spki, standards.endorsements, at)


def _check_evidence(candidate: x509.Certificate, spki: bytes, endorsements: Endorsements | None, at: datetime) -> None:
    try:
        record, value = read_cmw_record(candidate)
    except DecodeError as error:
        raise CertificateRejected(error.message, finding="device.certificate.evidence") from error
    if endorsements is not None and record is Record.EVIDENCE:
        require(appraise(value, spki, endorsements, at))


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _san(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.public_bytes()
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None
