# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.registry import PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import AppraisalRefused, Verdict, require
from birthmark.pki.authorities import ChipName, make_ak_ca, make_ak_certificate, make_tls_server
from birthmark.testing import statements
from birthmark.testing.forge import APDU, MODELS, TPM, Chip, Forge, Model, new_key, spki
from birthmark.testing.statements import PKIX_LIES, TPM_LIES, Lie, PKIXSays, TPMSays, tlv
from support.damage import damaged

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")

NOW = datetime(2026, 11, 23, tzinfo=UTC)
NONCE = bytes(range(32))
KEY = new_key().public_key()
STEPS = ("bundle", "ak", "model", "signature", "chip", "key")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def findings(verdict: Verdict) -> list[str]:
    return [finding.id for finding in verdict.findings]


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=lambda curve: curve.name)
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_a_good_devices_evidence_gives_its_key_chip_and_nonce(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model, curve: ec.EllipticCurve
) -> None:
    device = forge.device("BM-000001", model=model, curve=curve)
    verdict = appraise(device.bundle, device.spki, endorsements, now)
    attested = require(verdict)
    assert verdict.steps == tuple(f"evidence.{step}" for step in STEPS)
    assert (attested.spki, attested.nonce) == (device.spki, device.nonce)
    assert (attested.chip.model, attested.chip.serial) == (model.id, device.chip.serial)
    assert attested.chip.maker == forge.maker.name
    assert attested.statement_type == model.statement_type


@pytest.mark.parametrize("lie", PKIX_LIES, ids=lambda lie: lie.name)
def test_a_lie_in_pkix_evidence_is_a_finding(
    forge: Forge, endorsements: Endorsements, now: datetime, lie: Lie[PKIXSays]
) -> None:
    chip = forge.maker.chip()
    bundle = chip.bundle(chip.state(lie.told(chip.pkix_says(KEY, NONCE))))
    assert findings(appraise(bundle, spki(KEY), endorsements, now)) == [lie.finding]


@pytest.mark.parametrize("lie", TPM_LIES, ids=lambda lie: lie.name)
def test_a_lie_in_a_tpms_statement_is_a_finding(
    forge: Forge, endorsements: Endorsements, now: datetime, lie: Lie[TPMSays]
) -> None:
    chip = forge.maker.chip(TPM)
    bundle = chip.bundle(chip.state(lie.told(chip.tpm_says(KEY, NONCE))))
    assert findings(appraise(bundle, spki(KEY), endorsements, now)) == [lie.finding]


@pytest.mark.parametrize("model", [APDU, TPM], ids=["pkix", "tpm"])
def test_an_attestation_key_is_no_devices_key(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    chip = forge.maker.chip(model)
    bundle = chip.bundle(chip.attest(chip.ak.public_key(), NONCE))
    assert findings(appraise(bundle, spki(chip.ak.public_key()), endorsements, now)) == ["evidence.key.purpose"]


def test_all_faults_of_chip_and_key_are_found_at_once(forge: Forge, endorsements: Endorsements, now: datetime) -> None:
    chip = forge.maker.chip()
    says = chip.pkix_says(KEY, NONCE)
    for lie in PKIX_LIES[:7]:
        says = lie.told(says)
    verdict = appraise(chip.bundle(chip.state(says)), spki(KEY), endorsements, now)
    assert findings(verdict) == [
        "evidence.chip.debug",
        "evidence.key.imported",
        "evidence.key.extractable",
        "evidence.key.purpose",
    ]
    assert verdict.attested is None
    with pytest.raises(AppraisalRefused) as refused:
        require(verdict)
    assert refused.value.finding == "evidence.chip.debug"


# --- 1. bundle


def test_no_evidence_is_missing(endorsements: Endorsements, now: datetime) -> None:
    verdict = appraise(b"", spki(KEY), endorsements, now)
    assert (findings(verdict), verdict.steps) == (["evidence.missing"], ())


def test_a_statement_of_an_unknown_type_is_named(forge: Forge, endorsements: Endorsements, now: datetime) -> None:
    ak = forge.maker.chip().ak_certificate.public_bytes(Encoding.DER)
    bundle = statements.bundle(ObjectIdentifier("2.23.133.20.2"), tlv(0x30), (ak,))
    assert findings(appraise(bundle, spki(KEY), endorsements, now)) == ["evidence.statement.unknown"]


# --- 2. ak


def good_bundle(chip: Chip, *others: x509.Certificate) -> bytes:
    return chip.bundle(chip.attest(KEY, NONCE), *others)


def appraised(forge: Forge, chip: Chip, *others: x509.Certificate, at: datetime = NOW) -> list[str]:
    return findings(appraise(good_bundle(chip, *others), spki(KEY), forge.endorsements(), at))


def test_a_chip_of_an_unendorsed_maker_is_refused(forge: Forge, now: datetime) -> None:
    assert appraised(forge, Forge.at(now).maker.chip()) == ["evidence.ak.unendorsed"]


@pytest.mark.parametrize("years", [-1, 40])
def test_an_ak_certificate_out_of_its_time_is_refused(forge: Forge, now: datetime, years: int) -> None:
    at = now + timedelta(days=365 * years)
    assert appraised(forge, forge.maker.chip(), at=at) == ["evidence.ak.path"]


def test_a_certificate_for_another_purpose_is_no_ak_certificate(forge: Forge, now: datetime) -> None:
    chip = forge.maker.chip()
    server = Chip(APDU, chip.serial, make_tls_server(forge.maker.ak_ca, chip.ak.public_key(), now), chip.ak)
    assert appraised(forge, server) == ["evidence.ak.path"]


def test_an_ak_on_p521_is_refused(forge: Forge, now: datetime) -> None:
    ak = new_key(ec.SECP521R1())
    name = ChipName("0011223344556677", APDU.hw_type)
    chip = Chip(APDU, name.serial, forge.maker.certify(name, ak.public_key()), ak)
    assert appraised(forge, chip, at=now) == ["evidence.ak.algorithm"]


def test_a_denied_ak_is_refused(forge: Forge, now: datetime) -> None:
    device = forge.device("BM-000001")
    fingerprint = require(appraise(device.bundle, device.spki, forge.endorsements(), now)).ak_fingerprint
    denying = forge.endorsements(denied_aks=(fingerprint,))
    assert findings(appraise(device.bundle, device.spki, denying, now)) == ["evidence.ak.denied"]


def test_a_denied_ak_stays_denied_under_the_other_spelling_of_its_certificates_signature(
    forge: Forge, now: datetime
) -> None:
    chip = forge.maker.chip()
    attested = require(appraise(good_bundle(chip), spki(KEY), forge.endorsements(), now))
    denying = forge.endorsements(denied_aks=(attested.ak_fingerprint,))
    respelled = good_bundle(turned(chip))
    require(appraise(respelled, spki(KEY), forge.endorsements(), now))
    assert findings(appraise(respelled, spki(KEY), denying, now)) == ["evidence.ak.denied"]


def turned(chip: Chip) -> Chip:
    """The chip with its AK certificate's signature (r, s) written as (r, n-s): another certificate, as valid."""
    certificate = chip.ak_certificate
    r, s = decode_dss_signature(certificate.signature)
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = encode_dss_signature(r, P256_ORDER - s)
    der = tlv(0x30, certificate.tbs_certificate_bytes, algorithm, tlv(0x03, b"\0", signature))
    return Chip(chip.model, chip.serial, x509.load_der_x509_certificate(der), chip.ak)


def test_an_intermediate_on_the_aks_path_may_come_along(forge: Forge, now: datetime) -> None:
    assert appraised(forge, forge.maker.chip(), forge.maker.ak_ca.certificate, at=now) == []


def test_an_intermediate_that_only_the_bundle_knows_may_come_along(forge: Forge, now: datetime) -> None:
    ak_ca, ak = make_ak_ca(forge.maker.root, "second AK CA", new_key(), now), new_key()
    name = ChipName("0011223344556677", APDU.hw_type)
    chip = Chip(APDU, name.serial, make_ak_certificate(ak_ca, name, ak.public_key(), now), ak)
    assert appraised(forge, chip, at=now) == ["evidence.ak.unendorsed"]
    assert appraised(forge, chip, ak_ca.certificate, at=now) == []


def test_a_certificate_off_the_aks_path_is_refused(forge: Forge, now: datetime) -> None:
    stranger = forge.maker.chip().ak_certificate
    assert appraised(forge, forge.maker.chip(), stranger, at=now) == ["evidence.ak.path"]


# --- 3. model


def test_a_model_that_is_not_endorsed_is_refused(forge: Forge, now: datetime) -> None:
    device = forge.device("BM-000001")
    endorsements = forge.endorsements(models=(TPM,))
    assert findings(appraise(device.bundle, device.spki, endorsements, now)) == ["evidence.model.unknown"]


def test_a_tpm_of_another_model_is_refused_though_all_tpms_share_a_hardware_type(forge: Forge, now: datetime) -> None:
    other = Model("slb9670", TPM.hw_type, TPM.statement_type, TPM.tpm)
    device = forge.device("BM-000001", model=TPM)
    endorsements = forge.endorsements(models=(other,))
    assert findings(appraise(device.bundle, device.spki, endorsements, now)) == ["evidence.model.unknown"]


def test_a_withdrawn_model_is_refused_from_that_moment_on(forge: Forge, now: datetime) -> None:
    device = forge.device("BM-000001")
    endorsements = forge.endorsements(withdrawn=now)
    before = appraise(device.bundle, device.spki, endorsements, now - timedelta(seconds=1))
    assert findings(before) == []
    assert findings(appraise(device.bundle, device.spki, endorsements, now)) == ["evidence.model.withdrawn"]


def test_a_tpms_ak_cannot_be_talked_into_pkix_evidence(forge: Forge, endorsements: Endorsements, now: datetime) -> None:
    # A restricted TPM key signs foreign bytes that do not begin with the magic of a TPMS_ATTEST, so it can be made to.
    chip = forge.maker.chip(TPM)
    evidence = chip.state(chip.pkix_says(KEY, NONCE))
    assert evidence.statement_type == PKIX_EVIDENCE
    verdict = appraise(chip.bundle(evidence), spki(KEY), endorsements, now)
    assert findings(verdict) == ["evidence.statement.unendorsed"]


def test_an_apdu_chip_cannot_pass_for_a_tpm(forge: Forge, endorsements: Endorsements, now: datetime) -> None:
    chip = forge.maker.chip(APDU)
    evidence = chip.state(chip.tpm_says(KEY, NONCE))
    assert evidence.statement_type == TCG_ATTEST_TPM_CERTIFY
    verdict = appraise(chip.bundle(evidence), spki(KEY), endorsements, now)
    assert findings(verdict) == ["evidence.statement.unendorsed"]


# --- 4. signature


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_a_software_key_cannot_stand_in_for_the_ak(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    chip = forge.maker.chip(model)
    imposter = Chip(model, chip.serial, chip.ak_certificate, new_key())
    assert findings(appraise(good_bundle(imposter), spki(KEY), endorsements, now)) == ["evidence.signature"]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_one_chips_statement_with_another_chips_certificate_is_refused(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    one, other = forge.maker.chip(model), forge.maker.chip(model)
    bundle = other.bundle(one.attest(KEY, NONCE))
    assert findings(appraise(bundle, spki(KEY), endorsements, now)) == ["evidence.signature"]


# --- 6. key


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_board_as_evidence_with_board_bs_key_is_refused(
    forge: Forge, endorsements: Endorsements, now: datetime, model: Model
) -> None:
    a, b = forge.device("BM-000001", model=model), forge.device("BM-000002", model=model)
    assert findings(appraise(a.bundle, b.spki, endorsements, now)) == ["evidence.key.mismatch"]


# --- whatever the bytes are


@given(st.binary(max_size=300), st.binary(max_size=100))
def test_any_bytes_get_a_verdict(data: bytes, key: bytes) -> None:
    verdict = appraise(data, key, ENDORSEMENTS, NOW)
    assert verdict.findings
    assert verdict.attested is None


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
@given(data=st.data())
def test_any_damage_gets_a_verdict_and_no_acceptance(model: Model, data: st.DataObject) -> None:
    device = DEVICES[model.id]
    changed = data.draw(damaged(device.bundle))
    verdict = appraise(changed, device.spki, ENDORSEMENTS, NOW)
    assert bool(verdict.findings) == (changed != device.bundle)


FORGE = Forge.at(NOW)
ENDORSEMENTS = FORGE.endorsements()
DEVICES = {model.id: FORGE.device("BM-000001", model=model) for model in MODELS}
