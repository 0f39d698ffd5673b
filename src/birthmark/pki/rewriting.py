# SPDX-License-Identifier: Apache-2.0
"""
The tolerant reader of trust anchors: a certificate that is almost DER, rewritten as the DER that it should have been.

Chip makers' roots are in the world as they are, and pyca/cryptography reads nothing but DER. Three deviations are
known from real roots and are mended here; whatever else is wrong stays wrong, for the strict reader to refuse:

- a multi-valued RDN whose SET OF is not in order (X.690 §11.6): Nuvoton's roots of 2015
- ECDSA signatures with NULL parameters, where there may be none (RFC 5758 §3.2): Intel's OnDie root
- GeneralizedTime for a date before 2050 (RFC 5280 §4.1.2.5): AMD's AMDTPM roots

A rewritten certificate has the name, the key and the extensions of the original, and a signature that no longer
verifies. That is enough for an anchor, whose signature nobody verifies (RFC 5280 §6.1), and for nothing else:
docs/adr/0010-trust-anchors.md.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography.x509.oid import SignatureAlgorithmOID

from birthmark.core import der
from birthmark.core.errors import DecodeError

CERTIFICATE_MAX_BYTES: Final = 16_384

_SEQUENCE, _SET, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x31, 0x17, 0x18
_NULL: Final = b"\x05\x00"
_ECDSA: Final = frozenset(
    der.encode(oid)
    for oid in (
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
    )
)
_BEFORE_2050: Final = re.compile(rb"(?:19[5-9]|20[0-4])[0-9]{11}Z")


@der.sequence
class _Certificate:
    tbs: der.TLV
    algorithm: list[der.TLV]
    signature: der.BitString


@der.sequence
class _TBS:
    version: Annotated[int, der.Explicit(0)]
    serial: der.TLV
    algorithm: list[der.TLV]
    issuer: list[der.TLV]
    validity: list[der.TLV]
    subject: list[der.TLV]
    spki: der.TLV
    extensions: Annotated[der.TLV, der.Explicit(3)]


@der.sequence
class _Around:
    items: list[der.TLV]


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A certificate in canonical DER, and what had to be changed for that: nothing, as a rule."""

    der: bytes
    signed: bytes
    """The TBSCertificate as it was: what the certificate's signature is over."""
    deviations: tuple[str, ...]


def rewritten(certificate: bytes) -> Rewritten:
    """
    Return an X.509 v3 certificate with the known deviations mended.

    Raises:
        DecodeError: longer than CERTIFICATE_MAX_BYTES, or not built like an X.509 v3 certificate.

    """
    if len(certificate) > CERTIFICATE_MAX_BYTES:
        raise DecodeError(f"a certificate of {len(certificate)} bytes; at most {CERTIFICATE_MAX_BYTES}")
    outer = der.decode(_Certificate, certificate, "a certificate")
    signed = der.encode(outer.tbs)
    tbs = der.decode(_TBS, signed, "a TBSCertificate")
    mended = _TBS(
        version=tbs.version,
        serial=tbs.serial,
        algorithm=_algorithm(tbs.algorithm),
        issuer=[_rdn(rdn) for rdn in tbs.issuer],
        validity=[_time(time) for time in tbs.validity],
        subject=[_rdn(rdn) for rdn in tbs.subject],
        spki=tbs.spki,
        extensions=tbs.extensions,
    )
    deviations = tuple(_deviations(tbs, mended))
    if not deviations:
        return Rewritten(certificate, signed, ())
    whole = _Certificate(tbs=_any(der.encode(mended)), algorithm=_algorithm(outer.algorithm), signature=outer.signature)
    return Rewritten(der.encode(whole), signed, deviations)


def renamed(certificate: bytes, subject: bytes) -> bytes:
    """Return a canonical certificate with another subject (DER). Its signature is void. Raises DecodeError."""
    outer = der.decode(_Certificate, certificate, "a certificate")
    tbs = der.decode(_TBS, der.encode(outer.tbs), "a TBSCertificate")
    other = _TBS(
        version=tbs.version,
        serial=tbs.serial,
        algorithm=tbs.algorithm,
        issuer=tbs.issuer,
        validity=tbs.validity,
        subject=_items(subject, "a name"),
        spki=tbs.spki,
        extensions=tbs.extensions,
    )
    return der.encode(_Certificate(tbs=_any(der.encode(other)), algorithm=outer.algorithm, signature=outer.signature))


def _deviations(tbs: _TBS, mended: _TBS) -> Iterator[str]:
    if len(mended.algorithm) != len(tbs.algorithm):
        yield "ECDSA with NULL parameters (RFC 5758 §3.2)"
    if _encoded(mended.issuer + mended.subject) != _encoded(tbs.issuer + tbs.subject):
        yield "a name with a SET OF out of order (X.690 §11.6)"
    if _encoded(mended.validity) != _encoded(tbs.validity):
        yield "GeneralizedTime for a date before 2050 (RFC 5280 §4.1.2.5)"


def _algorithm(identifier: list[der.TLV]) -> list[der.TLV]:
    """Drop the NULL parameters of an ECDSA signature."""
    oid, parameters = _encoded(identifier[:1]), _encoded(identifier[1:])
    return identifier[:1] if oid in _ECDSA and parameters == _NULL else identifier


def _rdn(rdn: der.TLV) -> der.TLV:
    """Put the attributes of an RDN in order."""
    if rdn.tag_bytes != bytes((_SET,)):
        return rdn
    attributes = _items(_wrapped(_SEQUENCE, bytes(rdn.data)), "a relative distinguished name")
    return _any(_wrapped(_SET, b"".join(sorted(map(der.encode, attributes)))))


def _time(time: der.TLV) -> der.TLV:
    """Write a date before 2050 as UTCTime."""
    text = bytes(time.data)
    if time.tag_bytes == bytes((_GENERALIZED_TIME,)) and _BEFORE_2050.fullmatch(text):
        return _any(_wrapped(_UTC_TIME, text[2:]))
    return time


def _items(sequence: bytes, structure: str) -> list[der.TLV]:
    # The library declares lists as fields of a SEQUENCE only.
    return der.decode(_Around, _wrapped(_SEQUENCE, sequence), structure).items


def _encoded(values: list[der.TLV]) -> bytes:
    return b"".join(map(der.encode, values))


def _wrapped(tag: int, content: bytes) -> bytes:
    # An OCTET STRING's length is everyone's: only the tag differs.
    return bytes((tag,)) + der.encode(content)[1:]


def _any(encoded: bytes) -> der.TLV:
    return der.decode(der.TLV, encoded, "a value")
