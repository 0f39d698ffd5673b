# SPDX-License-Identifier: Apache-2.0
"""
TcgAttestCertify (2.23.133.20.1): TPM2_Certify of the device's key by a TPM's attestation key.

The statement is SEQUENCE { tpmSAttest, signature, tpmTPublic }, three OCTET STRINGs. Texts disagree on what is inside,
so TPMS_ATTEST and TPMT_PUBLIC may stand bare or behind their TPM2B size, and the signature may be a TPMT_SIGNATURE or
a DER ECDSA signature; the AK's signature is always checked over the bare TPMS_ATTEST. Structures: TPM 2.0 Library,
Part 2, §§10.12, 11.3 and 12.2. That the AK is restricted, and so signs no TPMS_ATTEST that it did not make itself, is
what its certificate's maker vouches for.
"""

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.reader import ByteReader
from birthmark.evidence.attestation_key import AttestationKey, canonical_spki
from birthmark.evidence.claims import KeyClaims
from birthmark.evidence.errors import EvidenceError
from birthmark.pki.algorithms import signature_hash

TPM_GENERATED_VALUE = 0xFF544347
TPM_ST_ATTEST_CERTIFY = 0x8017
EXTRA_DATA_MAX_BYTES = 64
"""The largest qualifying data that TPM2_Certify takes: TPM2B_DATA, as large as the TPM's largest digest."""
TPM_ALG_NULL = 0x0010
TPM_ALG_ECDSA = 0x0018
TPM_ALG_ECC = 0x0023

FIXED_TPM = 1 << 1
FIXED_PARENT = 1 << 4
SENSITIVE_DATA_ORIGIN = 1 << 5
RESTRICTED = 1 << 16
DECRYPT = 1 << 17
SIGN = 1 << 18

_HASHES: Final = MappingProxyType({0x000B: hashes.SHA256(), 0x000C: hashes.SHA384(), 0x000D: hashes.SHA512()})
_CURVES: Final = MappingProxyType({0x0003: ec.SECP256R1(), 0x0004: ec.SECP384R1()})
_DER_SEQUENCE = 0x30


@der.sequence
class _TcgAttestCertify:
    attest: bytes
    signature: bytes
    public: bytes


@dataclass(frozen=True, slots=True)
class Attest:
    """TPMS_ATTEST of type certify."""

    signed: bytes
    """The bare structure: the exact bytes under the signature."""
    extra_data: bytes
    firmware_version: int
    name: bytes


@dataclass(frozen=True, slots=True)
class Public:
    """TPMT_PUBLIC of an elliptic-curve signing key."""

    attributes: int
    curve: ec.EllipticCurve
    x: int
    y: int
    name: bytes
    """What the TPM calls the key: nameAlg and the digest of the structure (Part 1, §16)."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A TPM's ECDSA signature. `hash_algorithm` is None when the statement leaves it to the AK's curve."""

    hash_algorithm: hashes.HashAlgorithm | None
    der: bytes


@dataclass(frozen=True, slots=True)
class CertifyStatement:
    """The parts of one statement, read and not yet verified."""

    attest: Attest
    signature: Signature
    public: Public


def verify(statement: bytes, ak: AttestationKey) -> KeyClaims:
    """
    Return what the TPM claims in this statement.

    Raises:
        DecodeError: malformed.
        EvidenceError: not signed by this AK, or about another key than the one that stands beside it.

    """
    parts = read(statement)
    algorithm = parts.signature.hash_algorithm or signature_hash(ak.public_key)
    ak.check_signature(parts.signature.der, parts.attest.signed, algorithm)
    if parts.attest.name != parts.public.name:
        raise EvidenceError("the TPM certified another key than the one shown", finding="evidence.key.mismatch")
    attributes = parts.public.attributes
    return KeyClaims(
        spki=_spki(parts.public),
        nonce=parts.attest.extra_data,
        firmware=firmware_text(parts.attest.firmware_version),
        made_in_chip=bool(attributes & SENSITIVE_DATA_ORIGIN),
        extractable=not (attributes & FIXED_TPM and attributes & FIXED_PARENT),
        sign_only=attributes & (SIGN | RESTRICTED | DECRYPT) == SIGN,
    )


def firmware_text(version: int) -> str:
    """Return TPMS_ATTEST.firmwareVersion (64 bits) as makers write it: four 16-bit numbers, "7.85.17.51968"."""
    return ".".join(str(version >> shift & 0xFFFF) for shift in (48, 32, 16, 0))


def read(statement: bytes) -> CertifyStatement:
    """Read a statement, all of it. Raises DecodeError and nothing else."""
    parts = der.decode(_TcgAttestCertify, statement, "TcgAttestCertify")
    return CertifyStatement(
        attest=read_attest(_bare(parts.attest)),
        signature=read_signature(parts.signature),
        public=read_public(_bare(parts.public)),
    )


def read_attest(data: bytes) -> Attest:
    """Read a bare TPMS_ATTEST of TPM2_Certify. Raises DecodeError."""
    with ByteReader(data, "TPMS_ATTEST") as reader:
        if reader.u32() != TPM_GENERATED_VALUE:
            raise reader.error("not made by a TPM (magic)")
        if reader.u16() != TPM_ST_ATTEST_CERTIFY:
            raise reader.error("not the result of TPM2_Certify (type)")
        reader.sized16()  # qualifiedSigner: the AK's place in a hierarchy, of no use to a verifier outside
        extra_data = reader.sized16()
        # Whether it is a nonce of ours is for the CA to say, which knows them: tpm2_certify always puts 4 bytes.
        if not 1 <= len(extra_data) <= EXTRA_DATA_MAX_BYTES:
            raise reader.error(f"extraData of {len(extra_data)} bytes; 1 to {EXTRA_DATA_MAX_BYTES} are read")
        _skip_clock_info(reader)
        firmware_version = reader.u64()
        name = reader.sized16()
        reader.sized16()  # qualifiedName: as qualifiedSigner
    return Attest(data, extra_data, firmware_version, name)


def read_signature(data: bytes) -> Signature:
    """Read a TPMT_SIGNATURE with ECDSA, or let a DER signature through to its verification. Raises DecodeError."""
    if data[:1] == bytes([_DER_SEQUENCE]):
        return Signature(None, data)
    with ByteReader(data, "TPMT_SIGNATURE") as reader:
        if reader.u16() != TPM_ALG_ECDSA:
            raise reader.error("the signature is not ECDSA")
        hash_algorithm = _hash(reader)
        r, s = (int.from_bytes(reader.sized16(), "big") for _ in range(2))
    return Signature(hash_algorithm, encode_dss_signature(r, s))


def read_public(data: bytes) -> Public:
    """Read a bare TPMT_PUBLIC of an ECC signing key. Raises DecodeError."""
    with ByteReader(data, "TPMT_PUBLIC") as reader:
        if reader.u16() != TPM_ALG_ECC:
            raise reader.error("not an elliptic-curve key")
        name_algorithm = _hash(reader)
        attributes = reader.u32()
        reader.sized16()  # authPolicy: who may use the key, not what the key may do
        _demand_null(reader, "a signing key has no symmetric algorithm")
        _check_scheme(reader)
        curve = _curve(reader)
        _demand_null(reader, "a signing key has no key derivation")
        x, y = (int.from_bytes(reader.sized16(), "big") for _ in range(2))
    name = data[2:4] + hashlib.new(name_algorithm.name, data).digest()
    return Public(attributes, curve, x, y, name)


def _bare(data: bytes) -> bytes:
    # No bare structure begins with its own length: TPMS_ATTEST begins with the magic, TPMT_PUBLIC with 0x0023, and an
    # ECC public area is longer than 37 bytes.
    return data[2:] if int.from_bytes(data[:2], "big") == len(data) - 2 else data


def _skip_clock_info(reader: ByteReader) -> None:
    reader.u64()  # clock, ms
    reader.u32()  # resetCount
    reader.u32()  # restartCount
    if reader.u8() > 1:
        raise reader.error("safe is neither YES nor NO")


def _hash(reader: ByteReader) -> hashes.HashAlgorithm:
    algorithm = reader.u16()
    if algorithm not in _HASHES:
        raise reader.error(f"hash algorithm {algorithm:#06x} is not accepted")
    return _HASHES[algorithm]


def _curve(reader: ByteReader) -> ec.EllipticCurve:
    curve = reader.u16()
    if curve not in _CURVES:
        raise reader.error(f"curve {curve:#06x} is neither P-256 nor P-384")
    return _CURVES[curve]


def _check_scheme(reader: ByteReader) -> None:
    # NULL leaves the scheme to each signature; ECDSA fixes it together with its hash.
    scheme = reader.u16()
    if scheme == TPM_ALG_ECDSA:
        _hash(reader)
    elif scheme != TPM_ALG_NULL:
        raise reader.error(f"signing scheme {scheme:#06x} is not accepted")


def _demand_null(reader: ByteReader, problem: str) -> None:
    if reader.u16() != TPM_ALG_NULL:
        raise reader.error(problem)


def _spki(public: Public) -> bytes:
    try:
        return canonical_spki(ec.EllipticCurvePublicNumbers(public.x, public.y, public.curve).public_key())
    except ValueError as error:
        raise DecodeError("TPMT_PUBLIC: the point is not on its curve") from error
