# SPDX-License-Identifier: Apache-2.0
"""What every secure element must do, whatever it is made of: run over each implementation in support.chips."""

import hashlib
import os
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_der_x509_certificate

from birthmark.silicon.errors import ChipError, ChipFull, ChipRefused
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, SLOTS, Algorithm, SecureElement, SlotState
from support.chips import IMPLEMENTATIONS, ChipUnderTest

NONCE = bytes(range(32))
DIGEST = hashlib.sha256(b"something to sign").digest()
CERTIFICATE_LIMIT = 1728
NEVER_FITS = 9000


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def device(request: pytest.FixtureRequest) -> Iterator[ChipUnderTest]:
    with IMPLEMENTATIONS[request.param]() as under_test:
        yield under_test


@pytest.fixture
def chip(device: ChipUnderTest) -> Iterator[SecureElement]:
    element = device.open()
    yield element
    element.close()


def certificate(size: int = 1500) -> bytes:
    """Return opaque bytes: the chip keeps what it is given."""
    return os.urandom(size)


def certified(chip: SecureElement, slot: str) -> tuple[bytes, bytes]:
    """Fill a slot; return the public key and the certificate."""
    spki = chip.generate_keypair(slot, Algorithm.P256)
    der = certificate()
    chip.import_certificate(slot, der)
    return spki, der


def test_a_new_chip_holds_no_identity(chip: SecureElement) -> None:
    assert [chip.state(slot) for slot in SLOTS] == [SlotState.EMPTY, SlotState.EMPTY]
    assert [chip.get_certificate(slot) for slot in SLOTS] == [None, None]
    assert chip.active_slot() == SLOT_IDENTITY


def test_the_identity_names_the_chip_and_carries_its_attestation_certificate(chip: SecureElement) -> None:
    identity = chip.identity()
    assert identity.model
    assert identity.serial
    assert identity.firmware
    assert load_der_x509_certificate(identity.ak_certificates[0]).public_key() is not None


def test_the_identity_stays_the_same_at_the_next_contact(device: ChipUnderTest) -> None:
    first, second = device.open(), None
    identity = first.identity()
    first.close()
    second = device.open()
    assert second.identity() == identity
    second.close()


def test_a_generated_key_is_a_p256_key_in_a_keyed_slot(chip: SecureElement) -> None:
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert chip.public_key(SLOT_IDENTITY) == spki
    assert chip.state(SLOT_IDENTITY) is SlotState.KEYED
    assert chip.state(SLOT_NEXT) is SlotState.EMPTY


def test_generating_in_a_keyed_slot_replaces_the_key(chip: SecureElement) -> None:
    first = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    second = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    assert first != second
    assert chip.public_key(SLOT_IDENTITY) == second


def test_the_two_slots_hold_different_keys(chip: SecureElement) -> None:
    first = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    second = chip.generate_keypair(SLOT_NEXT, Algorithm.P256)
    assert first != second
    assert [chip.public_key(slot) for slot in SLOTS] == [first, second]


def test_a_p384_key_is_made_or_clearly_refused(chip: SecureElement) -> None:
    try:
        spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P384)
    except ChipRefused:
        assert chip.state(SLOT_IDENTITY) is SlotState.EMPTY
        return
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    digest = hashlib.sha384(b"longer").digest()
    key.verify(chip.sign(SLOT_IDENTITY, digest), digest, ec.ECDSA(Prehashed(hashes.SHA384())))


@pytest.mark.parametrize("slot", SLOTS)
def test_a_signature_verifies_under_the_public_key_of_its_slot(chip: SecureElement, slot: str) -> None:
    key = load_der_public_key(chip.generate_keypair(slot, Algorithm.P256))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(chip.sign(slot, DIGEST), DIGEST, ec.ECDSA(Prehashed(hashes.SHA256())))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_digest_of_another_length_is_refused(chip: SecureElement, size: int) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    with pytest.raises(ChipRefused):
        chip.sign(SLOT_IDENTITY, bytes(size))


def test_evidence_carries_the_nonce_and_the_key(chip: SecureElement) -> None:
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    evidence = chip.attest(SLOT_IDENTITY, NONCE)
    assert NONCE in evidence.statement
    assert spki[-32:] in evidence.statement


def test_evidence_for_another_nonce_is_other_evidence(chip: SecureElement) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    first, second = chip.attest(SLOT_IDENTITY, NONCE), chip.attest(SLOT_IDENTITY, NONCE[::-1])
    assert first.statement_type == second.statement_type
    assert first.statement != second.statement


@pytest.mark.parametrize("size", [0, 16, 33])
def test_a_nonce_that_is_not_32_bytes_long_is_refused(chip: SecureElement, size: int) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    with pytest.raises(ChipRefused):
        chip.attest(SLOT_IDENTITY, bytes(size))


NEED_A_KEY: dict[str, Callable[[SecureElement], object]] = {
    "public_key": lambda chip: chip.public_key(SLOT_IDENTITY),
    "attest": lambda chip: chip.attest(SLOT_IDENTITY, NONCE),
    "sign": lambda chip: chip.sign(SLOT_IDENTITY, DIGEST),
    "import_certificate": lambda chip: chip.import_certificate(SLOT_IDENTITY, certificate()),
    "activate": lambda chip: chip.activate(SLOT_IDENTITY),
}


@pytest.mark.parametrize("call", sorted(NEED_A_KEY))
def test_an_empty_slot_refuses_what_needs_a_key_and_stays_empty(chip: SecureElement, call: str) -> None:
    with pytest.raises(ChipRefused):
        NEED_A_KEY[call](chip)
    assert chip.state(SLOT_IDENTITY) is SlotState.EMPTY


@pytest.mark.parametrize("size", [500, 1500, CERTIFICATE_LIMIT])
def test_a_certificate_reads_back_as_it_was_written(chip: SecureElement, size: int) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    der = certificate(size)
    chip.import_certificate(SLOT_IDENTITY, der)
    assert chip.get_certificate(SLOT_IDENTITY) == der
    assert chip.state(SLOT_IDENTITY) is SlotState.CERTIFIED


def test_a_second_certificate_replaces_the_first(chip: SecureElement) -> None:
    spki, _ = certified(chip, SLOT_IDENTITY)
    shorter = certificate(700)
    chip.import_certificate(SLOT_IDENTITY, shorter)
    assert chip.get_certificate(SLOT_IDENTITY) == shorter
    assert chip.public_key(SLOT_IDENTITY) == spki


def test_a_certificate_that_does_not_fit_is_refused_and_the_old_one_stays(chip: SecureElement) -> None:
    _, der = certified(chip, SLOT_IDENTITY)
    with pytest.raises(ChipFull):
        chip.import_certificate(SLOT_IDENTITY, certificate(NEVER_FITS))
    assert chip.get_certificate(SLOT_IDENTITY) == der


def test_a_slot_without_a_certificate_cannot_be_activated(chip: SecureElement) -> None:
    certified(chip, SLOT_IDENTITY)
    chip.generate_keypair(SLOT_NEXT, Algorithm.P256)
    with pytest.raises(ChipRefused):
        chip.activate(SLOT_NEXT)
    assert chip.active_slot() == SLOT_IDENTITY


def test_the_active_slot_moves_and_moves_back(chip: SecureElement) -> None:
    for slot in SLOTS:
        certified(chip, slot)
    for slot in (SLOT_NEXT, SLOT_NEXT, SLOT_IDENTITY):
        chip.activate(slot)
        assert chip.active_slot() == slot


@pytest.mark.parametrize("active", SLOTS)
def test_the_active_certified_slot_cannot_be_erased(chip: SecureElement, active: str) -> None:
    kept = {slot: certified(chip, slot) for slot in SLOTS}
    chip.activate(active)
    with pytest.raises(ChipRefused):
        chip.erase(active)
    assert (chip.public_key(active), chip.get_certificate(active)) == kept[active]


def test_the_other_slot_can_be_erased_and_used_again(chip: SecureElement) -> None:
    identity = certified(chip, SLOT_IDENTITY)
    old, _ = certified(chip, SLOT_NEXT)
    chip.erase(SLOT_NEXT)
    assert chip.state(SLOT_NEXT) is SlotState.EMPTY
    assert chip.get_certificate(SLOT_NEXT) is None
    assert chip.generate_keypair(SLOT_NEXT, Algorithm.P256) != old
    assert chip.get_certificate(SLOT_NEXT) is None
    assert (chip.public_key(SLOT_IDENTITY), chip.get_certificate(SLOT_IDENTITY)) == identity


def test_the_active_slot_can_be_erased_while_it_is_only_keyed(chip: SecureElement) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    chip.erase(SLOT_IDENTITY)
    assert chip.state(SLOT_IDENTITY) is SlotState.EMPTY


def test_erasing_an_empty_slot_changes_nothing(chip: SecureElement) -> None:
    chip.erase(SLOT_NEXT)
    assert chip.state(SLOT_NEXT) is SlotState.EMPTY


@pytest.mark.parametrize("slot", SLOTS)
def test_no_key_is_made_in_a_certified_slot(chip: SecureElement, slot: str) -> None:
    kept = certified(chip, slot)
    with pytest.raises(ChipRefused):
        chip.generate_keypair(slot, Algorithm.P256)
    assert (chip.public_key(slot), chip.get_certificate(slot)) == kept


@pytest.mark.parametrize("slot", ["", "device-identity ", "attestation-key"])
def test_an_unknown_slot_is_a_chip_error(chip: SecureElement, slot: str) -> None:
    for call in (chip.state, chip.public_key, chip.get_certificate, chip.activate, chip.erase):
        with pytest.raises(ChipError):
            call(slot)
    with pytest.raises(ChipError):
        chip.generate_keypair(slot, Algorithm.P256)


def test_everything_is_still_there_at_the_next_contact(device: ChipUnderTest) -> None:
    first = device.open()
    kept = {slot: certified(first, slot) for slot in SLOTS}
    first.activate(SLOT_NEXT)
    first.close()
    second = device.open()
    assert second.active_slot() == SLOT_NEXT
    assert {slot: (second.public_key(slot), second.get_certificate(slot)) for slot in SLOTS} == kept
    second.close()
