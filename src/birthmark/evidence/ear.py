# SPDX-License-Identifier: Apache-2.0
"""
The EAT attestation result (EAR): what a verifier has found about a key, signed, in place of the evidence itself.

A CWT (RFC 8392) as COSE_Sign1 (RFC 9052 §4.2, tag 18), claims as draft-ietf-rats-ear-04 has them:

    265 eat_profile   tag:ietf.org,2026:rats/ear#04
      6 iat           when the evidence was appraised
   1004 ear_verifier_id  {0: developer, 1: build}
    266 submods       {"chip": {1000 ear_status, 1001 ear_trustworthiness_vector, 1003 ear_appraisal_policy_ids,
                      10 eat_nonce, 1005 ear_attester_claims, 1006 ear_verifier_claims}}

What EAT has no claim for stands under keys of the private space below -65536. A reader passes over what it does not
know, as the draft demands: it is signed, and it takes nothing back. There is one signer and one attester; only an
affirming result is ever written, for of anything else no certificate comes.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from birthmark.core import cbor
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.registry import EAR_PROFILE
from birthmark.evidence.errors import EvidenceError, ResultSignatureError
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey, VerifyingKey, key_algorithm, sign_data, verify_data
from birthmark.pki.algorithms import verifying_key as checked_key
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.extensions import key_identifier
from birthmark.pki.paths import read_certificates

EAR_MAX_BYTES = 1024
"""A result is a part of a certificate for a small chip."""

AFFIRMING = 2
"""AR4SI trustworthiness tier: the attester is recognised and nothing stands against it."""

_STRUCTURE = "the attestation result"
_COSE_SIGN1 = b"\xd2"  # CBOR tag 18
_SUBMODULE = "chip"
_ALG, _KID = 1, 4
_IAT, _NONCE, _PROFILE, _SUBMODS = 6, 10, 265, 266
_HWMODEL, _SWVERSION = 259, 271
_STATUS, _VECTOR, _POLICIES, _VERIFIER, _ATTESTER_CLAIMS, _VERIFIER_CLAIMS = 1000, 1001, 1003, 1004, 1005, 1006
_DEVELOPER, _BUILD = 0, 1
_INSTANCE_IDENTITY, _HARDWARE = 0, 4
_KEY_SHA256, _CHIP_SERIAL, _STATEMENT_TYPE = -70_001, -70_002, -70_003
_EVIDENCE_SHA256, _AK_SHA256, _MAKER, _CERTIFICATION = -70_011, -70_012, -70_013, -70_014
_POLICY_PREFIX = "urn:sha256:"
_POLICY = re.compile(f"{_POLICY_PREFIX}[0-9a-f]{{64}}")

# COSE algorithm of each key type (RFC 9053 §2), and the length of one of ECDSA's two integers.
_COSE_ALGORITHMS: Final = MappingProxyType({KeyAlgorithm.P256: -7, KeyAlgorithm.P384: -35, KeyAlgorithm.ED25519: -8})
SIGNING_ALGORITHMS: Final = tuple(_COSE_ALGORITHMS)
"""The types of keys that sign results."""
_INTEGER_BYTES: Final = MappingProxyType({KeyAlgorithm.P256: 32, KeyAlgorithm.P384: 48})

T = TypeVar("T")
_Claims = dict[int | str, cbor.CBORValue]


@dataclass(frozen=True, slots=True)
class VerifierID:
    """Who appraised, and with what software (AR4SI verifier-id)."""

    developer: str
    build: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationResult:
    """What the verifier vouches for. Digests are SHA-256 in hexadecimal."""

    key_sha256: str
    """Of the attested key's SubjectPublicKeyInfo."""
    evidence_sha256: str
    """Of the AttestationBundle, which is kept where an auditor can ask for it."""
    nonce: bytes
    maker: str
    model: str
    chip_serial: str
    firmware: str
    certification: str
    statement_type: str
    ak_sha256: str
    policy_sha256: str
    """Of the appraisal policy (`Endorsements.digest`)."""
    verifier: VerifierID
    issued_at: datetime
    """To the second."""


@dataclass(frozen=True, slots=True)
class ResultSigners:
    """The verifiers whose results are believed, by the identifier of their keys."""

    keys: Mapping[bytes, VerifyingKey]

    @classmethod
    def of(cls, certificates: Iterable[x509.Certificate]) -> "ResultSigners":
        """
        Return the signers whose certificates these are. A certificate is named for its key: its dates say nothing here.

        Raises:
            EvidenceError: `evidence.result.signer`, a key of a type that signs no results.

        """
        keys = [checked_key(certificate.public_key()) for certificate in certificates]
        for key in keys:
            _cose_algorithm(key)
        return cls({key_identifier(key): key for key in keys})


def read_signers(pem: bytes, where: str) -> ResultSigners:
    """Return the signers whose certificates are in a PEM file. Raises ConfigError; `where` names the file."""
    try:
        return ResultSigners.of(read_certificates(pem, where))
    except (AlgorithmRefused, EvidenceError) as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


NO_SIGNERS: Final = ResultSigners(MappingProxyType({}))
"""Believes no attestation result at all."""


def write_ear(result: AttestationResult, signer: SigningKey) -> bytes:
    """
    Return the signed result.

    ECDSA draws random numbers: two calls give two tokens. Who needs the same bytes again keeps them.

    Raises:
        EvidenceError: `evidence.result.signer`, a key of a type that signs no results.

    """
    public = signer.public_key()
    protected = cbor.encode({_ALG: _cose_algorithm(public), _KID: key_identifier(public)})
    payload = cbor.encode(_claims(result))
    signature = _to_cose(sign_data(signer, _to_be_signed(protected, payload)), key_algorithm(public))
    return _COSE_SIGN1 + cbor.encode([protected, {}, payload, signature])


def read_ear(token: bytes, signers: ResultSigners) -> AttestationResult:
    """
    Return a result that one of the signers made.

    Raises:
        DecodeError: `evidence.result.malformed`.
        ResultSignatureError: `evidence.result.signer`, of none of them; `evidence.result.signature`, forged.
        EvidenceError: `evidence.result.status`, it does not affirm.

    """
    try:
        protected, payload, signature = _parts(token)
        key = _signer(protected, signers)
        _check_signature(key, _to_be_signed(protected, payload), signature)
        return _result(cbor.decode(payload, _STRUCTURE))
    except DecodeError as error:
        raise DecodeError(error.message, finding="evidence.result.malformed") from error


def stated_evidence(token: bytes) -> str:
    """
    Return the SHA-256 (hexadecimal) of the evidence that a result says it is about. Nobody's signature is looked at.

    For who has the evidence and asks whether this is the answer to it; whether it is true is asked of `read_ear`.

    Raises:
        DecodeError, EvidenceError: as `read_ear`.

    """
    try:
        return _result(cbor.decode(_parts(token)[1], _STRUCTURE)).evidence_sha256
    except DecodeError as error:
        raise DecodeError(error.message, finding="evidence.result.malformed") from error


def _cose_algorithm(key: VerifyingKey) -> int:
    algorithm = key_algorithm(key)
    if algorithm not in _COSE_ALGORITHMS:
        names = ", ".join(each.value for each in _COSE_ALGORITHMS)
        raise EvidenceError(
            f"a key of type {algorithm.value} signs no attestation results",
            hint=f"use one of {names}",
            finding="evidence.result.signer",
        )
    return _COSE_ALGORITHMS[algorithm]


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    # Sig_structure of RFC 9052 §4.4, without external data.
    return cbor.encode(["Signature1", protected, b"", payload])


def _to_cose(signature: bytes, algorithm: KeyAlgorithm) -> bytes:
    """RFC 9053 §2.1: r and s, each as long as the curve, in place of the DER."""
    if algorithm not in _INTEGER_BYTES:
        return signature
    size = _INTEGER_BYTES[algorithm]
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(signature))


def _from_cose(signature: bytes, algorithm: KeyAlgorithm) -> bytes:
    """Return ECDSA's two integers in DER. Raises ValueError unless both are there in their whole length."""
    if algorithm not in _INTEGER_BYTES:
        return signature
    size = _INTEGER_BYTES[algorithm]
    if len(signature) != 2 * size:
        raise ValueError(f"{len(signature)} bytes of signature instead of {2 * size}")
    return encode_dss_signature(int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big"))


def _check_signature(key: VerifyingKey, data: bytes, signature: bytes) -> None:
    try:
        verify_data(key, _from_cose(signature, key_algorithm(key)), data)
    except (InvalidSignature, ValueError) as error:
        raise ResultSignatureError("the attestation result is not signed by the key that it names") from error


def _parts(token: bytes) -> tuple[bytes, bytes, bytes]:
    if len(token) > EAR_MAX_BYTES:
        raise DecodeError(f"{_STRUCTURE} of {len(token)} bytes; at most {EAR_MAX_BYTES} are read")
    if not token.startswith(_COSE_SIGN1):
        raise DecodeError(f"{_STRUCTURE} is not a COSE_Sign1 with its tag")
    match cbor.decode(token[len(_COSE_SIGN1) :], _STRUCTURE):
        # What stands unprotected could be changed unseen, so nothing may.
        case [bytes(protected), dict(unprotected), bytes(payload), bytes(signature)] if not unprotected:
            return protected, payload, signature
    raise DecodeError(f"{_STRUCTURE} is not a COSE_Sign1 with protected headers alone")


def _signer(protected: bytes, signers: ResultSigners) -> VerifyingKey:
    match cbor.decode(protected, _STRUCTURE):
        case {1: int(algorithm), 4: bytes(kid), **rest} if not rest:
            key = signers.keys.get(kid)
            if key is None:
                raise ResultSignatureError(
                    f"the attestation result is signed by {kid.hex()}, which is not believed here",
                    finding="evidence.result.signer",
                )
            if algorithm == _cose_algorithm(key):
                return key
            raise ResultSignatureError("the attestation result names another algorithm than its signer's")
    raise DecodeError(f"{_STRUCTURE} has other headers than algorithm and key identifier")


def _claims(result: AttestationResult) -> cbor.CBORValue:
    appraisal: _Claims = {
        _STATUS: AFFIRMING,
        _VECTOR: {_INSTANCE_IDENTITY: AFFIRMING, _HARDWARE: AFFIRMING},
        _POLICIES: [_POLICY_PREFIX + result.policy_sha256],
        _NONCE: result.nonce,
        _ATTESTER_CLAIMS: {
            _HWMODEL: result.model.encode(),
            _SWVERSION: [result.firmware],
            _KEY_SHA256: bytes.fromhex(result.key_sha256),
            _CHIP_SERIAL: result.chip_serial,
            _STATEMENT_TYPE: result.statement_type,
        },
        _VERIFIER_CLAIMS: {
            _EVIDENCE_SHA256: bytes.fromhex(result.evidence_sha256),
            _AK_SHA256: bytes.fromhex(result.ak_sha256),
            _MAKER: result.maker,
            _CERTIFICATION: result.certification,
        },
    }
    return {
        _PROFILE: EAR_PROFILE,
        _IAT: int(result.issued_at.timestamp()),
        _VERIFIER: {_DEVELOPER: result.verifier.developer, _BUILD: result.verifier.build},
        _SUBMODS: {_SUBMODULE: appraisal},
    }


def _result(value: cbor.CBORValue) -> AttestationResult:
    claims = _map(value)
    if _claim(claims, _PROFILE, str) != EAR_PROFILE:
        raise DecodeError(f"{_STRUCTURE} is of another profile than {EAR_PROFILE}")
    submodules = _map(claims.get(_SUBMODS))
    if list(submodules) != [_SUBMODULE]:
        raise DecodeError(f"{_STRUCTURE} is not about one chip")
    appraisal = _map(submodules[_SUBMODULE])
    _require_affirming(appraisal)
    attester, verifier = _map(appraisal.get(_ATTESTER_CLAIMS)), _map(appraisal.get(_VERIFIER_CLAIMS))
    who = _map(claims.get(_VERIFIER))
    return AttestationResult(
        key_sha256=_digest(attester, _KEY_SHA256),
        evidence_sha256=_digest(verifier, _EVIDENCE_SHA256),
        nonce=_claim(appraisal, _NONCE, bytes),
        maker=_claim(verifier, _MAKER, str),
        model=_text(_claim(attester, _HWMODEL, bytes)),
        chip_serial=_claim(attester, _CHIP_SERIAL, str),
        firmware=_only_text(attester.get(_SWVERSION)),
        certification=_claim(verifier, _CERTIFICATION, str),
        statement_type=_claim(attester, _STATEMENT_TYPE, str),
        ak_sha256=_digest(verifier, _AK_SHA256),
        policy_sha256=_policy(appraisal.get(_POLICIES)),
        verifier=VerifierID(_claim(who, _DEVELOPER, str), _claim(who, _BUILD, str)),
        issued_at=_moment(_claim(claims, _IAT, int)),
    )


def _require_affirming(appraisal: _Claims) -> None:
    vector = _map(appraisal.get(_VECTOR))
    tiers = [_claim(appraisal, _STATUS, int), *(_claim(vector, part, int) for part in vector)]
    if any(tier != AFFIRMING for tier in tiers) or not {_INSTANCE_IDENTITY, _HARDWARE} <= vector.keys():
        raise EvidenceError("the attestation result does not affirm the chip", finding="evidence.result.status")


def _map(value: cbor.CBORValue) -> _Claims:
    if not isinstance(value, dict):
        raise DecodeError(f"{_STRUCTURE} lacks a map of claims")
    return value


def _claim(claims: _Claims, key: int | str, kind: type[T]) -> T:
    value = claims.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DecodeError(f"{_STRUCTURE}: claim {key} is not there, or of another type")
    return value


def _digest(claims: _Claims, key: int) -> str:
    value = _claim(claims, key, bytes)
    if len(value) != hashlib.sha256().digest_size:
        raise DecodeError(f"{_STRUCTURE}: claim {key} is no SHA-256")
    return value.hex()


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{_STRUCTURE}: the model is not text") from error


def _only_text(value: cbor.CBORValue) -> str:
    match value:
        case [str(text)]:
            return text
    raise DecodeError(f"{_STRUCTURE}: not one text where one is wanted")


def _policy(value: cbor.CBORValue) -> str:
    text = _only_text(value)
    if _POLICY.fullmatch(text) is None:
        raise DecodeError(f"{_STRUCTURE}: the policy is not named by its SHA-256")
    return text.removeprefix(_POLICY_PREFIX)


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise DecodeError(f"{_STRUCTURE}: {seconds} is no time") from error
