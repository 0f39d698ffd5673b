# SPDX-License-Identifier: Apache-2.0
"""Attestation results: what is written is read, what is forged or damaged is refused, and what changed since counts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.attestation_key import canonical_spki
from birthmark.evidence.ear import (
    EAR_MAX_BYTES,
    NO_SIGNERS,
    AttestationResult,
    ResultSigners,
    VerifierID,
    read_ear,
    stated_evidence,
    write_ear,
)
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.errors import EvidenceError, ResultSignatureError
from birthmark.evidence.result import appraise_result, result_of
from birthmark.evidence.verdict import require
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.authorities import make_root, make_signer
from birthmark.pki.extensions import key_identifier
from birthmark.pki.keys.software import generate
from birthmark.testing.forge import Device, Forge
from support.damage import damaged
from support.hierarchy import AT

SIGNING = [KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519]
KEYS = {algorithm: generate(algorithm) for algorithm in KeyAlgorithm}
VERIFIER = VerifierID("https://ca.example.com", "birthmark 0.1.0")
RESULT = AttestationResult(
    key_sha256="11" * 32,
    evidence_sha256="22" * 32,
    nonce=bytes(range(32)),
    maker="Smith",
    model="optiga-trust-m",
    chip_serial="0123456789ABCDEF",
    firmware="1.0.0",
    certification="CC EAL6+",
    statement_type="1.3.6.1.5.5.999.9",
    ak_sha256="33" * 32,
    policy_sha256="44" * 32,
    verifier=VERIFIER,
    issued_at=AT,
)


def believing(*keys: SigningKey) -> ResultSigners:
    authority = make_root("Acme", "Operations", generate(KeyAlgorithm.P256), AT)
    return ResultSigners.of(make_signer(authority, "verifier", key.public_key(), AT) for key in keys)


SIGNERS = believing(*(KEYS[algorithm] for algorithm in SIGNING))
TOKEN = write_ear(RESULT, KEYS[KeyAlgorithm.ED25519])
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)


@given(
    st.builds(
        AttestationResult,
        key_sha256=DIGEST,
        evidence_sha256=DIGEST,
        nonce=st.binary(min_size=8, max_size=64),
        maker=TEXT,
        model=TEXT,
        chip_serial=TEXT,
        firmware=TEXT,
        certification=TEXT,
        statement_type=TEXT,
        ak_sha256=DIGEST,
        policy_sha256=DIGEST,
        verifier=st.builds(VerifierID, TEXT, TEXT),
        issued_at=st.integers(0, 2**32).map(lambda seconds: AT + timedelta(seconds=seconds)),
    )
)
def test_what_is_written_is_read(result: AttestationResult) -> None:
    assert read_ear(write_ear(result, KEYS[KeyAlgorithm.ED25519]), SIGNERS) == result


def test_which_evidence_it_is_about_can_be_read_without_believing_anybody() -> None:
    assert stated_evidence(TOKEN) == RESULT.evidence_sha256
    with pytest.raises(DecodeError) as refused:
        stated_evidence(TOKEN[:-1])
    assert refused.value.finding == "evidence.result.malformed"


@pytest.mark.parametrize("algorithm", SIGNING)
def test_each_kind_of_signer_is_read(algorithm: KeyAlgorithm) -> None:
    assert read_ear(write_ear(RESULT, KEYS[algorithm]), SIGNERS) == RESULT


def test_it_is_a_cwt_that_cbor2_and_pyca_read_by_the_book() -> None:
    """RFC 9052 §4.2 and §4.4, RFC 8392, and the labels of draft-ietf-rats-ear-04, taken apart without our reader."""
    key = KEYS[KeyAlgorithm.P256]
    token = cbor2.loads(write_ear(RESULT, key))
    assert token.tag == 18
    protected, unprotected, payload, signature = token.value
    assert cbor2.loads(protected) == {1: -7, 4: key_identifier(key.public_key())}
    assert unprotected == {}
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public = key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
    claims = cbor2.loads(payload)
    assert claims[265] == "tag:ietf.org,2026:rats/ear#04"
    assert claims[6] == int(AT.timestamp())
    assert claims[1004] == {0: VERIFIER.developer, 1: VERIFIER.build}
    appraisal = claims[266]["chip"]
    assert (appraisal[1000], appraisal[1001]) == (2, {0: 2, 4: 2})
    assert (appraisal[10], appraisal[1003]) == (RESULT.nonce, ["urn:sha256:" + "44" * 32])


def test_an_ed25519_signature_covers_the_same_structure() -> None:
    protected, _, payload, signature = cbor2.loads(TOKEN).value
    public = KEYS[KeyAlgorithm.ED25519].public_key()
    assert isinstance(public, ed25519.Ed25519PublicKey)
    public.verify(signature, cbor2.dumps(["Signature1", protected, b"", payload]))


@given(damaged(TOKEN))
def test_damage_is_refused(token: bytes) -> None:
    if token == TOKEN:
        return
    with pytest.raises((DecodeError, EvidenceError)) as refused:
        read_ear(token, SIGNERS)
    assert refused.value.finding.startswith("evidence.result.")


@given(st.binary(max_size=200))
def test_what_is_no_result_is_refused_and_nothing_else_is_raised(data: bytes) -> None:
    for token in (data, b"\xd2" + data):
        with pytest.raises((DecodeError, EvidenceError)):
            read_ear(token, SIGNERS)


def test_a_result_of_a_stranger_is_refused() -> None:
    token = write_ear(RESULT, generate(KeyAlgorithm.ED25519))
    for signers in (SIGNERS, NO_SIGNERS):
        with pytest.raises(ResultSignatureError) as refused:
            read_ear(token, signers)
        assert refused.value.finding == "evidence.result.signer"


@pytest.mark.parametrize("algorithm", [a for a in KeyAlgorithm if a not in SIGNING])
def test_a_key_that_signs_no_results_is_refused_on_both_sides(algorithm: KeyAlgorithm) -> None:
    for attempt in (lambda: write_ear(RESULT, KEYS[algorithm]), lambda: believing(KEYS[algorithm])):
        with pytest.raises(EvidenceError) as refused:
            attempt()
        assert refused.value.finding == "evidence.result.signer"


def resigned(change: Callable[[dict[int, object]], None], key: SigningKey | None = None) -> bytes:
    """The token with its claims changed, signed again by the right key."""
    signer = key or KEYS[KeyAlgorithm.ED25519]
    assert isinstance(signer, ed25519.Ed25519PrivateKey)
    protected, _, payload, _ = cbor2.loads(TOKEN).value
    claims = cbor2.loads(payload)
    change(claims)
    payload = cbor2.dumps(claims, canonical=True)
    signature = signer.sign(cbor2.dumps(["Signature1", protected, b"", payload]))
    return b"\xd2" + cbor2.dumps([protected, {}, payload, signature], canonical=True)


def submodule(claims: dict[int, object]) -> dict[int, object]:
    found = claims[266]
    assert isinstance(found, dict)
    return found["chip"]  # type: ignore[no-any-return] # what cbor2 read


WRONG: dict[str, tuple[Callable[[dict[int, object]], object], str]] = {
    "another profile": (lambda c: c.update({265: "tag:ietf.org,2026:rats/ear#03"}), "evidence.result.malformed"),
    "a warning": (lambda c: submodule(c).update({1000: 32}), "evidence.result.status"),
    "contraindicated": (lambda c: submodule(c).update({1000: 96}), "evidence.result.status"),
    "a vector that warns": (lambda c: submodule(c).update({1001: {0: 2, 4: 32}}), "evidence.result.status"),
    "a vector that says nothing of the hardware": (
        lambda c: submodule(c).update({1001: {0: 2}}),
        "evidence.result.status",
    ),
    "no status": (lambda c: submodule(c).pop(1000), "evidence.result.malformed"),
    "a status that is no number": (lambda c: submodule(c).update({1000: True}), "evidence.result.malformed"),
    "two chips": (lambda c: c.update({266: {"chip": submodule(c), "other": {}}}), "evidence.result.malformed"),
    "no chip": (lambda c: c.update({266: {}}), "evidence.result.malformed"),
    "no verifier": (lambda c: c.pop(1004), "evidence.result.malformed"),
    "a digest that is too short": (
        lambda c: submodule(c).update({1006: {-70011: b"short"}}),
        "evidence.result.malformed",
    ),
    "two policies": (
        lambda c: submodule(c).update({1003: ["urn:sha256:" + "44" * 32] * 2}),
        "evidence.result.malformed",
    ),
    "a policy by name": (lambda c: submodule(c).update({1003: ["policy-1"]}), "evidence.result.malformed"),
    "a time beyond all times": (lambda c: c.update({6: 2**63}), "evidence.result.malformed"),
}


@pytest.mark.parametrize(("change", "finding"), WRONG.values(), ids=WRONG)
def test_a_signed_result_that_does_not_say_what_it_must_is_refused(
    change: Callable[[dict[int, object]], None], finding: str
) -> None:
    with pytest.raises((DecodeError, EvidenceError)) as refused:
        read_ear(resigned(change), SIGNERS)
    assert refused.value.finding == finding


def test_a_claim_that_is_not_known_is_passed_over() -> None:
    """Draft §4: a receiver MUST ignore any unknown claim."""
    assert read_ear(resigned(lambda c: c.update({-80000: "news"})), SIGNERS) == RESULT


def test_a_header_that_nobody_signed_is_refused() -> None:
    protected, _, payload, signature = cbor2.loads(TOKEN).value
    token = b"\xd2" + cbor2.dumps([protected, {7: b"loose"}, payload, signature], canonical=True)
    with pytest.raises(DecodeError):
        read_ear(token, SIGNERS)


def test_a_result_fits_a_small_certificate_and_a_long_one_is_refused() -> None:
    assert len(TOKEN) < 560
    long = write_ear(replace(RESULT, certification="x" * EAR_MAX_BYTES), KEYS[KeyAlgorithm.ED25519])
    with pytest.raises(DecodeError, match="at most"):
        read_ear(long, SIGNERS)


# --- what the result stands on -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def device(forge: Forge) -> Device:
    return forge.device("BM-000001")


def token_for(device: Device, endorsements: Endorsements, now: datetime) -> bytes:
    attested = require(appraise(device.bundle, device.spki, endorsements, now))
    return write_ear(result_of(attested, device.bundle, endorsements, VERIFIER, now), KEYS[KeyAlgorithm.P256])


def test_the_result_leads_to_what_the_evidence_would(device: Device, endorsements: Endorsements, now: datetime) -> None:
    by_evidence = require(appraise(device.bundle, device.spki, endorsements, now))
    token = token_for(device, endorsements, now)
    assert require(appraise_result(token, device.spki, SIGNERS, endorsements, now)) == by_evidence


def test_a_result_about_another_key_is_refused(device: Device, endorsements: Endorsements, now: datetime) -> None:
    spki = canonical_spki(generate(KeyAlgorithm.P256).public_key())
    verdict = appraise_result(token_for(device, endorsements, now), spki, SIGNERS, endorsements, now)
    assert [finding.id for finding in verdict.findings] == ["evidence.key.mismatch"]


def test_a_result_from_the_future_is_refused(device: Device, endorsements: Endorsements, now: datetime) -> None:
    token = token_for(device, endorsements, now)
    early = now - timedelta(minutes=6)
    verdict = appraise_result(token, device.spki, SIGNERS, endorsements, early)
    assert [finding.id for finding in verdict.findings] == ["evidence.result.future"]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda forge, _device: forge.endorsements(withdrawn=forge.moment), "evidence.model.withdrawn"),
        (lambda forge, _device: forge.endorsements(models=()), "evidence.model.unknown"),
        (
            lambda forge, device: replace(
                forge.endorsements(), denied_chips=frozenset({(forge.maker.name, device.chip.serial)})
            ),
            "evidence.chip.denied",
        ),
        (
            lambda forge, device: replace(forge.endorsements(), denied_aks=frozenset({ak_fingerprint(device, forge)})),
            "evidence.ak.denied",
        ),
        (lambda forge, _device: with_model(forge, denied_firmware=("1.0.0",)), "evidence.firmware.denied"),
        (lambda forge, _device: with_model(forge, minimum_firmware=(9, 0)), "evidence.firmware.minimum"),
        (lambda forge, _device: with_model(forge, deliveries=()), "evidence.chip.undelivered"),
    ],
    ids=["withdrawn", "not endorsed", "chip denied", "AK denied", "firmware denied", "firmware too old", "undelivered"],
)
def test_what_is_known_today_counts(
    forge: Forge, device: Device, now: datetime, change: Callable[[Forge, Device], Endorsements], finding: str
) -> None:
    told = require(appraise(device.bundle, device.spki, forge.endorsements(), now)).chip.firmware
    token = token_for(device, forge.endorsements(), now)
    assert told == "1.0.0"
    verdict = appraise_result(token, device.spki, SIGNERS, change(forge, device), now)
    assert [each.id for each in verdict.findings] == [finding]


def with_model(forge: Forge, **changes: object) -> Endorsements:
    endorsed = forge.endorsements()
    return replace(endorsed, models=tuple(replace(model, **changes) for model in endorsed.models))  # type: ignore[arg-type] # one field each


def ak_fingerprint(device: Device, forge: Forge) -> str:
    return require(appraise(device.bundle, device.spki, forge.endorsements(), forge.moment)).ak_fingerprint
