# SPDX-License-Identifier: Apache-2.0
import copy
from collections.abc import Callable, Iterator

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from birthmark.silicon.errors import ChipRefused
from birthmark.silicon.keys import ChipPrivateKey
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, Algorithm
from birthmark.silicon.tpm2.chip import TPM2Chip
from support.tpm import tpm_chip

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "unit")])


@pytest.fixture(scope="module")
def chip() -> Iterator[TPM2Chip]:
    with tpm_chip() as chip:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        yield chip


@pytest.fixture
def key(chip: TPM2Chip) -> ChipPrivateKey:
    return ChipPrivateKey(chip, SLOT_IDENTITY)


def test_it_has_the_public_half_that_the_chip_shows(chip: TPM2Chip, key: ChipPrivateKey) -> None:
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert spki == chip.public_key(SLOT_IDENTITY)
    assert (key.curve.name, key.key_size) == ("secp256r1", 256)


def test_pyca_signs_a_request_with_it(key: ChipPrivateKey) -> None:
    request = x509.CertificateSigningRequestBuilder(NAME).sign(key, SHA256())
    assert request.is_signature_valid
    assert request.public_key() == key.public_key()


def test_it_signs_data_and_digests_alike(key: ChipPrivateKey) -> None:
    digest = Hash(SHA256())
    digest.update(b"data")
    for signature in (
        key.sign(bytearray(b"data"), ec.ECDSA(SHA256())),
        key.sign(digest.finalize(), ec.ECDSA(Prehashed(SHA256()))),
    ):
        key.public_key().verify(signature, b"data", ec.ECDSA(SHA256()))


@pytest.mark.parametrize(
    "algorithm",
    [
        ec.ECDSA(SHA384()),
        ec.ECDSA(SHA512()),
        ec.ECDSA(Prehashed(SHA384())),
        ec.ECDSA(SHA256(), deterministic_signing=True),
    ],
    ids=["SHA-384", "SHA-512", "a digest of SHA-384", "deterministic"],
)
def test_what_the_chip_cannot_sign_is_refused(key: ChipPrivateKey, algorithm: ec.ECDSA) -> None:
    with pytest.raises(UnsupportedAlgorithm):
        key.sign(bytes(48), algorithm)


@pytest.mark.parametrize(
    "use",
    [
        lambda key: key.private_numbers(),
        lambda key: key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        lambda key: key.exchange(ec.ECDH(), key.public_key()),
    ],
    ids=["numbers", "bytes", "key agreement"],
)
def test_it_never_leaves_the_chip_and_does_nothing_but_sign(
    key: ChipPrivateKey, use: Callable[[ChipPrivateKey], object]
) -> None:
    with pytest.raises(ChipRefused) as caught:
        use(key)
    assert caught.value.finding == "chip.key-stays"


def test_a_copy_is_the_same_key(key: ChipPrivateKey) -> None:
    assert copy.copy(key) is key
    assert copy.deepcopy(key) is key


def test_an_empty_slot_is_no_key(chip: TPM2Chip) -> None:
    with pytest.raises(ChipRefused):
        ChipPrivateKey(chip, SLOT_NEXT)
