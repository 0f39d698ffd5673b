# SPDX-License-Identifier: Apache-2.0
"""
One text under several signatures: JWS in its general JSON serialization (RFC 7515 §7.2.1).

Algorithms by their fully specified names: ES256 and ES384 (RFC 7518), Ed25519 (RFC 9864), ML-DSA (RFC 9964).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from birthmark.core import strict_json
from birthmark.core.birth import certificate_thumbprint
from birthmark.core.errors import DecodeError
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm, sign_data, verify_data, verifying_key
from birthmark.pki.authorities import Authority
from birthmark.pki.errors import AlgorithmRefused

JWS_MAX_BYTES: Final = 4 << 20
SIGNATURES_MAX: Final = 16

_NAMES: Final[Mapping[KeyAlgorithm, str]] = MappingProxyType(
    {
        KeyAlgorithm.P256: "ES256",
        KeyAlgorithm.P384: "ES384",
        KeyAlgorithm.ED25519: "Ed25519",
        KeyAlgorithm.MLDSA44: "ML-DSA-44",
        KeyAlgorithm.MLDSA65: "ML-DSA-65",
        KeyAlgorithm.MLDSA87: "ML-DSA-87",
    }
)
_HALF_BYTES: Final[Mapping[KeyAlgorithm, int]] = MappingProxyType({KeyAlgorithm.P256: 32, KeyAlgorithm.P384: 48})


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    alg: str
    typ: str
    thumbprint: str = msgspec.field(name="x5t#S256")


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    protected: str
    signature: str


class _JWS(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    payload: str
    signatures: tuple[_Signature, ...]


def sign(payload: bytes, kind: str, signers: Sequence[Authority]) -> bytes:
    """Return the JWS of the payload with one signature for each signer. `kind` becomes its `typ`."""
    encoded = _encode(payload)
    signatures = tuple(_signature(encoded, kind, signer) for signer in signers)
    return msgspec.json.format(msgspec.json.encode(_JWS(payload=encoded, signatures=signatures)), indent=1) + b"\n"


def payload_of(text: bytes) -> bytes:
    """Return the payload, without a look at the signatures. Raises DecodeError."""
    return _decode(_parsed(text).payload)


def verify(text: bytes, kind: str, known: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """
    Return whose signatures are on the JWS: each of them holds, and each is by one of the known certificates.

    Raises:
        DecodeError: malformed, no signature, a signature that does not hold or that is nobody's whom we know.

    """
    jws = _parsed(text)
    by_thumbprint = {certificate_thumbprint(certificate): certificate for certificate in known}
    return tuple(_verified(jws.payload, signature, kind, by_thumbprint) for signature in jws.signatures)


def _parsed(text: bytes) -> _JWS:
    if len(text) > JWS_MAX_BYTES:
        raise DecodeError(f"a JWS of {len(text)} bytes; at most {JWS_MAX_BYTES} are read")
    try:
        jws = strict_json.decode(text, _JWS)
    except DecodeError as error:
        raise DecodeError(f"not a JWS: {error}") from error
    if not 1 <= len(jws.signatures) <= SIGNATURES_MAX:
        raise DecodeError(f"a JWS with {len(jws.signatures)} signatures")
    return jws


def _signature(payload: str, kind: str, signer: Authority) -> _Signature:
    algorithm = key_algorithm(signer.certificate.public_key())
    header = _Header(alg=_NAMES[algorithm], typ=kind, thumbprint=certificate_thumbprint(signer.certificate))
    protected = _encode(msgspec.json.encode(header))
    signature = _to_jose(algorithm, sign_data(signer.key, f"{protected}.{payload}".encode()))
    return _Signature(protected=protected, signature=_encode(signature))


def _verified(payload: str, found: _Signature, kind: str, known: Mapping[str, x509.Certificate]) -> x509.Certificate:
    try:
        header = strict_json.decode(_decode(found.protected), _Header)
    except DecodeError as error:
        raise DecodeError(f"a JWS header that cannot be read: {error}") from error
    certificate = known.get(header.thumbprint)
    if certificate is None:
        raise DecodeError("a signature by a certificate that is not here")
    try:
        key = verifying_key(certificate.public_key())
        algorithm = key_algorithm(key)
        if (header.alg, header.typ) != (_NAMES[algorithm], kind):
            raise DecodeError(f"a signature of alg {header.alg!r} and typ {header.typ!r}")
        verify_data(key, _from_jose(algorithm, _decode(found.signature)), f"{found.protected}.{payload}".encode())
    except (InvalidSignature, AlgorithmRefused) as error:
        raise DecodeError(f"the signature of {certificate.subject.rfc4514_string()!r} does not hold") from error
    return certificate


def _to_jose(algorithm: KeyAlgorithm, signature: bytes) -> bytes:
    """ECDSA: r and s side by side (RFC 7518 §3.4). The others are as they are."""
    if algorithm not in _HALF_BYTES:
        return signature
    return b"".join(part.to_bytes(_HALF_BYTES[algorithm], "big") for part in decode_dss_signature(signature))


def _from_jose(algorithm: KeyAlgorithm, signature: bytes) -> bytes:
    if algorithm not in _HALF_BYTES:
        return signature
    half = _HALF_BYTES[algorithm]
    if len(signature) != 2 * half:
        raise DecodeError(f"an ECDSA signature of {len(signature)} bytes; {2 * half} are wanted")
    return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """Return the bytes of base64url without padding; the one text that stands for them, no other."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"not base64url: {error}") from error
    if _encode(data) != text:
        raise DecodeError("not canonical base64url")
    return data
