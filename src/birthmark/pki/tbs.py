# SPDX-License-Identifier: Apache-2.0
"""
A certificate in three parts (RFC 5280 §4.1): what is to be signed, by which algorithm, and the signature.

The parts are separate so that the key signs the very bytes that were looked at before: nothing is encoded again between
the look and the signature. Writing (`Blank`) puts bytes together by hand; reading (`read_tbs`) is a strict DER decoder.
They share nothing, and what is put together in the end is read once more by the X.509 parser of pyca/cryptography.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography import x509
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.pki.algorithms import KeyAlgorithm

_INTEGER, _BIT_STRING, _OCTET_STRING, _SEQUENCE = 0x02, 0x03, 0x04, 0x30
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_EXTENSIONS = 0xA3  # [3] EXPLICIT
_VERSION_3 = bytes.fromhex("a003020102")  # [0] EXPLICIT INTEGER 2
_CRITICAL = bytes.fromhex("0101ff")
_WHOLE_BYTES = b"\x00"  # a BIT STRING without unused bits
_LAST_UTC_YEAR = 2049  # RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050 on
_STRUCTURE = "the certificate to be signed"


@der.sequence
class _Algorithm:
    oid: OID


@der.sequence
class _Validity:
    not_before: der.UTCTime | der.GeneralizedTime
    not_after: der.UTCTime | der.GeneralizedTime


@der.sequence
class _Attribute:
    oid: OID
    value: der.TLV


@der.sequence
class _Extension:
    oid: OID
    critical: Annotated[bool, der.Default(value=False)]
    content: bytes


@der.sequence
class _TBS:
    version: Annotated[int, der.Explicit(0)]
    serial: int
    algorithm: der.TLV
    issuer: der.TLV
    validity: _Validity
    subject: list[der.SetOf[_Attribute]]
    spki: der.TLV
    extensions: Annotated[list[_Extension], der.Explicit(3)]


@dataclass(frozen=True, slots=True)
class Variables:
    """What differs from one certificate of an issuer to the next. Names, key and extensions are whole DER values."""

    serial: int
    not_before: datetime
    not_after: datetime
    subject: bytes
    spki: bytes
    extensions: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class TBSCertificate:
    """A certificate to be signed, read. `algorithm`, `issuer` and `spki` are whole DER values, as they stand."""

    serial: int
    algorithm: bytes
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: list[list[tuple[OID, bytes]]]
    """The relative names, each with its attributes: the tag of the text and its bytes."""
    spki: bytes
    extensions: Mapping[OID, tuple[bool, bytes]]
    """Whether it is critical, and the content of its OCTET STRING."""


class Blank:
    """The certificate of one issuer, to be filled in: the issuer's name and algorithm are encoded once."""

    def __init__(self, issuer: x509.Certificate, algorithm: KeyAlgorithm) -> None:
        self.issuer = issuer.subject.public_bytes()
        self.algorithm = der.encode(_Algorithm(oid=algorithm.signature_oid))
        """AlgorithmIdentifier: the OID, and no parameters (RFC 5758, RFC 8410, RFC 9881)."""

    def filled(self, variables: Variables) -> bytes:
        """Return the DER of the TBSCertificate. Raises ValueError for a serial that is not positive."""
        return der.wrap(
            _SEQUENCE,
            _VERSION_3,
            _positive(variables.serial),
            self.algorithm,
            self.issuer,
            der.wrap(_SEQUENCE, _time(variables.not_before), _time(variables.not_after)),
            variables.subject,
            variables.spki,
            der.wrap(_EXTENSIONS, der.wrap(_SEQUENCE, *variables.extensions)),
        )

    def closed(self, tbs: bytes, signature: bytes) -> bytes:
        """Return the DER of the certificate around these very bytes and this signature."""
        return der.wrap(_SEQUENCE, tbs, self.algorithm, der.wrap(_BIT_STRING, _WHOLE_BYTES, signature))


def extension_head(oid: OID, *, critical: bool) -> bytes:
    """Return the DER of an extension up to its content: what is the same whatever it says."""
    return der.encode(oid) + (_CRITICAL if critical else b"")


def extension(head: bytes, content: bytes) -> bytes:
    """Return the DER of an Extension, for Variables."""
    return der.wrap(_SEQUENCE, head, der.wrap(_OCTET_STRING, content))


def read_tbs(tbs: bytes) -> TBSCertificate:
    """
    Return what a TBSCertificate of version 3 says.

    Raises:
        DecodeError: not strict DER, another version, or an extension twice.

    """
    parts = der.decode(_TBS, tbs, _STRUCTURE)
    if parts.version != x509.Version.v3.value:
        raise DecodeError(f"{_STRUCTURE} is not of version 3")
    found = {each.oid: (each.critical, each.content) for each in parts.extensions}
    if len(found) != len(parts.extensions):
        raise DecodeError(f"{_STRUCTURE} has an extension twice")
    return TBSCertificate(
        serial=parts.serial,
        algorithm=der.encode(parts.algorithm),
        issuer=der.encode(parts.issuer),
        not_before=parts.validity.not_before.as_datetime(),
        not_after=parts.validity.not_after.as_datetime(),
        subject=[
            [(each.oid, each.value.tag_bytes + bytes(each.value.data)) for each in rdn.as_list()]
            for rdn in parts.subject
        ],
        spki=der.encode(parts.spki),
        extensions=found,
    )


def _positive(number: int) -> bytes:
    if number <= 0:
        raise ValueError("a serial number must be positive")
    return der.wrap(_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _time(at: datetime) -> bytes:
    digits = b"%04d%02d%02d%02d%02d%02dZ" % (at.year, at.month, at.day, at.hour, at.minute, at.second)
    if at.year <= _LAST_UTC_YEAR:
        return der.wrap(_UTC_TIME, digits[2:])
    return der.wrap(_GENERALIZED_TIME, digits)
