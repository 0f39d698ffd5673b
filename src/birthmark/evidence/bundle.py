# SPDX-License-Identifier: Apache-2.0
"""
The AttestationBundle (draft-ietf-lamps-csr-attestation-29 §4): what CSR and certificate carry, byte for byte.

Narrower than the draft, on purpose: one statement, and its AK certificate first in `certs`. Every further certificate
must be part of the AK's path (appraisal.py), so no byte of a bundle that is accepted was left unread or unsigned.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError

BUNDLE_MAX_BYTES = 8192
BUNDLE_MAX_CERTIFICATES = 4
_STRUCTURE = "AttestationBundle"


@der.sequence
class _AttestationStatement:
    type: ObjectIdentifier
    stmt: der.TLV


@der.sequence
class _AttestationBundle:
    attestations: list[_AttestationStatement]
    certs: list[der.TLV]


@der.sequence
class _Algorithm:
    algorithm: ObjectIdentifier
    # ECDSA has no parameters, RSA has NULL (RFC 5758 §3.2, RFC 4055 §5).
    parameters: der.Null | None


@der.sequence
class _SignedCertificate:
    """RFC 5280 §4.1.1: the three parts of a certificate, of which its signature covers only the first."""

    tbs: der.TLV
    algorithm: _Algorithm
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
    # A certificate's signature covers neither the unused bits of the BIT STRING that it stands in nor the parameters
    # of the outer algorithm; both must have their only right form, or a changed byte would pass.
    if der.decode(_SignedCertificate, data, "certificate").signature.padding_bits():
        raise DecodeError("the signature of a certificate is not a whole number of bytes")
    try:
        return x509.load_der_x509_certificate(data)
    except (ValueError, x509.InvalidVersion) as error:
        raise DecodeError(f"a certificate in the {_STRUCTURE} is malformed: {error}") from error
