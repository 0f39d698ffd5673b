# SPDX-License-Identifier: Apache-2.0
"""
Signed documents: JWS in its compact form (RFC 7515 §7.1), ES256, signed by the key of one certificate.

The protected header has exactly three members, in this order: `alg`, ES256 (RFC 7518 §3.4); `typ`, what kind of
document it is, so that none passes for another; `x5t#S256`, the SHA-256 of the signer's certificate. No other text
stands for the same document and signature: a digest of the token names it.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from birthmark.core.errors import DecodeError

ALGORITHM: Final = "ES256"
JWS_MAX_CHARACTERS: Final = 65_536
_PARTS: Final = 3
_HALF_BYTES: Final = 32
_SCHEME: Final = ec.ECDSA(hashes.SHA256())


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The protected header."""

    alg: str
    typ: str
    thumbprint: str = msgspec.field(name="x5t#S256")


@dataclass(frozen=True, slots=True)
class JWS:
    """A token taken apart. Nothing is verified."""

    header: Header
    payload: bytes
    signed: bytes
    signature: bytes


def thumbprint(certificate: x509.Certificate) -> str:
    """Return `x5t#S256` (RFC 7515 §4.1.8): base64url of the certificate's SHA-256, without padding."""
    return _encode(certificate.fingerprint(hashes.SHA256()))


def signer_sha256(token: JWS) -> str:
    """Return the SHA-256 of the signer's certificate that a token names, in hexadecimal. Raises DecodeError."""
    return _decode(token.header.thumbprint).hex()


def sign(payload: bytes, typ: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> str:
    """Return the token of the payload. The key is on P-256, and the certificate's."""
    header = msgspec.json.encode(Header(alg=ALGORITHM, typ=typ, thumbprint=thumbprint(certificate)))
    signed = f"{_encode(header)}.{_encode(payload)}"
    r, s = decode_dss_signature(key.sign(signed.encode("ascii"), _SCHEME))
    return f"{signed}.{_encode(r.to_bytes(_HALF_BYTES, 'big') + s.to_bytes(_HALF_BYTES, 'big'))}"


def read(token: str) -> JWS:
    """Take a token apart, without a look at the signature. Raises DecodeError (jws.malformed)."""
    if len(token) > JWS_MAX_CHARACTERS:
        raise _malformed(f"a JWS of {len(token)} characters; at most {JWS_MAX_CHARACTERS} are read")
    parts = token.split(".")
    if len(parts) != _PARTS:
        raise _malformed(f"a compact JWS has {_PARTS} parts, not {len(parts)}")
    header, payload, signature = map(_decode, parts)
    if len(signature) != 2 * _HALF_BYTES:
        raise _malformed(f"an {ALGORITHM} signature of {len(signature)} bytes")
    return JWS(_header(header), payload, token.rpartition(".")[0].encode("ascii"), signature)


def verify(token: str, typ: str, certificate: x509.Certificate) -> bytes:
    """
    Return the payload of a document of this kind that the key of `certificate` signed.

    Raises:
        DecodeError: jws.malformed; jws.signature, signed by another key; jws.signer, naming another certificate.

    """
    found = read(token)
    if (found.header.typ, found.header.alg) != (typ, ALGORITHM):
        raise _malformed(f"a JWS of typ {found.header.typ[:64]!r} and alg {found.header.alg[:64]!r}")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DecodeError("the signer's certificate has no key on P-256", finding="jws.signer")
    r, s = (int.from_bytes(half, "big") for half in (found.signature[:_HALF_BYTES], found.signature[_HALF_BYTES:]))
    try:
        key.verify(encode_dss_signature(r, s), found.signed, _SCHEME)
    except InvalidSignature as error:
        raise DecodeError("the document is not signed by this key", finding="jws.signature") from error
    if found.header.thumbprint != thumbprint(certificate):
        raise DecodeError("the document names another certificate as its signer", finding="jws.signer")
    return found.payload


def _header(data: bytes) -> Header:
    try:
        header = msgspec.json.decode(data, type=Header)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _malformed(f"the header of a JWS cannot be read: {error}") from error
    if msgspec.json.encode(header) != data:
        raise _malformed("the header of a JWS is not in its one form")
    return header


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """Return the bytes of base64url without padding; the one text that stands for them, no other."""
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("a part of a JWS is not base64url") from error
    if _encode(data) != text:
        raise _malformed("a part of a JWS is not canonical base64url")
    return data


def _malformed(message: str) -> DecodeError:
    return DecodeError(message, finding="jws.malformed")
