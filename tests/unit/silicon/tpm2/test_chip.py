# SPDX-License-Identifier: Apache-2.0
import hashlib
import re
import secrets
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPMT_SIG_SCHEME

from birthmark.core.registry import TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.bundle import make_bundle
from birthmark.evidence.verdict import require
from birthmark.silicon import tls
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError, ChipFull, ChipRefused
from birthmark.silicon.keys import ChipPrivateKey
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, Algorithm, SlotState
from birthmark.silicon.tpm2 import nvram
from birthmark.silicon.tpm2.chip import TPM2Chip
from birthmark.silicon.tpm2.connection import PT_NV_BUFFER_MAX
from birthmark.silicon.tpm2.layout import AK_HANDLE, SLOT_PLACES, device_key, storage_root_key
from birthmark.testing.forge import TPM
from support.mutual_tls import GREETING, TLS_VERSIONS, World, greeted, serving
from support.swtpm import swtpm
from support.tpm import FORGE, NOW, provisioned_tpm, tpm_chip

PLACE = SLOT_PLACES[SLOT_IDENTITY]
TRANSIENT_FIRST = 0x80000000
LARGE = bytes(range(256)) * 6  # needs two NV writes
NULL_SCHEME = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)


@pytest.fixture
def tcti() -> Iterator[str]:
    with provisioned_tpm() as tcti:
        yield tcti


@pytest.fixture
def chip(tcti: str) -> Iterator[TPM2Chip]:
    with closing(TPM2Chip(tcti)) as chip:
        yield chip


def test_its_evidence_convinces_the_verifier(chip: TPM2Chip) -> None:
    spki = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    nonce = secrets.token_bytes(32)
    evidence = chip.attest(SLOT_IDENTITY, nonce)
    identity = chip.identity()
    assert evidence.statement_type == TCG_ATTEST_TPM_CERTIFY
    bundle = make_bundle(evidence.statement_type, evidence.statement, identity.ak_certificates)
    attested = require(appraise(bundle, spki, FORGE.endorsements(), NOW))
    assert attested.nonce == nonce
    told = (attested.chip.model, attested.chip.serial, attested.chip.firmware)
    assert told == (identity.model, identity.serial, identity.firmware)


def test_the_identity_is_the_one_that_its_maker_certified(chip: TPM2Chip) -> None:
    identity = chip.identity()
    assert identity.model == TPM.id
    assert re.fullmatch("[0-9A-F]{16}", identity.serial)
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", identity.firmware)
    assert chip.identity() is identity


def test_the_attestation_key_refuses_a_digest_from_outside(chip: TPM2Chip) -> None:
    digest = hashlib.sha256(b"\xffTCG, or so they say").digest()
    with chip._tpm.opened(AK_HANDLE) as ak, pytest.raises(ChipRefused, match="invalid ticket"):
        chip._tpm.command("sign", ak, digest, NULL_SCHEME)


def test_every_signature_verifies_whatever_its_leading_zeros(chip: TPM2Chip) -> None:
    public_key = load_der_public_key(chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256))
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    for number in range(300):
        digest = hashlib.sha256(bytes([number % 256, number // 256])).digest()
        public_key.verify(chip.sign(SLOT_IDENTITY, digest), digest, ec.ECDSA(Prehashed(SHA256())))


@pytest.mark.parametrize("version", TLS_VERSIONS)
def test_its_key_proves_a_tls_client(chip: TPM2Chip, tmp_path: Path, version: ssl.TLSVersion) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    key = ChipPrivateKey(chip, SLOT_IDENTITY)
    world = World(tmp_path)
    chain = world.certificate(key.public_key())
    context = world.client_context()
    tls.use_chip_key(context, chain, key)
    with serving(world.server_context(version)) as server:
        assert greeted(context, server)[0] == GREETING
    assert server.peers == [chain[0]]


def test_no_transient_object_is_left_in_the_tpm(chip: TPM2Chip) -> None:
    for _ in range(5):
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        chip.attest(SLOT_IDENTITY, bytes(32))
    assert not any(chip._tpm.exists(TRANSIENT_FIRST + number) for number in range(3))


def test_two_processes_on_one_tpm_do_not_disturb_each_other(chip: TPM2Chip, tcti: str) -> None:
    with closing(TPM2Chip(tcti)) as other:
        first = chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        second = other.generate_keypair(SLOT_NEXT, Algorithm.P256)
        assert chip.public_key(SLOT_NEXT) == second
        assert other.public_key(SLOT_IDENTITY) == first


@pytest.mark.parametrize(
    ("use", "finding"),
    [
        (lambda chip: chip.generate_keypair(SLOT_IDENTITY, Algorithm.P384), "chip.algorithm"),
        (lambda chip: chip.state("elsewhere"), "chip.slot"),
        (lambda chip: chip.public_key(SLOT_NEXT), "chip.slot-empty"),
        (lambda chip: chip.sign(SLOT_NEXT, bytes(32)), "chip.slot-empty"),
        (lambda chip: chip.attest(SLOT_NEXT, bytes(32)), "chip.slot-empty"),
        (lambda chip: chip.import_certificate(SLOT_NEXT, b"certificate"), "chip.slot-empty"),
        (lambda chip: chip.attest(SLOT_IDENTITY, bytes(31)), "chip.nonce"),
        (lambda chip: chip.sign(SLOT_IDENTITY, bytes(48)), "chip.digest"),
        (lambda chip: chip.activate(SLOT_IDENTITY), "chip.slot-not-certified"),
        (lambda chip: chip.import_certificate(SLOT_IDENTITY, bytes(2047)), "chip.full"),
    ],
    ids=[
        "another algorithm",
        "another slot",
        "the public key of an empty slot",
        "a signature of an empty slot",
        "evidence of an empty slot",
        "a certificate for an empty slot",
        "a short nonce",
        "a long digest",
        "an incomplete identity",
        "a certificate without room",
    ],
)
def test_it_says_why_it_refuses(chip: TPM2Chip, use: Callable[[TPM2Chip], object], finding: str) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    with pytest.raises(ChipRefused) as caught:
        use(chip)
    assert caught.value.finding == finding
    assert chip.state(SLOT_IDENTITY) is SlotState.KEYED


def test_a_certificate_as_large_as_the_index_comes_back_whole(chip: TPM2Chip) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    largest = secrets.token_bytes(2046)
    chip.import_certificate(SLOT_IDENTITY, largest)
    assert chip.get_certificate(SLOT_IDENTITY) == largest


def test_a_certificate_without_room_leaves_the_one_before(chip: TPM2Chip) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    chip.import_certificate(SLOT_IDENTITY, b"before")
    with pytest.raises(ChipFull):
        chip.import_certificate(SLOT_IDENTITY, bytes(2047))
    assert chip.get_certificate(SLOT_IDENTITY) == b"before"


def test_a_half_written_certificate_is_none(chip: TPM2Chip) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    resource = nvram._define(chip._tpm, PLACE.certificate, nvram._OWNERS, len(LARGE) + 2, ESYS_TR.OWNER)
    chunk = chip._tpm.properties[PT_NV_BUFFER_MAX]
    chip._tpm.command("nv_write", resource, LARGE[chunk - 2 :], offset=chunk)
    assert chip.get_certificate(SLOT_IDENTITY) is None
    assert chip.state(SLOT_IDENTITY) is SlotState.KEYED
    chip.import_certificate(SLOT_IDENTITY, LARGE)
    assert chip.get_certificate(SLOT_IDENTITY) == LARGE


def test_a_foreign_object_in_a_slot_is_no_key(chip: TPM2Chip) -> None:
    with chip._tpm.primary(ESYS_TR.OWNER, storage_root_key()) as stranger:
        chip._tpm.persist(stranger, PLACE.key)
    with pytest.raises(ChipError) as caught:
        chip.public_key(SLOT_IDENTITY)
    assert caught.value.finding == "chip.malformed"


def test_a_pointer_to_no_slot_is_an_error_and_not_a_guess(chip: TPM2Chip) -> None:
    nvram.write_byte(chip._tpm, 0x01800B00, 7)
    with pytest.raises(ChipError, match="points to slot 7"):
        chip.active_slot()


def test_a_tpm_without_room_for_one_more_object_is_full(chip: TPM2Chip) -> None:
    tpm = chip._tpm
    with (
        tpm.primary(ESYS_TR.OWNER, storage_root_key()),
        tpm.primary(ESYS_TR.OWNER, device_key()),
        tpm.primary(ESYS_TR.ENDORSEMENT, device_key()),
        pytest.raises(ChipFull),
    ):
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)


def test_after_an_owners_clear_the_slots_are_empty_and_the_chip_is_the_same(chip: TPM2Chip) -> None:
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    chip.import_certificate(SLOT_IDENTITY, LARGE)
    identity = chip.identity()
    chip._tpm.command("clear", ESYS_TR.LOCKOUT)
    assert chip.state(SLOT_IDENTITY) is SlotState.EMPTY
    assert chip._read_identity() == identity


def test_no_tpm_at_all_is_absent(tmp_path: Path) -> None:
    chip = TPM2Chip(f"swtpm:path={tmp_path}/s")
    with pytest.raises(ChipAbsent) as caught:
        chip.identity()
    assert caught.value.finding == "chip.absent"
    chip.close()


@pytest.mark.parametrize("tcti", ["", "no-such-tcti:x", "device:/dev/no-such-tpm"])
def test_a_tcti_that_leads_nowhere_is_absent(tcti: str) -> None:
    with pytest.raises(ChipAbsent):
        TPM2Chip(tcti).state(SLOT_IDENTITY)


def test_a_tpm_that_dies_is_a_broken_link_and_then_absent() -> None:
    with swtpm() as tcti:
        chip = TPM2Chip(tcti)
        chip.state(SLOT_IDENTITY)
    with pytest.raises(ChipCommunication):
        chip.state(SLOT_IDENTITY)
    with pytest.raises(ChipAbsent):
        chip.state(SLOT_IDENTITY)


def test_a_closed_chip_does_not_come_back(chip: TPM2Chip) -> None:
    chip.state(SLOT_IDENTITY)
    chip.close()
    chip.close()
    with pytest.raises(ChipAbsent, match="closed"):
        chip.state(SLOT_IDENTITY)


def test_a_tpm_without_certificate_is_not_provisioned() -> None:
    with swtpm() as tcti, closing(TPM2Chip(tcti)) as chip:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        for use in (chip.identity, lambda: chip.attest(SLOT_IDENTITY, bytes(32))):
            with pytest.raises(ChipRefused) as caught:
                use()
            assert caught.value.finding == "chip.not-provisioned"


def test_nothing_reaches_stderr_when_the_tpm_refuses(capfd: pytest.CaptureFixture[str]) -> None:
    with tpm_chip() as chip, pytest.raises(ChipRefused):
        chip._tpm.command("evict_control", ESYS_TR.OWNER, ESYS_TR.OWNER, PLACE.key)
    assert capfd.readouterr().err == ""
