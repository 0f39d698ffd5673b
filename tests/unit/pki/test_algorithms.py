# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures: the accepted ones are listed, all others are refused."""

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from birthmark.pki.algorithms import (
    KeyAlgorithm,
    acceptable_certificate,
    acceptable_key,
    key_algorithm,
    sign_data,
    signature_hash,
    signing_key,
    verify_data,
    verifying_key,
)
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.keys.software import generate
from support.openssl import made_by_openssl


def self_signed(directory: Path, newkey: str, digest: str) -> x509.Certificate:
    """Let openssl make what pyca/cryptography no longer does."""
    name, _, option = newkey.partition(" ")
    options = ("-pkeyopt", option) if option else ()
    fixed = ("-nodes", "-subj", "/CN=weak", "-keyout", "key.pem")
    made = made_by_openssl(directory, "req", "-x509", "-newkey", name, *options, f"-{digest}", *fixed)
    return x509.load_pem_x509_certificate(made)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
def test_nist_curves_are_accepted_on_a_path(curve: ec.EllipticCurve) -> None:
    acceptable_key(ec.generate_private_key(curve).public_key())


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()], ids=lambda c: c.name)
def test_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(AlgorithmRefused) as refused:
        acceptable_key(ec.generate_private_key(curve).public_key())
    assert refused.value.finding == "pki.algorithm"


def test_rsa_needs_2048_bits() -> None:
    acceptable_key(rsa.generate_private_key(65537, 2048).public_key())
    with pytest.raises(AlgorithmRefused, match="RSA key of 1024 bits"):
        acceptable_key(rsa.generate_private_key(65537, 1024).public_key())  # noqa: S505 to be refused


def test_a_key_type_that_is_not_on_the_list_is_refused() -> None:
    with pytest.raises(AlgorithmRefused, match="Ed448"):
        acceptable_key(ed448.Ed448PrivateKey.generate().public_key())


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_every_key_that_we_certify_signs_and_is_accepted_on_a_path(algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    public = verifying_key(key.public_key())
    acceptable_key(public)
    signature = sign_data(key, b"data")
    assert key_algorithm(public) is algorithm
    assert signing_key(key) is key
    assert len(signature) <= algorithm.signature_max_bytes
    verify_data(public, signature, b"data")
    with pytest.raises(InvalidSignature):
        verify_data(public, signature, b"Data")


@pytest.mark.parametrize("algorithm", [a for a in KeyAlgorithm if a not in {KeyAlgorithm.P256, KeyAlgorithm.P384}])
def test_an_algorithm_that_hashes_by_itself_has_no_hash_and_no_curve(algorithm: KeyAlgorithm) -> None:
    assert signature_hash(generate(algorithm).public_key()) is None
    with pytest.raises(AlgorithmRefused, match="NIST curve"):
        _ = algorithm.curve


def test_a_private_key_of_another_kind_does_not_sign_here() -> None:
    with pytest.raises(AlgorithmRefused, match="Ed448"):
        signing_key(ed448.Ed448PrivateKey.generate())
    with pytest.raises(AlgorithmRefused, match="secp521r1"):
        signing_key(ec.generate_private_key(ec.SECP521R1()))


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.P256, KeyAlgorithm.P384])
def test_the_hash_is_as_long_as_the_curve(algorithm: KeyAlgorithm) -> None:
    key = ec.generate_private_key(algorithm.curve).public_key()
    assert key_algorithm(key) is algorithm
    used = signature_hash(key)
    assert used is not None
    assert used.digest_size * 8 == key.key_size


def test_we_issue_to_fewer_keys_than_we_accept_on_a_path() -> None:
    with pytest.raises(AlgorithmRefused, match="secp521r1"):
        key_algorithm(ec.generate_private_key(ec.SECP521R1()).public_key())


@pytest.mark.parametrize(
    ("newkey", "digest", "reason"),
    [
        ("rsa:2048", "sha1", "a signature over SHA1"),
        ("ec ec_paramgen_curve:P-256", "sha1", "a signature over SHA1"),
        ("rsa:1024", "sha256", "an RSA key of 1024 bits"),
        ("ec ec_paramgen_curve:secp256k1", "sha256", "secp256k1"),
        ("ed448", "sha256", "is refused"),
    ],
)
def test_a_weak_certificate_is_refused_with_its_subject(tmp_path: Path, newkey: str, digest: str, reason: str) -> None:
    with pytest.raises(AlgorithmRefused, match=reason) as refused:
        acceptable_certificate(self_signed(tmp_path, newkey, digest))
    assert refused.value.finding == "pki.path.algorithm"
    assert "CN=weak" in refused.value.message


@pytest.mark.parametrize("newkey", ["rsa:2048", "rsa-pss rsa_keygen_bits:2048", "ec ec_paramgen_curve:P-384"])
def test_a_strong_certificate_of_another_kind_passes(tmp_path: Path, newkey: str) -> None:
    acceptable_certificate(self_signed(tmp_path, newkey, "sha256"))
