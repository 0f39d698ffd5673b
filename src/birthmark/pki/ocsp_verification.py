# SPDX-License-Identifier: Apache-2.0
"""
What a relying party demands of an OCSP response (RFC 6960 §3.2, RFC 9919 §4).

The steps, in order; the first that fails ends it:

1. it is a basic response and no error         pki.ocsp.malformed, pki.ocsp.no-answer
2. a delegated responder of the issuer signed   pki.ocsp.responder, pki.ocsp.algorithm, pki.ocsp.signature
3. it says one thing about the certificate      pki.ocsp.other-certificate, pki.ocsp.malformed
4. it is in its time                            pki.ocsp.stale, pki.ocsp.not-yet-valid

The issuing key itself signs no responses here (docs/adr/0012-ocsp-responder.md), so a response under it is refused.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.pki.algorithms import acceptable_certificate, key_algorithm, verify_data, verifying_key
from birthmark.pki.errors import AlgorithmRefused, OCSPError
from birthmark.pki.ocsp import CertID, CertStatus, IssuerHash, SingleStatus
from birthmark.pki.reading import UNREADABLE

RESPONSE_MAX_BYTES: Final = 65_536
"""An ML-DSA-87 signature with a responder's certificate of the same kind has some 16 000."""

_STATUS: Final = {
    ocsp.OCSPCertStatus.GOOD: CertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED: CertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN: CertStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verified response says, good from `this_update` until `next_update`."""

    standing: SingleStatus
    this_update: datetime
    next_update: datetime


def read_response(data: bytes, issuer: x509.Certificate, serial: int, at: datetime) -> Answer:
    """
    Return what a response says about the issuer's certificate with this serial, at this time.

    Raises:
        OCSPError: as the module's table says.

    """
    if len(data) > RESPONSE_MAX_BYTES:
        raise OCSPError(f"{len(data)} bytes; at most {RESPONSE_MAX_BYTES} make an OCSP response")
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            name = response.response_status.name.lower().replace("_", "-")
            raise OCSPError(f"the responder answered {name}", finding="pki.ocsp.no-answer")
        _check_signed(response, issuer, at)
        answer = _answer(response, issuer, serial)
    except UNREADABLE as error:
        raise OCSPError(f"not an OCSP response: {error}") from error
    _check_current(answer, at)
    return answer


def _check_signed(response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime) -> None:
    if any(extension.critical for extension in response.extensions):
        raise OCSPError("the OCSP response has a critical extension")
    certificate = _responder(response)
    _check_responder(certificate, issuer, at)
    try:
        acceptable_certificate(certificate)
        key = verifying_key(certificate.public_key())
        if response.signature_algorithm_oid != key_algorithm(key).signature_oid:
            raise OCSPError("the OCSP response's signature is not of its key's kind", finding="pki.ocsp.algorithm")
        verify_data(key, response.signature, response.tbs_response_bytes)
    except AlgorithmRefused as error:
        raise OCSPError(f"the OCSP responder: {error.message}", finding="pki.ocsp.algorithm") from error
    except InvalidSignature as error:
        raise OCSPError("the OCSP response is not signed by its responder", finding="pki.ocsp.signature") from error


def _responder(response: ocsp.OCSPResponse) -> x509.Certificate:
    """Return the certificate inside that the response names, by name or by key hash."""
    name, key_hash = response.responder_name, response.responder_key_hash
    for certificate in response.certificates:
        if certificate.subject == name or (key_hash is not None and _key_hash(certificate) == key_hash):
            return certificate
    raise OCSPError("the OCSP response does not hold its responder's certificate", finding="pki.ocsp.responder")


def _key_hash(certificate: x509.Certificate) -> bytes:
    # The SHA-1 of the key is what CertID calls it, with the responder in the issuer's place (RFC 6960 §4.2.1).
    return CertID.of(certificate, certificate.serial_number, IssuerHash.SHA1).issuer_key


def _check_responder(certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> None:
    """Refuse who was not made a responder by the issuer itself (RFC 6960 §4.2.2.2), or is not one now."""
    try:
        certificate.verify_directly_issued_by(issuer)
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        certificate.extensions.get_extension_for_class(x509.OCSPNoCheck)
    except (InvalidSignature, x509.ExtensionNotFound, *UNREADABLE) as error:
        raise OCSPError("the issuer has not made that certificate a responder", finding="pki.ocsp.responder") from error
    in_time = certificate.not_valid_before_utc <= at < certificate.not_valid_after_utc
    if not in_time or list(purposes) != [ExtendedKeyUsageOID.OCSP_SIGNING] or not usage.digital_signature:
        raise OCSPError("the OCSP responder's certificate has run out or is for more", finding="pki.ocsp.responder")


def _answer(response: ocsp.OCSPResponse, issuer: x509.Certificate, serial: int) -> Answer:
    """Return what is said about the certificate. It may stand there several times, but not with different answers."""
    answers = [_read(single) for single in response.responses if _names(single, issuer, serial)]
    if not answers:
        raise OCSPError("the OCSP response is about another certificate", finding="pki.ocsp.other-certificate")
    if any(answer != answers[0] for answer in answers):
        raise OCSPError("the OCSP response contradicts itself")
    return answers[0]


def _names(single: ocsp.OCSPSingleResponse, issuer: x509.Certificate, serial: int) -> bool:
    try:
        algorithm = IssuerHash(single.hash_algorithm.name)
    except ValueError:
        return False
    found = CertID(algorithm, single.issuer_name_hash, single.issuer_key_hash, single.serial_number)
    return found == CertID.of(issuer, serial, algorithm)


def _read(single: ocsp.OCSPSingleResponse) -> Answer:
    if single.next_update_utc is None:
        raise OCSPError("the OCSP response does not say until when it holds")
    reason = single.revocation_reason or x509.ReasonFlags.unspecified
    status = SingleStatus(single.serial_number, _STATUS[single.certificate_status], single.revocation_time_utc, reason)
    return Answer(status, single.this_update_utc, single.next_update_utc)


def _check_current(answer: Answer, at: datetime) -> None:
    if at >= answer.next_update:
        raise OCSPError(f"the OCSP response ended at {answer.next_update}", finding="pki.ocsp.stale")
    if at < answer.this_update:
        raise OCSPError(f"the OCSP response begins {answer.this_update}", finding="pki.ocsp.not-yet-valid")
