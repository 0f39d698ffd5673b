# SPDX-License-Identifier: Apache-2.0
"""
The birth record: what the rig says of one finished unit, signed, and what CA and MES receive.

On the wire it is a JWS (RFC 7515, compact) over the JSON of `BirthRecord`, signed by the rig's key (ES256), with the
SHA-256 of the rig's certificate as `x5t#S256`. The compact JWS is what every store keeps: nothing re-encodes it.
"""

from typing import Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core import jws, strict_json
from birthmark.core.errors import DecodeError

BIRTH_MAX_BYTES = 16_384
_TYP: Final = "birth+jws"
_FOREIGN: Final = frozenset({"jws.signature", "jws.signer"})


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
    run: str = ""
    """The run of the rig's journal: what all units of one panel have in common. Earlier records do not say it."""
    recipe_sha256: str = ""
    """Of the recipe. Earlier records do not say it."""
    transaction: str = ""
    """Of the panel, as the events of the line have it. Earlier records, up to `fixture`, do not say these."""
    mes_hold: bool = False
    """Made while the MES was behind: what is downstream may keep the unit back until it has caught up."""
    chip_firmware: str = ""
    site: str = ""
    line: str = ""
    station: str = ""
    fixture: str = ""

    @property
    def idempotency_key(self) -> str:
        """The key under which every receiver takes the record once: one birth per certificate."""
        return self.certificate_sha256


def certificate_thumbprint(certificate: x509.Certificate) -> str:
    """Return `x5t#S256` (RFC 7515 §4.1.8): base64url of the certificate's SHA-256, without padding."""
    return jws.thumbprint(certificate)


def sign_birth(record: BirthRecord, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> str:
    """Return the compact JWS of `record`, signed by the rig."""
    return jws.sign(msgspec.json.encode(record), _TYP, key, certificate)


def read_birth(token: str) -> BirthRecord:
    """
    Return the record inside a compact JWS, without a look at the signature.

    Raises:
        DecodeError: not a compact JWS of a birth record.

    """
    try:
        return _record(jws.read(token).payload)
    except DecodeError as error:
        raise DecodeError(f"not a birth record: {error.message}") from error


def verify_birth(token: str, certificate: x509.Certificate) -> BirthRecord:
    """
    Return the record if the rig of `certificate` signed it.

    Raises:
        DecodeError: malformed, too large, signed by another key, or naming another certificate.

    """
    if len(token) > BIRTH_MAX_BYTES:
        raise DecodeError(f"a birth record of {len(token)} bytes; at most {BIRTH_MAX_BYTES} are read")
    try:
        return _record(jws.verify(token, _TYP, certificate))
    except DecodeError as error:
        finding = error.finding.replace("jws.", "birth.") if error.finding in _FOREIGN else ""
        raise DecodeError(f"not a birth record of this rig: {error.message}", finding=finding) from error


def _record(payload: bytes) -> BirthRecord:
    try:
        return strict_json.decode(payload, BirthRecord)
    except DecodeError as error:
        raise DecodeError(f"not a birth record: {error}") from error
