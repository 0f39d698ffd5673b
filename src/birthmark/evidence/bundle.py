# SPDX-License-Identifier: Apache-2.0
"""
The AttestationBundle (draft-ietf-lamps-csr-attestation-29 §4): what CSR and certificate carry, byte for byte.

Narrower than the draft, on purpose: one statement, and its AK certificate first in `certs`. Every further certificate
must be part of the AK's path (appraisal.py), so no byte of a bundle that is accepted was left unread or unsigned.
"""

from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError

BUNDLE_MAX_BYTES = 8192
BUNDLE_MAX_CERTIFICATES = 4
_STRUCTURE = "AttestationBundle"
_X509_V3 = 2
_UNREADABLE = (ValueError, TypeError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)


@der.sequence
class _AttestationStatement:
    type: ObjectIdentifier
    stmt: der.TLV


@der.sequence
class _AttestationBundle:
    attestations: list[_AttestationStatement]
    certs: list[der.TLV]


@der.sequence
class _TBSCertificate:
    version: Annotated[int, der.Explicit(0)]
    serial: int
    algorithm: der.TLV
    issuer: der.TLV
    validity: der.TLV
    subject: der.TLV
    spki: der.TLV
    extensions: Annotated[der.TLV, der.Explicit(3)]


@der.sequence
class _Certificate:
    """RFC 5280 §4.1: the signature covers the first of the three parts."""

    tbs: _TBSCertificate
    algorithm: der.TLV
    signature: der.BitString


@dataclass(frozen=True, slots=True)
class AttestationBundle:
    """One statement about one key, and the certificates that it comes with. Nothing in it is trusted yet."""

    der: bytes
    statement_type: ObjectIdentifier
    statement: bytes
    certificates: tuple[x509.Certificate, ...]
    """The AK's own certificate first; there is at least that one."""


def read_bundle(data: bytes) -> AttestationBundle:
    """
    Read a bundle, all of it.

    Raises:
        DecodeError: too large, not DER, more than one statement, no certificate or too many, or a malformed one.

    """
    if len(data) > BUNDLE_MAX_BYTES:
        raise DecodeError(f"an {_STRUCTURE} of {len(data)} bytes; at most {BUNDLE_MAX_BYTES} are read")
    bundle = der.decode(_AttestationBundle, data, _STRUCTURE)
    if len(bundle.attestations) != 1:
        raise DecodeError(f"an {_STRUCTURE} with {len(bundle.attestations)} statements; exactly one is read")
    if not 1 <= len(bundle.certs) <= BUNDLE_MAX_CERTIFICATES:
        raise DecodeError(f"an {_STRUCTURE} with {len(bundle.certs)} certificates; 1 to {BUNDLE_MAX_CERTIFICATES} fit")
    statement = bundle.attestations[0]
    certificates = tuple(_certificate(der.encode(each)) for each in bundle.certs)
    return AttestationBundle(data, statement.type, der.encode(statement.stmt), certificates)


def make_bundle(statement_type: ObjectIdentifier, statement: bytes, certificates: tuple[bytes, ...]) -> bytes:
    """
    Return the DER of a bundle around a statement exactly as the chip made it.

    Raises:
        DecodeError: the statement or a certificate is not one whole DER value, or the bundle could not be read back.

    """
    entry = _AttestationStatement(type=statement_type, stmt=_any(statement, "the statement"))
    certs = [_any(certificate, "a certificate") for certificate in certificates]
    bundle = der.encode(_AttestationBundle(attestations=[entry], certs=certs))
    return read_bundle(bundle).der


def _any(data: bytes, what: str) -> der.TLV:
    return der.decode(der.TLV, data, what)


def _certificate(data: bytes) -> x509.Certificate:
    _check_frame(der.decode(_Certificate, data, "certificate"))
    try:
        certificate = x509.load_der_x509_certificate(data)
        # pyca parses these when they are first asked for; a malformed one has to show here and not in a later step.
        _ = (certificate.issuer, certificate.subject, certificate.extensions)
    except _UNREADABLE as error:
        raise DecodeError(f"a certificate in the {_STRUCTURE} is malformed: {error}") from error
    return certificate


def _check_frame(certificate: _Certificate) -> None:
    # The signature covers neither the outer algorithm nor the unused bits of its own BIT STRING: both must have their
    # only right form, or a changed byte would pass.
    if certificate.signature.padding_bits():
        raise DecodeError("the signature of a certificate is not a whole number of bytes")
    outer, inner = certificate.algorithm, certificate.tbs.algorithm
    if outer.tag_bytes != inner.tag_bytes or outer.data != inner.data:
        raise DecodeError("a certificate names two different signature algorithms")
    if certificate.tbs.version != _X509_V3 or certificate.tbs.serial <= 0:
        raise DecodeError("a certificate is not X.509 version 3 with a positive serial number")
