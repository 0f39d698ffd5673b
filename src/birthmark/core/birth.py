# SPDX-License-Identifier: Apache-2.0
"""
The birth record: what the rig says of one finished unit, signed, and what CA and MES receive.

On the wire it is a JWS (RFC 7515, compact) over the JSON of `BirthRecord`, signed by the rig's key (ES256), with the
SHA-256 of the rig's certificate as `x5t#S256`. The compact JWS is what every store keeps: nothing re-encodes it.
"""

import base64
from typing import Literal

import jwt
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core.errors import DecodeError

BIRTH_MAX_BYTES = 16_384
_ALGORITHM = "ES256"
_JWS = jwt.PyJWS(algorithms=[_ALGORITHM])
_UNVERIFIED_JWS = jwt.PyJWS(options={"verify_signature": False})


class BirthRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One finished unit. Times are RFC 3339 in UTC; fingerprints are SHA-256 in hexadecimal; durations in ms."""

    record: Literal["birthmark.birth.v1"] = "birthmark.birth.v1"
    unit_serial: str
    chip_model: str
    chip_serial: str
    product: str
    order: str
    rig: str
    operator: str
    position: int
    certificate_serial: str
    certificate_sha256: str
    key_sha256: str
    evidence_sha256: str
    software: str
    started: str
    finished: str
    outcome: Literal["PASS", "RESUMED"]
    step_ms: dict[str, float]

    @property
    def idempotency_key(self) -> str:
        """The key under which every receiver takes the record once: one birth per certificate."""
        return self.certificate_sha256


def certificate_thumbprint(certificate: x509.Certificate) -> str:
    """Return `x5t#S256` (RFC 7515 §4.1.8): base64url of the certificate's SHA-256, without padding."""
    return base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).rstrip(b"=").decode()


def sign_birth(record: BirthRecord, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> str:
    """Return the compact JWS of `record`, signed by the rig."""
    header = {"typ": "birth+jws", "x5t#S256": certificate_thumbprint(certificate)}
    return _JWS.encode(msgspec.json.encode(record), key, _ALGORITHM, headers=header)


def read_birth(token: str) -> BirthRecord:
    """
    Return the record inside a compact JWS, without a look at the signature.

    Raises:
        DecodeError: not a compact JWS of a birth record.

    """
    try:
        whole = _UNVERIFIED_JWS.decode_complete(token)
    except (jwt.InvalidTokenError, ValueError) as error:
        raise DecodeError(f"not a birth record: {error}") from error
    return _record(whole["payload"])


def verify_birth(token: str, certificate: x509.Certificate) -> BirthRecord:
    """
    Return the record if the rig of `certificate` signed it.

    Raises:
        DecodeError: malformed, too large, signed by another key, or naming another certificate.

    """
    if len(token) > BIRTH_MAX_BYTES:
        raise DecodeError(f"a birth record of {len(token)} bytes; at most {BIRTH_MAX_BYTES} are read")
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise DecodeError("the rig's certificate has no elliptic-curve key", finding="birth.signer")
    try:
        whole = _JWS.decode_complete(token, key, algorithms=[_ALGORITHM])
    except (jwt.InvalidTokenError, ValueError) as error:
        raise DecodeError(f"the birth record is not signed by this rig: {error}", finding="birth.signature") from error
    if whole["header"].get("x5t#S256") != certificate_thumbprint(certificate):
        raise DecodeError("the birth record names another rig certificate", finding="birth.signer")
    return _record(whole["payload"])


def _record(payload: bytes) -> BirthRecord:
    try:
        return msgspec.json.decode(payload, type=BirthRecord)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DecodeError(f"not a birth record: {error}") from error
