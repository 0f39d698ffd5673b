# SPDX-License-Identifier: Apache-2.0
"""
Which keys and signatures are good enough, anywhere, and how one is signed and checked with.

The list says what is accepted; all else is refused. SHA-1 and RSA below 2048 bits are not on it, for trust anchors
either: a ten-year-old weak anchor is the long-tail risk that this project exists to end.

ML-DSA is the pure one of FIPS 204 with an empty context, as RFC 9881 §3 wants it in certificates: HashML-DSA is not
on the list.
"""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import SignatureAlgorithmOID

from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.reading import UNREADABLE, subject_text

RSA_MIN_BITS = 2048
_KEYS_MAX = 256
"""How many loaded keys are kept. One request asks for its key several times within a millisecond."""

SigningKey: TypeAlias = (
    ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | mldsa.MLDSA44PrivateKey
    | mldsa.MLDSA65PrivateKey
    | mldsa.MLDSA87PrivateKey
)
"""A key that devices and authorities sign with, in memory, in a token or in a chip."""

VerifyingKey: TypeAlias = (
    ec.EllipticCurvePublicKey
    | ed25519.Ed25519PublicKey
    | mldsa.MLDSA44PublicKey
    | mldsa.MLDSA65PublicKey
    | mldsa.MLDSA87PublicKey
)
"""The public half of a SigningKey."""


class KeyAlgorithm(Enum):
    """A key type for devices and authorities. The value is the name used in configuration and records."""

    P256 = "P-256"
    P384 = "P-384"
    ED25519 = "Ed25519"
    MLDSA44 = "ML-DSA-44"
    MLDSA65 = "ML-DSA-65"
    MLDSA87 = "ML-DSA-87"

    @property
    def curve(self) -> ec.EllipticCurve:
        """The NIST curve, for making a key of this type. Raises AlgorithmRefused for a type that has none."""
        if self not in _CURVE_OF:
            raise AlgorithmRefused(f"{self.value} is not ECDSA on a NIST curve", hint="use P-256 or P-384")
        return _CURVE_OF[self]

    @property
    def signature_oid(self) -> OID:
        """The signature algorithm that goes with this key. None of them has parameters (RFC 5758, 8410, 9881)."""
        return _SIGNATURE_OF[self]

    @property
    def signs_handshakes(self) -> bool:
        """
        Whether a device can open TLS sessions with a key of this type: docs/adr/0014-identity-beside.md.

        A chip signs handshakes through a hook that OpenSSL 3.0 has for ECDSA alone, and that version knows no ML-DSA.
        """
        return self in _CURVE_OF

    @property
    def signature_max_bytes(self) -> int:
        """The longest signature. ECDSA makes shorter ones by chance; the others are always that long."""
        return _SIGNATURE_MAX_BYTES[self]


_CURVE_OF: Final = MappingProxyType({KeyAlgorithm.P256: ec.SECP256R1(), KeyAlgorithm.P384: ec.SECP384R1()})
_SIGNATURE_OF: Final = MappingProxyType(
    {
        KeyAlgorithm.P256: SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        KeyAlgorithm.P384: SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        KeyAlgorithm.ED25519: SignatureAlgorithmOID.ED25519,
        KeyAlgorithm.MLDSA44: SignatureAlgorithmOID.ML_DSA_44,
        KeyAlgorithm.MLDSA65: SignatureAlgorithmOID.ML_DSA_65,
        KeyAlgorithm.MLDSA87: SignatureAlgorithmOID.ML_DSA_87,
    }
)
# ECDSA: a SEQUENCE of two integers with a sign byte each. Ed25519: RFC 8032. ML-DSA: FIPS 204 table 2.
_SIGNATURE_MAX_BYTES: Final = MappingProxyType(
    {
        KeyAlgorithm.P256: 72,
        KeyAlgorithm.P384: 104,
        KeyAlgorithm.ED25519: 64,
        KeyAlgorithm.MLDSA44: 2420,
        KeyAlgorithm.MLDSA65: 3309,
        KeyAlgorithm.MLDSA87: 4627,
    }
)
# DER of a SubjectPublicKeyInfo up to the key itself, and its whole length: RFC 5480 (named curve, uncompressed point),
# RFC 8410, RFC 9881. Each type has one right spelling.
_SPKI: Final = MappingProxyType(
    {
        KeyAlgorithm.P256: (bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004"), 91),
        KeyAlgorithm.P384: (bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004"), 120),
        KeyAlgorithm.ED25519: (bytes.fromhex("302a300506032b6570032100"), 44),
        KeyAlgorithm.MLDSA44: (bytes.fromhex("30820532300b06096086480165030403110382052100"), 1334),
        KeyAlgorithm.MLDSA65: (bytes.fromhex("308207b2300b0609608648016503040312038207a100"), 1974),
        KeyAlgorithm.MLDSA87: (bytes.fromhex("30820a32300b060960864801650304031303820a2100"), 2614),
    }
)
# NIST SP 800-57 part 1 §5.6.1.1; FIPS 204 §4: ML-DSA-44, 65 and 87 are of categories 2, 3 and 5.
STRENGTH_BITS: Final = MappingProxyType(
    {
        KeyAlgorithm.P256: 128,
        KeyAlgorithm.ED25519: 128,
        KeyAlgorithm.MLDSA44: 128,
        KeyAlgorithm.P384: 192,
        KeyAlgorithm.MLDSA65: 192,
        KeyAlgorithm.MLDSA87: 256,
    }
)
_POST_QUANTUM: Final = frozenset({KeyAlgorithm.MLDSA44, KeyAlgorithm.MLDSA65, KeyAlgorithm.MLDSA87})
_BY_CURVE = {curve.name: algorithm for algorithm, curve in _CURVE_OF.items()}
_SCHEME_OF: Final = MappingProxyType(
    {KeyAlgorithm.P256: ec.ECDSA(hashes.SHA256()), KeyAlgorithm.P384: ec.ECDSA(hashes.SHA384())}
)
_HASH_OF: Final[Mapping[KeyAlgorithm, hashes.SHA256 | hashes.SHA384]] = MappingProxyType(
    {KeyAlgorithm.P256: hashes.SHA256(), KeyAlgorithm.P384: hashes.SHA384()}
)
_BY_TYPE: Final = (
    (ed25519.Ed25519PublicKey, KeyAlgorithm.ED25519),
    (mldsa.MLDSA44PublicKey, KeyAlgorithm.MLDSA44),
    (mldsa.MLDSA65PublicKey, KeyAlgorithm.MLDSA65),
    (mldsa.MLDSA87PublicKey, KeyAlgorithm.MLDSA87),
)
_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_HASHES = frozenset({"sha256", "sha384", "sha512"})
# The usual signatures, decided by their OID alone. RSASSA-PSS names its hash in its parameters and takes the slow way.
_SIGNATURES = frozenset(
    {
        SignatureAlgorithmOID.ECDSA_WITH_SHA256,
        SignatureAlgorithmOID.ECDSA_WITH_SHA384,
        SignatureAlgorithmOID.ECDSA_WITH_SHA512,
        SignatureAlgorithmOID.RSA_WITH_SHA256,
        SignatureAlgorithmOID.RSA_WITH_SHA384,
        SignatureAlgorithmOID.RSA_WITH_SHA512,
        SignatureAlgorithmOID.ED25519,
        SignatureAlgorithmOID.ML_DSA_44,
        SignatureAlgorithmOID.ML_DSA_65,
        SignatureAlgorithmOID.ML_DSA_87,
    }
)


@lru_cache(maxsize=_KEYS_MAX)
def public_key_of(spki: bytes) -> PublicKeyTypes:
    """
    Return the key in a DER SubjectPublicKeyInfo, whatever its type: loading one costs as much as reading a request.

    Raises:
        ValueError: malformed, or no point of its curve.
        cryptography.exceptions.UnsupportedAlgorithm: a type or curve that nobody knows.

    """
    return load_der_public_key(spki)


def key_algorithm(key: PublicKeyTypes) -> KeyAlgorithm:
    """Return the type of a device's or authority's key. Raises AlgorithmRefused for all that we do not issue to."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        found = _BY_CURVE.get(key.curve.name)
    else:
        found = next((algorithm for kind, algorithm in _BY_TYPE if isinstance(key, kind)), None)
    if found is None:
        names = ", ".join(algorithm.value for algorithm in KeyAlgorithm)
        raise AlgorithmRefused(f"{_described(key)} is not a key that we certify", hint=f"use one of {names}")
    return found


def is_weaker(one: KeyAlgorithm, other: KeyAlgorithm) -> bool:
    """Say whether a key of the one type gives less than one of the other: fewer bits, or no defence against quanta."""
    return STRENGTH_BITS[one] < STRENGTH_BITS[other] or (other in _POST_QUANTUM and one not in _POST_QUANTUM)


def is_canonical_spki(spki: bytes, algorithm: KeyAlgorithm) -> bool:
    """Whether a SubjectPublicKeyInfo of this type is spelled in its one right way. Its key is not looked at."""
    prefix, size = _SPKI[algorithm]
    return len(spki) == size and spki.startswith(prefix)


def verifying_key(key: PublicKeyTypes) -> VerifyingKey:
    """Return the key as one of a type that we certify. Raises AlgorithmRefused as `key_algorithm` does."""
    key_algorithm(key)
    if not isinstance(key, VerifyingKey):  # never so: `key_algorithm` passes no other; the type checker wants to see it
        raise AlgorithmRefused(f"{_described(key)} is not a key that we certify")
    return key


def signing_key(key: PrivateKeyTypes) -> SigningKey:
    """Return the key as one of a type that we sign with. Raises AlgorithmRefused for all others."""
    if not isinstance(key, SigningKey):
        raise AlgorithmRefused(f"a key of type {type(key).__name__} is not one that we sign with")
    key_algorithm(key.public_key())
    return key


def signature_hash(key: VerifyingKey) -> hashes.SHA256 | hashes.SHA384 | None:
    """Return the hash to sign with: as long as the curve. None where the algorithm hashes by itself."""
    return _HASH_OF.get(key_algorithm(key))


def sign_data(key: SigningKey, data: bytes) -> bytes:
    """Return the signature over `data` by the one scheme that goes with the key; ECDSA in DER."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(data, _SCHEME_OF[key_algorithm(key.public_key())])
    return key.sign(data)


def verify_data(key: VerifyingKey, signature: bytes, data: bytes) -> None:
    """Pass a signature that `sign_data` would make. Raises cryptography's InvalidSignature for any other."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, data, _SCHEME_OF[key_algorithm(key)])
    else:
        key.verify(signature, data)


def acceptable_key(key: PublicKeyTypes) -> None:
    """
    Pass a key that may appear in a certification path: all that we certify, P-521, and RSA of 2048 bits and more.

    Raises:
        AlgorithmRefused: any other key.

    """
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_MIN_BITS:
        return
    if any(isinstance(key, kind) for kind, _ in _BY_TYPE):
        return
    names = ", ".join(algorithm.value for algorithm in KeyAlgorithm)
    raise AlgorithmRefused(f"{_described(key)} is refused", hint=f"use {names}, P-521 or RSA of 2048 bits and more")


def acceptable_signature(
    signed: x509.Certificate | x509.CertificateSigningRequest | x509.CertificateRevocationList,
) -> None:
    """
    Pass a signature over SHA-256, SHA-384 or SHA-512, or by Ed25519 or ML-DSA. The signature itself is not verified.

    Raises:
        AlgorithmRefused: any other signature, SHA-1 first of all.

    """
    if signed.signature_algorithm_oid in _SIGNATURES:
        return
    try:
        used = signed.signature_hash_algorithm
    except UNREADABLE:
        used = None
    if used is None or used.name not in _HASHES:
        name = used.name.upper() if used else signed.signature_algorithm_oid.dotted_string
        raise AlgorithmRefused(f"a signature over {name} is refused", hint="sign with SHA-256, SHA-384 or SHA-512")


def acceptable_certificate(certificate: x509.Certificate) -> None:
    """
    Pass a certificate whose key and signature are both acceptable.

    Raises:
        AlgorithmRefused: with the finding `pki.path.algorithm` and the certificate's subject.

    """
    try:
        acceptable_signature(certificate)
        acceptable_key(certificate.public_key())
    except (AlgorithmRefused, *UNREADABLE) as error:
        reason = error.message if isinstance(error, AlgorithmRefused) else "a key of an unknown kind is refused"
        raise AlgorithmRefused(
            f"{subject_text(certificate)}: {reason}",
            hint="replace it, and all that hangs under it, by one with P-256 and SHA-256 or better",
            finding="pki.path.algorithm",
        ) from error


def _described(key: PublicKeyTypes) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"a key on the curve {key.curve.name}"
    return f"a key of type {type(key).__name__}"
