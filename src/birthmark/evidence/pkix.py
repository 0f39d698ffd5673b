# SPDX-License-Identifier: Apache-2.0
"""
PKIX Evidence of APDU chips (draft-ietf-rats-pkix-key-attestation-07).

Our profile of it: one signature, made by the AK and addressed by keyId = SHA-256 of the AK's SubjectPublicKeyInfo;
no certificates inside (they stand in the bundle, once); exactly one transaction, one platform and one key element,
each with every claim that the appraisal needs. A claim or element that we do not know is passed over: it is signed,
and it cannot take back one that we demand. A claim given twice is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, TypeAlias, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ObjectIdentifier

from birthmark.core import der, registry
from birthmark.core.errors import DecodeError
from birthmark.evidence.attestation_key import AttestationKey
from birthmark.evidence.claims import NONCE_BYTES, KeyClaims
from birthmark.evidence.errors import StatementSignatureError
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm

EVIDENCE_VERSION = 1
DEBUG_CLOSED = (registry.DEBUGSTAT_DISABLED, registry.DEBUGSTAT_DISABLED + 1)
"""dbgstat disabled-permanently and disabled-fully-and-permanently (RFC 9711 §4.2.9)."""

_STRUCTURE = "PKIX Evidence"
_SEQUENCE = 0x30
# The hash of each signature algorithm, and the algorithm of the key that makes it; ECDSA goes with either curve.
_SIGNATURES: Final[Mapping[ObjectIdentifier, tuple[hashes.HashAlgorithm | None, KeyAlgorithm | None]]] = (
    MappingProxyType(
        {
            KeyAlgorithm.P256.signature_oid: (hashes.SHA256(), None),
            KeyAlgorithm.P384.signature_oid: (hashes.SHA384(), None),
            **{a.signature_oid: (None, a) for a in KeyAlgorithm if a not in {KeyAlgorithm.P256, KeyAlgorithm.P384}},
        }
    )
)

T = TypeVar("T")
Value: TypeAlias = bytes | str | int | bool | der.TLV
"""A claim's value: OCTET STRING, UTF8String, INTEGER or BOOLEAN, read as such; all else as it stands."""
Claims = dict[ObjectIdentifier, Value]


@der.sequence
class _Algorithm:
    algorithm: ObjectIdentifier  # none has parameters (RFC 5758 §3.2, RFC 8410 §3, RFC 9881 §2), so none are admitted


@der.sequence
class _SignerIdentifier:
    key_id: Annotated[bytes, der.Explicit(0)]


@der.sequence
class _SignatureBlock:
    sid: _SignerIdentifier
    algorithm: _Algorithm
    value: bytes


@der.sequence
class _Evidence:
    tbs: der.TLV
    signatures: list[_SignatureBlock]


@der.sequence
class _Claim:
    type: ObjectIdentifier
    value: Value | None


@der.sequence
class _Element:
    type: ObjectIdentifier
    claims: list[_Claim]


@der.sequence
class _TbsEvidence:
    version: int
    elements: list[_Element]


@der.sequence
class _Purposes:
    capabilities: list[ObjectIdentifier]


@dataclass(frozen=True, slots=True)
class PKIXEvidence:
    """The parts of one statement, read and not yet verified."""

    signed: bytes
    """The exact bytes under the signature."""
    key_id: bytes
    algorithm: ObjectIdentifier
    signature: bytes
    nonce: bytes
    hw_model: str
    hw_serial: str
    firmware: str
    debugstat: int
    key_identifier: str
    spki: bytes
    extractable: bool
    sensitive: bool
    never_extractable: bool
    local: bool
    purpose: tuple[ObjectIdentifier, ...]


def verify(statement: bytes, ak: AttestationKey) -> KeyClaims:
    """
    Return what the AK claims in this statement.

    Raises:
        DecodeError: malformed.
        StatementSignatureError: not signed by this AK.

    """
    evidence = read(statement)
    if evidence.key_id.hex() != ak.fingerprint:
        raise StatementSignatureError("the statement names another attestation key as its signer")
    hash_algorithm, maker = _SIGNATURES[evidence.algorithm]
    if maker not in {None, key_algorithm(ak.public_key)}:
        raise StatementSignatureError("the statement's signature is of another kind than its attestation key")
    ak.check_signature(evidence.signature, evidence.signed, hash_algorithm)
    return KeyClaims(
        spki=evidence.spki,
        nonce=evidence.nonce,
        firmware=evidence.firmware,
        made_in_chip=evidence.local,
        extractable=evidence.extractable or not evidence.never_extractable or not evidence.sensitive,
        sign_only=evidence.purpose == (registry.CAPABILITY_SIGN,),
        hw_model=evidence.hw_model,
        hw_serial=evidence.hw_serial,
        debug_disabled=evidence.debugstat in DEBUG_CLOSED,
    )


def read(statement: bytes) -> PKIXEvidence:
    """Read a statement, all of it. Raises DecodeError and nothing else."""
    evidence = der.decode(_Evidence, statement, _STRUCTURE)
    if len(evidence.signatures) != 1:
        raise DecodeError(f"{_STRUCTURE} with {len(evidence.signatures)} signatures; exactly one is read")
    signature = evidence.signatures[0]
    algorithm = signature.algorithm.algorithm
    if algorithm not in _SIGNATURES:
        raise DecodeError(f"{_STRUCTURE} signed with {algorithm.dotted_string}, which is not an accepted algorithm")
    tbs = der.parse(_TbsEvidence, evidence.tbs, _STRUCTURE)
    if tbs.version != EVIDENCE_VERSION:
        raise DecodeError(f"{_STRUCTURE} of version {tbs.version}; {EVIDENCE_VERSION} is read")
    transaction = _element(tbs, registry.ELEMENT_TRANSACTION)
    platform = _element(tbs, registry.ELEMENT_PLATFORM)
    key = _element(tbs, registry.ELEMENT_KEY)
    return PKIXEvidence(
        signed=der.encode(evidence.tbs),
        key_id=signature.sid.key_id,
        algorithm=algorithm,
        signature=signature.value,
        nonce=_nonce(transaction),
        hw_model=_ascii(_claim(platform, registry.CLAIM_HWMODEL, bytes)),
        hw_serial=_claim(platform, registry.CLAIM_HWSERIAL, str),
        firmware=_claim(platform, registry.CLAIM_SWVERSION, str),
        debugstat=_claim(platform, registry.CLAIM_DEBUGSTAT, int),
        key_identifier=_claim(key, registry.CLAIM_KEY_IDENTIFIER, str),
        spki=_claim(key, registry.CLAIM_KEY_SPKI, bytes),
        extractable=_claim(key, registry.CLAIM_KEY_EXTRACTABLE, bool),
        sensitive=_claim(key, registry.CLAIM_KEY_SENSITIVE, bool),
        never_extractable=_claim(key, registry.CLAIM_KEY_NEVER_EXTRACTABLE, bool),
        local=_claim(key, registry.CLAIM_KEY_LOCAL, bool),
        purpose=_purpose(key),
    )


def _element(tbs: _TbsEvidence, element_type: ObjectIdentifier) -> Claims:
    found = [element for element in tbs.elements if element.type == element_type]
    if len(found) != 1:
        raise DecodeError(f"{_STRUCTURE}: {len(found)} elements of type {element_type.dotted_string}; one is wanted")
    claims: Claims = {}
    for claim in found[0].claims:
        # A claim without a value is one that the chip knows and does not tell: no element that we read may have that.
        if claim.value is None:
            raise DecodeError(f"{_STRUCTURE}: claim {claim.type.dotted_string} has no value")
        if claim.type in claims:
            raise DecodeError(f"{_STRUCTURE}: claim {claim.type.dotted_string} stands twice in its element")
        claims[claim.type] = claim.value
    return claims


def _claim(claims: Claims, claim_type: ObjectIdentifier, cls: type[T]) -> T:
    value = claims.get(claim_type)
    if type(value) is cls:  # exactly: a BOOLEAN is no INTEGER
        return value
    if value is None:
        raise DecodeError(f"{_STRUCTURE} says nothing about claim {claim_type.dotted_string}")
    raise DecodeError(f"{_STRUCTURE}: claim {claim_type.dotted_string} has a value of another type")


def _nonce(transaction: Claims) -> bytes:
    nonce = _claim(transaction, registry.CLAIM_NONCE, bytes)
    if len(nonce) != NONCE_BYTES:
        raise DecodeError(f"{_STRUCTURE}: a nonce of {len(nonce)} bytes; {NONCE_BYTES} are wanted")
    return nonce


def _ascii(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise DecodeError(f"{_STRUCTURE}: the hardware model is not ASCII text") from error


def _purpose(key: Claims) -> tuple[ObjectIdentifier, ...]:
    value = _claim(key, registry.CLAIM_KEY_PURPOSE, der.TLV)
    # The DER library parses a SEQUENCE OF only as a field, so the value gets a SEQUENCE of one field around it.
    around = der.wrap(_SEQUENCE, der.encode(value))
    return tuple(der.decode(_Purposes, around, "claim purpose").capabilities)
