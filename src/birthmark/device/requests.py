# SPDX-License-Identifier: Apache-2.0
"""Certificate requests that the chip signs, with the chip's evidence inside."""

from cryptography import x509

from birthmark.device.errors import CertificateRejected
from birthmark.evidence.bundle import make_bundle
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.silicon.keys import chip_key
from birthmark.silicon.port import SecureElement


def make_bare_csr(chip: SecureElement, slot: str, unit: str) -> bytes:
    """Return the DER of a first request without evidence: what a CA of ours refuses."""
    return build_csr(chip_key(chip, slot), request_subject(unit), None)


def make_csr(chip: SecureElement, slot: str, unit: str, nonce: bytes) -> bytes:
    """
    Return the DER of a first request for the key in the slot, with evidence that is fresh for the nonce.

    Raises:
        ChipError: the chip or the bus refuses or fails.
        DecodeError: `unit` is not a unit serial.

    """
    return build_csr(chip_key(chip, slot), request_subject(unit), make_evidence(chip, slot, nonce))


def make_renewal_csr(chip: SecureElement, slot: str, current: x509.Certificate, bundle: bytes) -> bytes:
    """
    Return the DER of a request with the names of the current certificate, as simplereenroll demands (RFC 7030 §4.2.2).

    Raises:
        ChipError: the chip or the bus refuses or fails.
        CertificateRejected: the current certificate has no subjectAltName that could be kept.

    """
    try:
        san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise CertificateRejected(f"the certificate in use names no chip: {error}") from error
    return build_csr(chip_key(chip, slot), current.subject, bundle, san)


def make_evidence(chip: SecureElement, slot: str, nonce: bytes) -> bytes:
    """Return the AttestationBundle for the key in the slot: the chip's statement and the AK's own certificate."""
    evidence = chip.attest(slot, nonce)
    return make_bundle(evidence.statement_type, evidence.statement, chip.identity().ak_certificates[:1])
