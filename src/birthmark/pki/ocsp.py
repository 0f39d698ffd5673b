# SPDX-License-Identifier: Apache-2.0
"""
OCSP (RFC 6960) in its lightweight profile for large fleets (RFC 9919, which was RFC 5019): requests and responses.

A response is made before it is asked for, by a responder of the CA's own: its certificate is issued by the CA whose
certificates it speaks of, for OCSP alone, and is not itself looked up (id-pkix-ocsp-nocheck). Hence no nonce is ever
echoed: how fresh a response is, its times say (RFC 9919 §4).

SHA-1 stands in a CertID as the protocol's name for an issuer, as it does in most clients' requests; it proves nothing
there, for the responder's signature covers the whole response. Each response names its certificate under both SHA-1
and SHA-256 (RFC 6960 §4.2.1 lets a pre-produced response say more than was asked), so that one signature answers all.
"""

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Annotated, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import OCSPExtensionOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.pki.algorithms import SigningKey, key_algorithm, sign_data
from birthmark.pki.errors import OCSPError

REQUEST_MAX_BYTES: Final = 4_096
CERT_IDS_MAX: Final = 8
"""How many certificates one request may ask about."""
SERIAL_MAX_BITS: Final = 159
"""20 octets (RFC 5280 §4.1.2.2), the sign bit included."""
REQUEST_MEDIA_TYPE: Final = "application/ocsp-request"
RESPONSE_MEDIA_TYPE: Final = "application/ocsp-response"

_BASIC: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.1")  # id-pkix-ocsp-basic
_TOLERATED: Final = frozenset({OCSPExtensionOID.NONCE})
"""Critical or not, these may be passed over: a response without a nonce is the most complete one that there is."""
_REASON_CODES: Final = {  # RFC 5280 §5.3.1
    x509.ReasonFlags.key_compromise: 1,
    x509.ReasonFlags.ca_compromise: 2,
    x509.ReasonFlags.affiliation_changed: 3,
    x509.ReasonFlags.superseded: 4,
    x509.ReasonFlags.cessation_of_operation: 5,
    x509.ReasonFlags.certificate_hold: 6,
    x509.ReasonFlags.privilege_withdrawn: 9,
    x509.ReasonFlags.aa_compromise: 10,
}
_ENUMERATED: Final = 0x0A


class IssuerHash(Enum):
    """How a CertID names the issuer."""

    SHA1 = "sha1"
    SHA256 = "sha256"

    @property
    def oid(self) -> x509.ObjectIdentifier:
        """The identifier of the hash."""
        return _HASH_OIDS[self]

    def of(self, data: bytes) -> bytes:
        """Return the hash of a name or a key. Here SHA-1 is a name, not a proof."""
        return hashlib.new(self.value, data, usedforsecurity=False).digest()


_HASH_OIDS: Final = {
    IssuerHash.SHA1: x509.ObjectIdentifier("1.3.14.3.2.26"),
    IssuerHash.SHA256: x509.ObjectIdentifier("2.16.840.1.101.3.4.2.1"),
}
_BY_OID: Final = {oid: algorithm for algorithm, oid in _HASH_OIDS.items()}


class CertStatus(Enum):
    """What a responder says about a certificate."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


class ErrorStatus(Enum):
    """A response without contents, which nobody signs (RFC 6960 §4.2.1)."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    UNAUTHORIZED = 6
    """Also: this responder has no say in that certificate (RFC 9919 §3.2.3)."""


@dataclass(frozen=True, slots=True)
class CertID:
    """The certificate that a request asks about."""

    algorithm: IssuerHash
    issuer_name: bytes
    issuer_key: bytes
    serial: int

    @classmethod
    def of(cls, issuer: x509.Certificate, serial: int, algorithm: IssuerHash = IssuerHash.SHA256) -> "CertID":
        """Return how to ask about a certificate of this issuer."""
        return cls(algorithm, algorithm.of(issuer.subject.public_bytes()), algorithm.of(_key_bits(issuer)), serial)


@dataclass(frozen=True, slots=True)
class SingleStatus:
    """
    The standing of one certificate. `revoked_at` is there when, and only when, it is revoked.

    Raises:
        OCSPError: the two contradict each other.

    """

    serial: int
    status: CertStatus
    revoked_at: datetime | None = None
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified

    def __post_init__(self) -> None:
        """Refuse a revocation without its time, and a time without a revocation."""
        if (self.status is CertStatus.REVOKED) is (self.revoked_at is None):
            raise OCSPError(f"{self.status.value} and revoked at {self.revoked_at} contradict each other")


@dataclass(frozen=True, slots=True)
class Responder:
    """Who signs responses about the certificates of `issuer`: a certificate issued by it, and the key."""

    issuer: x509.Certificate
    certificate: x509.Certificate
    key: SigningKey = field(repr=False)

    def speaks_of(self, cert_id: CertID) -> bool:
        """Say whether the request is about a certificate of our issuer."""
        return CertID.of(self.issuer, cert_id.serial, cert_id.algorithm) == cert_id


# --- structures ------------------------------------------------------------------------------------------------


@der.sequence
class _AlgorithmIdentifier:
    algorithm: x509.ObjectIdentifier
    parameters: der.Null | None


@der.sequence
class _CertID:
    algorithm: _AlgorithmIdentifier
    issuer_name: bytes
    issuer_key: bytes
    serial: int


@der.sequence
class _Extension:
    id: x509.ObjectIdentifier
    critical: Annotated[bool, der.Default(value=False)]
    value: bytes


@der.sequence
class _Request:
    cert_id: _CertID
    extensions: Annotated[list[_Extension] | None, der.Explicit(0)]


@der.sequence
class _TBSRequest:
    version: Annotated[int, der.Explicit(0), der.Default(0)]
    requestor: Annotated[
        Annotated[der.Variant[der.IA5String, Literal["mail"]], der.Implicit(1)]
        | Annotated[der.Variant[der.IA5String, Literal["dns"]], der.Implicit(2)]
        | Annotated[der.Variant[der.TLV, Literal["directory"]], der.Explicit(4)]
        | Annotated[der.Variant[der.IA5String, Literal["uri"]], der.Implicit(6)]
        | None,
        der.Explicit(1),
    ]
    requests: Annotated[list[_Request], der.Size(1, CERT_IDS_MAX)]
    extensions: Annotated[list[_Extension] | None, der.Explicit(2)]


@der.sequence
class _Signature:
    algorithm: der.TLV
    signature: der.BitString
    certificates: Annotated[list[der.TLV] | None, der.Explicit(0)]


@der.sequence
class _OCSPRequest:
    tbs: _TBSRequest
    signature: Annotated[_Signature | None, der.Explicit(0)]


@der.sequence
class _Revoked:
    at: der.GeneralizedTime


@der.sequence
class _RevokedFor:
    at: der.GeneralizedTime
    reason: Annotated[der.TLV, der.Explicit(0)]


@der.sequence
class _Single:
    cert_id: _CertID
    status: (
        Annotated[der.Variant[der.Null, Literal["good"]], der.Implicit(0)]
        | Annotated[der.Variant[_Revoked, Literal["revoked"]], der.Implicit(1)]
        | Annotated[der.Variant[_RevokedFor, Literal["revoked for"]], der.Implicit(1)]
        | Annotated[der.Variant[der.Null, Literal["unknown"]], der.Implicit(2)]
    )
    this_update: der.GeneralizedTime
    next_update: Annotated[der.GeneralizedTime, der.Explicit(0)]


@der.sequence
class _ResponseData:
    responder_name: Annotated[der.TLV, der.Explicit(1)]
    produced_at: der.GeneralizedTime
    responses: list[_Single]


@der.sequence
class _Basic:
    data: der.TLV
    algorithm: _AlgorithmIdentifier
    signature: der.BitString
    certificates: Annotated[list[x509.Certificate], der.Explicit(0)]


@der.sequence
class _ResponseBytes:
    type: x509.ObjectIdentifier
    response: bytes


@der.sequence
class _OCSPResponse:
    status: der.TLV
    body: Annotated[_ResponseBytes | None, der.Explicit(0)]


@der.sequence
class _PublicKeyInfo:
    algorithm: der.TLV
    key: der.BitString


# --- requests --------------------------------------------------------------------------------------------------


def build_request(cert_ids: Sequence[CertID]) -> bytes:
    """Return the DER of a request, unsigned and without a nonce (RFC 9919 §3.1)."""
    requests = [_Request(cert_id=_cert_id(each), extensions=None) for each in cert_ids]
    tbs = _TBSRequest(version=0, requestor=None, requests=requests, extensions=None)
    return der.encode(_OCSPRequest(tbs=tbs, signature=None))


def read_request(data: bytes) -> tuple[CertID, ...]:
    """
    Return what a request asks about, in its order. A signature, a requestor's name and a nonce are passed over.

    Raises:
        DecodeError: `ocsp.request`: not DER, more than CERT_IDS_MAX certificates, a hash other than SHA-1 and SHA-256,
            a serial that no certificate can have, or a critical extension that is not understood.

    """
    if len(data) > REQUEST_MAX_BYTES:
        raise _malformed(f"an OCSP request of {len(data)} bytes; at most {REQUEST_MAX_BYTES}")
    try:
        tbs = der.decode(_OCSPRequest, data, "the OCSP request").tbs
    except DecodeError as error:
        raise _malformed(error.message) from error
    if tbs.version != 0:
        raise _malformed(f"an OCSP request of version {tbs.version}")
    _check_extensions(tbs.extensions)
    return tuple(_asked(request) for request in tbs.requests)


def request_path(data: bytes) -> str:
    """Return a request for the GET form, before percent-encoding (RFC 6960 appendix A.1)."""
    return base64.b64encode(data).decode()


def read_request_path(text: str) -> bytes:
    """
    Return the request in the last part of a path, after percent-decoding.

    Raises:
        DecodeError: `ocsp.request`: not base64 in its one form.

    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("the OCSP request in the path is not base64") from error
    if request_path(data) != text:
        raise _malformed("the OCSP request in the path is not base64 in its one form")
    return data


def _asked(request: _Request) -> CertID:
    _check_extensions(request.extensions)
    found = request.cert_id
    algorithm = _BY_OID.get(found.algorithm.algorithm)
    if algorithm is None:
        raise _malformed("an OCSP request names its issuer by SHA-1 or SHA-256")
    size = len(algorithm.of(b""))
    if len(found.issuer_name) != size or len(found.issuer_key) != size:
        raise _malformed("an OCSP request with a hash of the wrong length")
    if found.serial <= 0 or found.serial.bit_length() > SERIAL_MAX_BITS:
        raise _malformed("an OCSP request about a serial that no certificate has")
    return CertID(algorithm, found.issuer_name, found.issuer_key, found.serial)


def _check_extensions(extensions: Iterable[_Extension] | None) -> None:
    for extension in extensions or ():
        if extension.critical and extension.id not in _TOLERATED:
            raise _malformed(f"an OCSP request with the critical extension {extension.id.dotted_string}")


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, finding="ocsp.request")


# --- responses -------------------------------------------------------------------------------------------------


def build_response(
    statuses: Sequence[SingleStatus], responder: Responder, this_update: datetime, next_update: datetime
) -> bytes:
    """
    Return the DER of a signed response about certificates of the responder's issuer.

    `this_update` is also when it was produced. Both times are cut to whole seconds (RFC 9919 §3.2.4).
    """
    times = _time(this_update), _time(next_update)
    singles = [_single(each, responder, algorithm, times) for each in statuses for algorithm in IssuerHash]
    name = _any(responder.certificate.subject.public_bytes())
    signed = der.encode(_ResponseData(responder_name=name, produced_at=times[0], responses=singles))
    basic = _Basic(
        data=_any(signed),
        algorithm=_AlgorithmIdentifier(
            algorithm=key_algorithm(responder.key.public_key()).signature_oid, parameters=None
        ),
        signature=der.BitString(sign_data(responder.key, signed), 0),
        certificates=[responder.certificate],
    )
    return der.encode(
        _OCSPResponse(status=_enumerated(0), body=_ResponseBytes(type=_BASIC, response=der.encode(basic)))
    )


def error_response(status: ErrorStatus) -> bytes:
    """Return the DER of a response that says why there is none."""
    return der.encode(_OCSPResponse(status=_enumerated(status.value), body=None))


def _single(
    status: SingleStatus,
    responder: Responder,
    algorithm: IssuerHash,
    times: tuple[der.GeneralizedTime, der.GeneralizedTime],
) -> _Single:
    cert_id = _cert_id(CertID.of(responder.issuer, status.serial, algorithm))
    return _Single(cert_id=cert_id, status=_status(status), this_update=times[0], next_update=times[1])


def _status(
    status: SingleStatus,
) -> (
    der.Variant[der.Null, Literal["good"]]
    | der.Variant[_Revoked, Literal["revoked"]]
    | der.Variant[_RevokedFor, Literal["revoked for"]]
    | der.Variant[der.Null, Literal["unknown"]]
):
    if status.revoked_at is None:
        if status.status is CertStatus.GOOD:
            return der.Variant(der.Null(), "good")
        return der.Variant(der.Null(), "unknown")
    code = _REASON_CODES.get(status.reason)
    if code is None:
        return der.Variant(_Revoked(at=_time(status.revoked_at)), "revoked")
    return der.Variant(_RevokedFor(at=_time(status.revoked_at), reason=_enumerated(code)), "revoked for")


def _cert_id(cert_id: CertID) -> _CertID:
    return _CertID(
        algorithm=_AlgorithmIdentifier(algorithm=cert_id.algorithm.oid, parameters=der.Null()),
        issuer_name=cert_id.issuer_name,
        issuer_key=cert_id.issuer_key,
        serial=cert_id.serial,
    )


def _key_bits(certificate: x509.Certificate) -> bytes:
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der.decode(_PublicKeyInfo, spki, "the issuer's key").key.as_bytes()


def _time(moment: datetime) -> der.GeneralizedTime:
    return der.GeneralizedTime(moment.replace(microsecond=0))


def _enumerated(value: int) -> der.TLV:
    return _any(bytes((_ENUMERATED, 1, value)))


def _any(data: bytes) -> der.TLV:
    return der.decode(der.TLV, data, "a part of an OCSP response")
