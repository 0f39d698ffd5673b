# SPDX-License-Identifier: Apache-2.0
"""The nine steps, one by one. The numbers are those of docs/reference/cloud-verification.md."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birthmark.cloud.verification import Believed, Revocations, verify
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.ear import ResultSigners, VerifierID, write_ear
from birthmark.evidence.result import result_of
from birthmark.evidence.verdict import Verdict, require
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.authorities import make_signer
from birthmark.pki.cmw import Record, cmw_content, cmw_extension, read_cmw_record
from birthmark.pki.keys.software import generate
from birthmark.testing.forge import APDU, TPM, Device, Forge, Model, new_key
from support.cloud_parts import NOW, UNIT, der, revocations, trust_of

OWN_STEPS = [
    "cloud.chain",
    "cloud.time",
    "cloud.purpose",
    "cloud.revocation",
    "cloud.evidence",
    "cloud.appraisal",
    "cloud.key",
    "cloud.chip",
    "cloud.names",
]


def judged(
    forge: Forge,
    leaf: x509.Certificate,
    *,
    at: datetime = NOW,
    revoked: Revocations | None = None,
) -> Verdict:
    return verify(leaf, (), trust_of(forge), Believed(forge.endorsements()), revoked or revocations(forge), at)


def first(verdict: Verdict) -> str:
    return verdict.findings[0].id


def rebuilt(
    forge: Forge,
    certificate: x509.Certificate,
    *,
    subject: x509.Name | None = None,
    drop: x509.ObjectIdentifier | None = None,
    add: x509.ExtensionType | None = None,
    public_key: ec.EllipticCurvePublicKey | None = None,
) -> x509.Certificate:
    """Return the certificate again with one thing changed, signed by the real issuing key."""
    builder = x509.CertificateBuilder(
        certificate.issuer,
        subject or certificate.subject,
        public_key or certificate.public_key(),
        certificate.serial_number,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )
    for extension in certificate.extensions:
        if extension.oid != drop:
            builder = builder.add_extension(extension.value, extension.critical)
    if add is not None:
        builder = builder.add_extension(add, critical=False)
    return builder.sign(forge.issuing.key, hashes.SHA256())


@pytest.mark.parametrize("model", [APDU, TPM], ids=lambda model: model.id)
def test_a_good_certificate_passes_all_nine_steps_in_order(forge: Forge, model: Model) -> None:
    device = forge.device(UNIT, model=model)
    verdict = judged(forge, device.certificate)
    assert [step for step in verdict.steps if step.startswith("cloud.")] == OWN_STEPS
    assert require(verdict).chip.serial == device.chip.serial


def test_step_1_refuses_an_issuer_that_is_not_trusted(forge: Forge) -> None:
    stranger = Forge.at(NOW).device(UNIT)
    assert first(judged(forge, stranger.certificate)) == "cloud.chain.unknown-issuer"


def test_step_1_refuses_a_flipped_signature_bit(forge: Forge, device: Device) -> None:
    flipped = bytearray(der(device.certificate))
    flipped[-1] ^= 1
    verdict = judged(forge, x509.load_der_x509_certificate(bytes(flipped)))
    assert first(verdict) == "cloud.chain.unknown-issuer"
    assert verdict.steps == ()


@pytest.mark.parametrize(
    ("at", "finding"),
    [
        (NOW + timedelta(days=5 * 365, seconds=1), "cloud.chain.expired"),
        (NOW - timedelta(hours=2), "cloud.chain.not-yet-valid"),
        (NOW + timedelta(days=40 * 365), "cloud.chain.expired"),
    ],
)
def test_step_2_refuses_a_certificate_out_of_its_time(forge: Forge, device: Device, at: datetime, finding: str) -> None:
    assert first(judged(forge, device.certificate, at=at)) == finding


def test_step_3_refuses_a_certificate_for_another_purpose(forge: Forge, device: Device) -> None:
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    leaf = rebuilt(forge, device.certificate, drop=ExtensionOID.EXTENDED_KEY_USAGE, add=server)
    assert first(judged(forge, leaf)) == "cloud.chain.purpose"


def test_step_4_refuses_a_revoked_certificate(forge: Forge, device: Device) -> None:
    verdict = judged(forge, device.certificate, revoked=revocations(forge, device.certificate.serial_number))
    assert first(verdict) == "cloud.revoked"
    assert verdict.steps[-1] == "cloud.purpose"


def test_step_4_takes_no_other_cas_list_for_an_answer(forge: Forge, device: Device) -> None:
    assert first(judged(forge, device.certificate, revoked=revocations(Forge.at(NOW)))) == "cloud.revocation-unknown"


def test_without_a_list_step_4_is_not_among_the_steps(forge: Forge, device: Device) -> None:
    verdict = verify(device.certificate, (), trust_of(forge), Believed(forge.endorsements()), None, NOW)
    assert "cloud.revocation" not in verdict.steps
    assert require(verdict).chip.serial == device.chip.serial


def test_step_5_refuses_a_certificate_without_evidence(forge: Forge, device: Device) -> None:
    bare = forge.certify(UNIT, device.chip, device.key.public_key(), None)
    assert first(judged(forge, bare)) == "cloud.evidence.missing"


@pytest.mark.parametrize("cmw", [b"", b"\x04\x00", b"\x04\x01\xff"])
def test_step_5_refuses_malformed_evidence(forge: Forge, device: Device, cmw: bytes) -> None:
    bad = forge.certify(UNIT, device.chip, device.key.public_key(), cmw)
    assert first(judged(forge, bad)) == "cloud.evidence.malformed"


def test_step_6_refuses_evidence_of_a_maker_that_is_not_endorsed(forge: Forge) -> None:
    chip, key = Forge.at(NOW).maker.chip(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), bytes(32)))
    leaf = forge.certify(UNIT, chip, key.public_key(), cmw_extension(bundle).value)
    assert first(judged(forge, leaf)) == "evidence.ak.unendorsed"


def test_step_6_reports_all_that_the_appraisal_found(forge: Forge) -> None:
    chip, key = forge.maker.chip(), new_key()
    says = replace(chip.pkix_says(key.public_key(), bytes(32)), extractable=True, local=False)
    cmw = cmw_extension(chip.bundle(chip.state(says))).value
    verdict = judged(forge, forge.certify(UNIT, chip, key.public_key(), cmw))
    assert {finding.id for finding in verdict.findings} >= {"evidence.key.extractable", "evidence.key.imported"}


def test_steps_6_and_7_refuse_evidence_about_another_key(forge: Forge, device: Device) -> None:
    swapped = rebuilt(forge, device.certificate, public_key=new_key().public_key())
    assert first(judged(forge, swapped)) == "evidence.key.mismatch"


def test_step_8_refuses_a_certificate_that_names_another_chip(forge: Forge, device: Device) -> None:
    other = forge.maker.chip()
    named = forge.certify(UNIT, other, device.key.public_key(), cmw_extension(device.bundle).value)
    assert first(judged(forge, named)) == "cloud.chip.mismatch"


def test_step_8_refuses_a_certificate_that_names_no_chip(forge: Forge, device: Device) -> None:
    bare = rebuilt(forge, device.certificate, drop=ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert first(judged(forge, bare)) == "cloud.chip.malformed"


@pytest.mark.parametrize(
    "serials", [[], ["BM-000001", "BM-000002"], ["bm 1"]], ids=["no serial", "two serials", "not a unit serial"]
)
def test_step_9_refuses_a_subject_that_does_not_name_one_unit(forge: Forge, device: Device, serials: list[str]) -> None:
    names = [x509.NameAttribute(NameOID.SERIAL_NUMBER, serial) for serial in serials]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x"), *names])
    verdict = judged(forge, rebuilt(forge, device.certificate, subject=subject))
    assert first(verdict) == "cloud.names"
    assert verdict.steps[-1] == "cloud.chip"


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a flipped sign bit; pyca warns and goes on
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_flipped_bit_of_a_certificate_is_accepted(forge: Forge, device: Device, data: st.DataObject) -> None:
    flipped = bytearray(der(device.certificate))
    bit = data.draw(st.integers(0, len(flipped) * 8 - 1))
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
        leaf = x509.load_der_x509_certificate(bytes(flipped))
    except (ValueError, x509.InvalidVersion):
        return
    assert judged(forge, leaf).findings


def private(forge: Forge, device: Device, signer: SigningKey) -> x509.Certificate:
    """The device's certificate again, with what a verifier says of the evidence in place of the evidence."""
    attested = require(appraise(device.bundle, device.spki, forge.endorsements(), NOW))
    verifier = VerifierID("https://ca.example.com", "test")
    result = write_ear(result_of(attested, device.bundle, forge.endorsements(), verifier, NOW), signer)
    content = cmw_content(Record.RESULT, result)
    return forge.certify(device.unit, device.chip, device.key.public_key(), content)


def test_a_private_certificate_is_accepted_on_the_word_of_a_verifier_that_is_believed(forge: Forge) -> None:
    device, signer = forge.device(UNIT), generate(KeyAlgorithm.ED25519)
    leaf = private(forge, device, signer)
    signers = ResultSigners.of([make_signer(forge.root, "verifier", signer.public_key(), NOW)])
    verdict = verify(leaf, (), trust_of(forge), Believed(forge.endorsements(), signers), revocations(forge), NOW)
    assert require(verdict).chip.serial == device.chip.serial
    assert [step for step in verdict.steps if step.startswith("cloud.")] == OWN_STEPS
    assert device.bundle not in der(leaf)


def test_a_private_certificate_is_refused_where_no_verifier_is_believed(forge: Forge) -> None:
    leaf = private(forge, forge.device(UNIT), generate(KeyAlgorithm.ED25519))
    assert first(judged(forge, leaf)) == "evidence.result.signer"


def test_a_result_about_another_chip_than_the_certificate_names_is_refused(forge: Forge) -> None:
    device, other, signer = forge.device(UNIT), forge.device(UNIT), generate(KeyAlgorithm.ED25519)
    signers = ResultSigners.of([make_signer(forge.root, "verifier", signer.public_key(), NOW)])
    believed = Believed(forge.endorsements(), signers)
    content = read_cmw_record(private(forge, device, signer))
    swapped = forge.certify(UNIT, other.chip, device.key.public_key(), cmw_content(*content))
    assert first(verify(swapped, (), trust_of(forge), believed, revocations(forge), NOW)) == "cloud.chip.mismatch"
    stolen = forge.certify(UNIT, other.chip, other.key.public_key(), cmw_content(*content))
    assert first(verify(stolen, (), trust_of(forge), believed, revocations(forge), NOW)) == "evidence.key.mismatch"
