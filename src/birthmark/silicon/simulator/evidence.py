# SPDX-License-Identifier: Apache-2.0
"""
The chip's encoder of PKIX Evidence (draft-ietf-rats-pkix-key-attestation-07, EXPLICIT TAGS).

    Evidence    ::= SEQUENCE { tbs TbsEvidence, signatures SEQUENCE OF SignatureBlock }
    TbsEvidence ::= SEQUENCE { version INTEGER (1), reportedElements SEQUENCE OF SEQUENCE { type OID, claims } }
    Signature   ::= SEQUENCE { sid { keyId [0] OCTET STRING }, algorithm, OCTET STRING }, over the DER of tbs

It states what is so, also when that is bad news: a verifier decides, not the chip.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses

from birthmark.core import der, registry

ECDSA_WITH_SHA256 = OID("1.2.840.10045.4.3.2")
DEBUGSTAT_ENABLED = 0
_VERSION = 1
_ALWAYS = True  # this chip can neither show a private key nor take one in


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What the chip knows about one of its keys."""

    slot: str
    spki: bytes
    extractable: bool
    decrypts: bool


@dataclass(frozen=True, slots=True)
class PlatformFacts:
    """What the chip knows about itself."""

    model: str
    serial: str
    firmware: str
    debug_enabled: bool


@der.sequence
class _Claim:
    type: OID
    value: der.TLV


@der.sequence
class _Element:
    type: OID
    claims: list[_Claim]


@der.sequence
class _Tbs:
    version: int
    elements: list[_Element]


@der.sequence
class _Signer:
    key_id: Annotated[bytes, der.Explicit(0)]


@der.sequence
class _Algorithm:
    oid: OID


@der.sequence
class _Signature:
    signer: _Signer
    algorithm: _Algorithm
    value: bytes


@der.sequence
class _Purposes:
    first: OID
    second: OID | None


@der.sequence
class _Evidence:
    tbs: der.TLV
    signatures: list[_Signature]


def encode_evidence(ak: ec.EllipticCurvePrivateKey, platform: PlatformFacts, key: KeyFacts, nonce: bytes) -> bytes:
    """Return the DER of the evidence about the key, fresh for the nonce, signed by the attestation key."""
    tbs = der.encode(_Tbs(version=_VERSION, elements=[_transaction(nonce), _platform(platform), _key(key)]))
    ak_spki = ak.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = _Signature(
        signer=_Signer(key_id=hashlib.sha256(ak_spki).digest()),
        algorithm=_Algorithm(oid=ECDSA_WITH_SHA256),
        value=ak.sign(tbs, ec.ECDSA(SHA256())),
    )
    return der.encode(_Evidence(tbs=_any(tbs), signatures=[signature]))


def _transaction(nonce: bytes) -> _Element:
    return _Element(type=registry.ELEMENT_TRANSACTION, claims=[_claim(registry.CLAIM_NONCE, nonce)])


def _platform(facts: PlatformFacts) -> _Element:
    debug = DEBUGSTAT_ENABLED if facts.debug_enabled else registry.DEBUGSTAT_DISABLED
    claims = [
        _claim(registry.CLAIM_HWMODEL, facts.model.encode()),
        _claim(registry.CLAIM_HWSERIAL, facts.serial),
        _claim(registry.CLAIM_SWVERSION, facts.firmware),
        _claim(registry.CLAIM_DEBUGSTAT, debug),
    ]
    return _Element(type=registry.ELEMENT_PLATFORM, claims=claims)


def _key(facts: KeyFacts) -> _Element:
    purposes = _Purposes(first=registry.CAPABILITY_SIGN, second=registry.CAPABILITY_DECRYPT if facts.decrypts else None)
    claims = [
        _claim(registry.CLAIM_KEY_IDENTIFIER, facts.slot),
        _claim(registry.CLAIM_KEY_SPKI, facts.spki),
        _claim(registry.CLAIM_KEY_EXTRACTABLE, facts.extractable),
        _claim(registry.CLAIM_KEY_SENSITIVE, _ALWAYS),
        _claim(registry.CLAIM_KEY_NEVER_EXTRACTABLE, not facts.extractable),
        _claim(registry.CLAIM_KEY_LOCAL, _ALWAYS),
        _claim(registry.CLAIM_KEY_PURPOSE, purposes),
    ]
    return _Element(type=registry.ELEMENT_KEY, claims=claims)


def _claim(kind: OID, value: object) -> _Claim:
    return _Claim(type=kind, value=_any(der.encode(value)))


def _any(encoded: bytes) -> der.TLV:
    return der.decode(der.TLV, encoded, "a value")
