# SPDX-License-Identifier: Apache-2.0
"""
The bytes of EST: paths, bodies, certs-only messages and the nonce call.

Sources: RFC 7030 (operations), RFC 8951 (body encoding), draft-ietf-lamps-attestation-freshness-08 (nonce).
Every decoder consumes everything and raises DecodeError, and nothing else.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import EST_NONCE_MEDIA_TYPE

PKCS10_MEDIA_TYPE: Final = "application/pkcs10"
PKCS7_MEDIA_TYPE: Final = "application/pkcs7-mime"
CERTS_ONLY_MEDIA_TYPE: Final = "application/pkcs7-mime; smime-type=certs-only"
CSRATTRS_MEDIA_TYPE: Final = "application/csrattrs"
NONCE_MEDIA_TYPE: Final = EST_NONCE_MEDIA_TYPE
REASON_MEDIA_TYPE: Final = "text/plain; charset=utf-8"

EST_PREFIX: Final = "/.well-known/est"
EST_MAX_BODY_BYTES: Final = 65_536
"""A body on the wire, base64 included, in either direction."""
EST_MAX_CERTIFICATES: Final = 32
"""Certificates in one certs-only message."""
NONCE_MAX_BODY_BYTES: Final = 4_096
NONCE_BYTES: Final = 32
"""What we ask for and give: it fits the qualifying data of every TPM."""
NONCE_MIN_BYTES: Final = 8
NONCE_MAX_BYTES: Final = 64

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_WHITESPACE = b"\r\n \t"
_PKCS7_DATA = ObjectIdentifier("1.2.840.113549.1.7.1")
_PKCS7_SIGNED_DATA = ObjectIdentifier("1.2.840.113549.1.7.2")
# The constant parts of a certs-only message (RFC 5652 §3, §5.1).
_SIGNED_DATA_TYPE: Final = bytes.fromhex("06092a864886f70d010702")
_VERSION_TO_CONTENT: Final = bytes.fromhex("0201013100300b06092a864886f70d010701")
"""version 1, no digest algorithms, no content of type data"""
_NO_SIGNERS: Final = bytes.fromhex("3100")
_SHORT_LENGTH: Final = 0x80


class Operation(StrEnum):
    """The last path segment of an EST request (RFC 7030 §3.2.2; nonce: attestation-freshness §4)."""

    CACERTS = "cacerts"
    SIMPLEENROLL = "simpleenroll"
    SIMPLEREENROLL = "simplereenroll"
    CSRATTRS = "csrattrs"
    NONCE = "nonce"
    SERVERKEYGEN = "serverkeygen"
    FULLCMC = "fullcmc"


_OPERATIONS = frozenset(Operation)

# --- paths -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """What a path asks for. The label is None when the path has none."""

    label: str | None
    operation: Operation


def path_of(target: Target) -> str:
    """Return the absolute path of the target. Raises ValueError when the label cannot be one."""
    if target.label is None:
        return f"{EST_PREFIX}/{target.operation}"
    if not _is_label(target.label):
        raise ValueError(f"{target.label!r} cannot be an EST label")
    return f"{EST_PREFIX}/{target.label}/{target.operation}"


def parse_path(path: str) -> Target:
    """
    Return what `/.well-known/est[/<label>]/<operation>` asks for.

    Raises:
        DecodeError: any other path, finding est.unknown-operation.

    """
    prefix, *segments = path.removeprefix(EST_PREFIX).split("/")
    if path.startswith(EST_PREFIX) and not prefix:
        match segments:
            case [operation] if operation in _OPERATIONS:
                return Target(None, Operation(operation))
            case [label, operation] if operation in _OPERATIONS and _is_label(label):
                return Target(label, Operation(operation))
    raise DecodeError("the path names no EST operation", finding="est.unknown-operation")


def _is_label(text: str) -> bool:
    # RFC 7030 §3.2.2: a label must not be the name of an operation.
    return _LABEL.fullmatch(text) is not None and text not in _OPERATIONS


# --- bodies ----------------------------------------------------------------------------------------------------


def encode_body(payload: bytes) -> bytes:
    """Return base64 in one line without a line break (RFC 8951 §3; strongSwan reads no other form)."""
    return base64.b64encode(payload)


def decode_body(body: bytes) -> bytes:
    """
    Return the payload of a base64 body. CR, LF, space and tab are passed over, nothing else is (RFC 8951 §3.1).

    Raises:
        DecodeError: finding est.too-large or est.base64; also for padding bits that are not zero and for no bytes.

    """
    if len(body) > EST_MAX_BODY_BYTES:
        raise DecodeError(
            f"a body of {len(body)} bytes; at most {EST_MAX_BODY_BYTES} are read", finding="est.too-large"
        )
    text = body.translate(None, _WHITESPACE)
    try:
        payload = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise DecodeError(f"the body is not base64: {error}", finding="est.base64") from error
    if not payload or base64.b64encode(payload) != text:
        raise DecodeError("the body is not the one base64 spelling of some bytes", finding="est.base64")
    return payload


def media_type(content_type: str) -> str:
    """Return the type and subtype of a Content-Type in lower case, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def require_sequence(payload: bytes, structure: str) -> None:
    """Raises DecodeError (est.der) unless the payload is one DER SEQUENCE, from first byte to last."""
    try:
        outer = der.decode(der.TLV, payload, structure)
    except DecodeError as error:
        raise DecodeError(error.message, finding="est.der") from error
    if outer.tag_bytes != b"\x30":
        raise DecodeError(f"{structure} is not a DER SEQUENCE", finding="est.der")


# --- certs-only ------------------------------------------------------------------------------------------------


@der.sequence
class _ContentInfo:
    type: ObjectIdentifier
    content: Annotated[der.TLV, der.Explicit(0)]


@der.sequence
class _NoContent:
    type: ObjectIdentifier


@der.sequence
class _CertsOnly:
    """SignedData (RFC 5652 §5.1) with neither signers nor CRLs; `certificates` in any order, as servers send them."""

    version: int
    digest_algorithms: der.SetOf[der.TLV]
    content: _NoContent
    certificates: Annotated[list[x509.Certificate], der.Implicit(0)]
    signers: der.SetOf[der.TLV]


def certs_only(certificates: Sequence[x509.Certificate]) -> bytes:
    """Return the DER of the certs-only PKCS#7 message (RFC 7030 §4.1.3) with these certificates, at least one."""
    return pkcs7.serialize_certificates(list(certificates), Encoding.DER)


def certs_only_of(certificate: bytes) -> bytes:
    """
    Return what `certs_only` does for one certificate, given as DER.

    Written by hand, because it is made for every certificate that is issued: a frame around bytes that are not read.
    """
    signed_data = _VERSION_TO_CONTENT + _tlv(0xA0, certificate) + _NO_SIGNERS
    return _tlv(0x30, _SIGNED_DATA_TYPE + _tlv(0xA0, _tlv(0x30, signed_data)))


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < _SHORT_LENGTH:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, _SHORT_LENGTH | len(octets))) + octets + content


def read_certs_only(data: bytes) -> tuple[x509.Certificate, ...]:
    """
    Return the certificates of a certs-only message. They stand in a SET: their order means nothing.

    Raises:
        DecodeError: not DER, signers or CRLs inside, no certificate, the same one twice, or more than
            EST_MAX_CERTIFICATES; finding est.certs-only.

    """
    try:
        certificates = _certificates(data)
    except DecodeError as error:
        raise DecodeError(error.message, finding="est.certs-only") from error
    if not 1 <= len(certificates) <= EST_MAX_CERTIFICATES or len(set(certificates)) != len(certificates):
        raise DecodeError(
            f"a certs-only message with {len(certificates)} certificates, {len(set(certificates))} of them different",
            finding="est.certs-only",
        )
    return certificates


def _certificates(data: bytes) -> tuple[x509.Certificate, ...]:
    outer = der.decode(_ContentInfo, data, "ContentInfo")
    if outer.type != _PKCS7_SIGNED_DATA:
        raise DecodeError("the PKCS#7 message is not SignedData")
    inner = der.parse(_CertsOnly, outer.content, "certs-only SignedData")
    if inner.version != 1 or inner.content.type != _PKCS7_DATA or inner.signers.as_list():
        raise DecodeError("the SignedData is not a certs-only message")
    if any(certificate.serial_number <= 0 for certificate in inner.certificates):
        raise DecodeError("a certificate's serial number is not positive (RFC 5280 §4.1.2.2)")
    return tuple(inner.certificates)


# --- nonce call ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NonceRequest:
    """
    What a nonce is wanted for. GET carries none of it, so every field has a default.

    `unit` is our own reqInfo: the unit serial that a registration authority (the rig) asks for.
    """

    length: int = NONCE_BYTES
    statement_type: ObjectIdentifier | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class NonceResponse:
    """A nonce of 8 to 64 bytes, or b"" when the server wants no freshness; `expiry_s` counts from the answer."""

    nonce: bytes = field(repr=False)
    expiry_s: int | None = None


class _RequestInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    unit: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class _RequestType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    type: Annotated[str, msgspec.Meta(max_length=128)]
    req_info: _RequestInfo | None = None


class _RequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    len: Annotated[int, msgspec.Meta(ge=NONCE_MIN_BYTES, le=NONCE_MAX_BYTES)] | None = None
    req_type_info: _RequestType | None = None


class _ResponseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    nonce: str
    expiry: Annotated[int, msgspec.Meta(ge=0)] | None = None
    resp_type_info: Any = None
    """Other servers' own; read over."""


_Body = TypeVar("_Body", _RequestBody, _ResponseBody)


def encode_nonce_request(request: NonceRequest) -> bytes:
    """Return the JSON body of a POST. Raises ValueError for a unit without a statement type to belong to."""
    if request.statement_type is None:
        if request.unit is not None:
            raise ValueError("reqInfo belongs to a statement type")
        return msgspec.json.encode(_RequestBody(len=request.length))
    info = None if request.unit is None else _RequestInfo(request.unit)
    wanted = _RequestType(request.statement_type.dotted_string, info)
    return msgspec.json.encode(_RequestBody(request.length, wanted))


def decode_nonce_request(body: bytes) -> NonceRequest:
    """Return the request in a POST body. Raises DecodeError (est.nonce) also for members that we do not know."""
    plain = _json(body, _RequestBody, "nonce request")
    length = NONCE_BYTES if plain.len is None else plain.len
    if plain.req_type_info is None:
        return NonceRequest(length)
    info = plain.req_type_info.req_info
    return NonceRequest(length, _oid(plain.req_type_info.type), None if info is None else info.unit)


def encode_nonce_response(response: NonceResponse) -> bytes:
    """Return the JSON body of the answer."""
    text = base64.urlsafe_b64encode(response.nonce).rstrip(b"=").decode()
    return msgspec.json.encode(_ResponseBody(text, response.expiry_s))


def decode_nonce_response(body: bytes) -> NonceResponse:
    """Return the nonce in an answer. Raises DecodeError (est.nonce); its text never holds the nonce."""
    plain = _json(body, _ResponseBody, "nonce response")
    if _BASE64URL.fullmatch(plain.nonce) is None:
        raise DecodeError("the nonce is not unpadded base64url", finding="est.nonce")
    padded = plain.nonce + "=" * (-len(plain.nonce) % 4)
    try:
        nonce = base64.b64decode(padded, b"-_", validate=True)
    except binascii.Error as error:
        raise DecodeError("the nonce is not unpadded base64url", finding="est.nonce") from error
    if base64.urlsafe_b64encode(nonce).decode() != padded:
        raise DecodeError("the nonce is not the one base64url spelling of its bytes", finding="est.nonce")
    if nonce and not NONCE_MIN_BYTES <= len(nonce) <= NONCE_MAX_BYTES:
        raise DecodeError(f"a nonce of {len(nonce)} bytes", finding="est.nonce")
    return NonceResponse(nonce, plain.expiry)


def _json(body: bytes, form: type[_Body], structure: str) -> _Body:
    if len(body) > NONCE_MAX_BODY_BYTES:
        limit = f"at most {NONCE_MAX_BODY_BYTES} are read"
        raise DecodeError(f"a {structure} of {len(body)} bytes; {limit}", finding="est.too-large")
    try:
        return msgspec.json.decode(body, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"the {structure} is not what it should be: {error}", finding="est.nonce") from error


def _oid(dotted: str) -> ObjectIdentifier:
    try:
        return ObjectIdentifier(dotted)
    except ValueError as error:
        raise DecodeError("the statement type is not a dotted OID", finding="est.nonce") from error
