# SPDX-License-Identifier: Apache-2.0
"""
Which keys and signatures are good enough, anywhere.

The list says what is accepted; all else is refused. SHA-1 and RSA below 2048 bits are not on it, for trust anchors
either: a ten-year-old weak anchor is the long-tail risk that this project exists to end.
"""

from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import SignatureAlgorithmOID

from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.reading import UNREADABLE, subject_text

RSA_MIN_BITS = 2048


class KeyAlgorithm(Enum):
    """A key type for devices and authorities. The value is the name used in configuration and records."""

    P256 = "P-256"
    P384 = "P-384"

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve, for making a key of this type."""
        return ec.SECP256R1() if self is KeyAlgorithm.P256 else ec.SECP384R1()


_BY_CURVE = {algorithm.curve.name: algorithm for algorithm in KeyAlgorithm}
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
    }
)


def key_algorithm(key: PublicKeyTypes) -> KeyAlgorithm:
    """Return the type of a device's or authority's key. Raises AlgorithmRefused for all that we do not issue to."""
    found = _BY_CURVE.get(key.curve.name) if isinstance(key, ec.EllipticCurvePublicKey) else None
    if found is None:
        names = ", ".join(algorithm.value for algorithm in KeyAlgorithm)
        raise AlgorithmRefused(f"{_described(key)} is not a key that we certify", hint=f"use one of {names}")
    return found


def signature_hash(key: ec.EllipticCurvePublicKey) -> hashes.SHA256 | hashes.SHA384:
    """Return the hash to sign with: as long as the curve, so that neither is the weaker part."""
    return hashes.SHA256() if key_algorithm(key) is KeyAlgorithm.P256 else hashes.SHA384()


def acceptable_key(key: PublicKeyTypes) -> None:
    """
    Pass a key that may appear in a certification path: P-256, P-384, P-521, or RSA of 2048 bits and more.

    Raises:
        AlgorithmRefused: any other key.

    """
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES:
        return
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= RSA_MIN_BITS:
        return
    raise AlgorithmRefused(f"{_described(key)} is refused", hint="use P-256, P-384, P-521 or RSA of 2048 bits and more")


def acceptable_signature(
    signed: x509.Certificate | x509.CertificateSigningRequest | x509.CertificateRevocationList,
) -> None:
    """
    Pass a signature made over SHA-256, SHA-384 or SHA-512. The signature itself is not verified.

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
