# SPDX-License-Identifier: Apache-2.0
"""The device certificate: what is decided, what is linted, what is signed, once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_PE_CMW
from birthmark.pki import extensions
from birthmark.pki.algorithms import KeyAlgorithm, is_canonical_spki, key_algorithm
from birthmark.pki.authorities import new_serial
from birthmark.pki.cmw import Record, read_cmw, read_cmw_record
from birthmark.pki.errors import ProfileRefused
from birthmark.pki.keys.software import generate
from birthmark.pki.names import device_subject, read_hardware_module_name
from birthmark.pki.profiles import (
    DEVICE,
    DEVICE_CERTIFICATE_MAX_BYTES,
    DEVICE_PRIVATE,
    IDEVID,
    KINDS,
    NO_WELL_DEFINED_END,
    PQ_CERTIFICATE_MAX_BYTES,
    AlgorithmPolicy,
    DeviceProfile,
    PreparedCertificate,
    ProfileKind,
    lint,
    prepare,
    sign,
)
from support.hierarchy import AT, BUNDLE, CHIP, PROFILE, device_certificate, hierarchy, identity
from support.openssl import made_by_openssl

PKI = hierarchy()
ISSUER = PKI.issuing
SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


Extension = x509.Extension[x509.ExtensionType]
SERVER_TOO = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
PRIVATE: DeviceProfile = replace(PROFILE, kind=DEVICE_PRIVATE)
FACTORY: DeviceProfile = replace(PROFILE, kind=IDEVID)
ISSUERS = {algorithm: hierarchy(algorithm=algorithm).issuing for algorithm in KeyAlgorithm}


def new_spki(algorithm: KeyAlgorithm) -> bytes:
    return generate(algorithm).public_key().public_bytes(*SPKI)


def prepared(**changes: object) -> PreparedCertificate:
    return prepare(PROFILE, identity(**changes), ISSUER.certificate, AT, new_serial())


CANDIDATE = prepared()


def test_the_certificate_says_what_the_design_says() -> None:
    certificate = device_certificate(ISSUER)
    assert certificate.subject == device_subject("BM-000001", "Controller", "Acme Controls")
    assert certificate.not_valid_before_utc == AT - timedelta(hours=1)
    assert certificate.not_valid_after_utc == AT + timedelta(days=1825)
    assert read_hardware_module_name(certificate) == CHIP
    assert read_cmw(certificate) == BUNDLE
    assert {e.oid for e in certificate.extensions if e.critical} == {x509.KeyUsage.oid, x509.BasicConstraints.oid}
    assert not certificate.extensions.get_extension_for_oid(ID_PE_CMW).critical
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert len(certificate.public_bytes(Encoding.DER)) <= DEVICE_CERTIFICATE_MAX_BYTES


def test_the_same_arguments_give_the_same_bytes() -> None:
    device, serial = identity(), new_serial()
    first, second = (lint(prepare(PROFILE, device, ISSUER.certificate, AT, serial)) for _ in range(2))
    assert first.take() == second.take()


def test_a_certificate_is_signed_once() -> None:
    linted = lint(prepared())
    sign(linted, ISSUER.key, ISSUER.certificate)
    with pytest.raises(ProfileRefused) as refused:
        sign(linted, ISSUER.key, ISSUER.certificate)
    assert refused.value.finding == "pki.profile.used"


def test_a_key_that_is_not_the_issuers_signs_nothing_that_leaves() -> None:
    with pytest.raises(ProfileRefused) as refused:
        sign(lint(prepared()), generate(KeyAlgorithm.P256), ISSUER.certificate)
    assert refused.value.finding == "pki.profile.signature"


def test_another_issuer_than_the_prepared_one_is_refused() -> None:
    with pytest.raises(ProfileRefused) as refused:
        sign(lint(prepared()), PKI.operations.key, PKI.operations.certificate)
    assert refused.value.finding == "pki.profile.issuer"


def test_a_p384_issuer_signs_a_p256_device() -> None:
    issuer = hierarchy(algorithm=KeyAlgorithm.P384).issuing
    assert device_certificate(issuer).signature_hash_algorithm.name == "sha384"  # type: ignore[union-attr] # ECDSA has one


def test_an_algorithm_that_the_profile_lacks_is_refused() -> None:
    with pytest.raises(ProfileRefused) as refused:
        prepared(spki=generate(KeyAlgorithm.P384).public_key().public_bytes(*SPKI))
    assert refused.value.finding == "pki.profile.algorithm"


def test_an_rsa_key_is_refused() -> None:
    with pytest.raises(ProfileRefused) as refused:
        prepared(spki=rsa.generate_private_key(65537, 2048).public_key().public_bytes(*SPKI))
    assert refused.value.finding == "pki.profile.algorithm"


def test_bytes_that_are_no_key_are_refused() -> None:
    with pytest.raises(DecodeError):
        prepared(spki=b"no key")


@pytest.mark.parametrize(
    ("at", "issued"),
    [(datetime(2026, 12, 31, 23, 59, tzinfo=UTC), True), (datetime(2027, 1, 1, tzinfo=UTC), False)],
    ids=["the last day", "the day after"],
)
def test_an_algorithm_is_issued_until_its_last_day(at: datetime, *, issued: bool) -> None:
    profile = replace(PROFILE, algorithms=(AlgorithmPolicy(KeyAlgorithm.P256, date(2026, 12, 31)),))
    if issued:
        prepare(profile, identity(), ISSUER.certificate, at, new_serial())
        return
    with pytest.raises(ProfileRefused) as refused:
        prepare(profile, identity(), ISSUER.certificate, at, new_serial())
    assert refused.value.finding == "pki.profile.retired"


def refused_by_lint(candidate: PreparedCertificate) -> str:
    with pytest.raises(ProfileRefused) as refused:
        lint(candidate)
    return refused.value.finding


def test_lint_refuses_a_certificate_that_no_chip_can_hold() -> None:
    assert refused_by_lint(prepared(bundle=bytes(DEVICE_CERTIFICATE_MAX_BYTES - 600))) == "pki.lint.size"


def test_lint_refuses_a_short_serial() -> None:
    assert refused_by_lint(prepare(PROFILE, identity(), ISSUER.certificate, AT, 7)) == "pki.lint.serial"


def test_lint_refuses_a_certificate_that_outlives_its_issuer() -> None:
    late = ISSUER.certificate.not_valid_after_utc - timedelta(days=300)
    profile = replace(PROFILE, algorithms=(AlgorithmPolicy(KeyAlgorithm.P256, date.max),))
    candidate = prepare(profile, identity(), ISSUER.certificate, late, new_serial())
    assert refused_by_lint(candidate) == "pki.lint.validity"


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"unit_serial": "BM-000002"}, "pki.lint.names"),
        ({"bundle": b"\x30\x00"}, "pki.lint.evidence"),
        ({"spki": generate(KeyAlgorithm.P256).public_key().public_bytes(*SPKI)}, "pki.lint.key"),
        ({"chip": replace(CHIP, serial="FEDCBA9876543210")}, "pki.lint.names"),
    ],
    ids=["unit", "evidence", "key", "chip"],
)
def test_lint_compares_the_encoding_with_what_was_asked_for(change: dict[str, object], finding: str) -> None:
    candidate = prepared()
    assert refused_by_lint(replace(candidate, identity=replace(candidate.identity, **change))) == finding  # type: ignore[arg-type] # one field each


def written_by_pyca(
    candidate: PreparedCertificate, change: Callable[[list[Extension]], list[Extension]] = list
) -> PreparedCertificate:
    """The same certificate, written by pyca's builder from what pyca reads in it, with its extensions changed."""
    whole = candidate.press.blank.closed(candidate.tbs, bytes(72))
    read = x509.load_der_x509_certificate(whole)
    builder = x509.CertificateBuilder(
        read.issuer,
        read.subject,
        read.public_key(),
        read.serial_number,
        read.not_valid_before_utc.replace(tzinfo=None),
        read.not_valid_after_utc.replace(tzinfo=None),
    )
    for extension in change(list(read.extensions)):
        builder = builder.add_extension(extension.value, extension.critical)
    return replace(candidate, tbs=builder.sign(ISSUER.key, hashes.SHA256()).tbs_certificate_bytes)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_is_put_together_by_hand_is_what_pyca_would_encode(kind: ProfileKind) -> None:
    candidate = prepare(replace(PROFILE, kind=kind), identity(result=b"EAR"), ISSUER.certificate, AT, new_serial())
    assert written_by_pyca(candidate).tbs == candidate.tbs


def test_lint_refuses_an_extension_that_is_not_in_the_profile() -> None:
    extra = x509.Extension(x509.OCSPNoCheck.oid, False, x509.OCSPNoCheck())  # noqa: FBT003 pyca's order
    assert refused_by_lint(written_by_pyca(prepared(), lambda own: [*own, extra])) == "pki.lint.extensions"


@pytest.mark.parametrize("value", [extensions.authority(0), extensions.SIGNS_CERTIFICATES, SERVER_TOO], ids=type)
def test_lint_refuses_rights_beyond_a_clients(value: x509.ExtensionType) -> None:
    def swapped(own: list[Extension]) -> list[Extension]:
        return [x509.Extension(e.oid, e.critical, value) if e.oid == value.oid else e for e in own]

    assert refused_by_lint(written_by_pyca(prepared(), swapped)) == "pki.lint.rights"


def test_lint_refuses_the_key_identifier_of_another_key() -> None:
    other = extensions.subject_key_identifier(generate(KeyAlgorithm.P256).public_key())

    def swapped(own: list[Extension]) -> list[Extension]:
        return [x509.Extension(e.oid, e.critical, other) if e.oid == other.oid else e for e in own]

    assert refused_by_lint(written_by_pyca(prepared(), swapped)) == "pki.lint.key"


@settings(max_examples=500)
@given(cut=st.integers(0, 1400), flipped=st.integers(0, 7))
def test_no_byte_of_what_was_linted_can_be_changed_unseen(cut: int, flipped: int) -> None:
    """Whatever lint lets through says what was asked for: a changed bit is seen, wherever it is."""
    candidate = CANDIDATE
    at = cut % len(candidate.tbs)
    changed = bytearray(candidate.tbs)
    changed[at] ^= 1 << flipped
    assert refused_by_lint(replace(candidate, tbs=bytes(changed))).startswith("pki.lint.")


@pytest.mark.parametrize(
    "serial", [0, -5, 1 << 200], ids=["nought", "negative", "too long for RFC 5280, and encodable all the same"]
)
def test_a_serial_that_cannot_be_is_refused(serial: int) -> None:
    with pytest.raises(ProfileRefused):
        lint(prepare(PROFILE, identity(), ISSUER.certificate, AT, serial))


def test_every_kind_has_a_rule_for_each_thing_that_it_promises() -> None:
    common = {"size", "serial", "extensions", "names", "rights", "key", "validity"}
    assert {name: set(kind.rules) - common for name, kind in KINDS.items()} == {
        "device": {"evidence"},
        "device-private": {"result"},
        "idevid": {"evidence"},
    }
    assert all(common < set(kind.rules) for kind in KINDS.values())


def test_a_private_certificate_carries_the_result_and_not_a_byte_of_the_evidence() -> None:
    certificate = device_certificate(ISSUER, profile=PRIVATE, result=b"a signed result")
    assert read_cmw_record(certificate) == (Record.RESULT, b"a signed result")
    assert BUNDLE not in certificate.public_bytes(Encoding.DER)
    with pytest.raises(DecodeError) as refused:
        read_cmw(certificate)
    assert refused.value.finding == "cmw.result"


def test_a_private_certificate_needs_a_result() -> None:
    with pytest.raises(ProfileRefused) as refused:
        prepare(PRIVATE, identity(), ISSUER.certificate, AT, new_serial())
    assert refused.value.finding == "pki.profile.result"


def test_lint_refuses_a_private_certificate_with_the_evidence_inside() -> None:
    candidate = prepare(PRIVATE, identity(result=b"wraps " + BUNDLE), ISSUER.certificate, AT, new_serial())
    assert refused_by_lint(candidate) == "pki.lint.result"


def test_lint_refuses_another_result_than_was_made() -> None:
    candidate = prepare(PRIVATE, identity(result=b"one"), ISSUER.certificate, AT, new_serial())
    assert refused_by_lint(replace(candidate, identity=replace(candidate.identity, result=b"two"))) == "pki.lint.result"


def test_an_idevid_has_no_well_defined_end_and_no_extended_key_usage() -> None:
    certificate = device_certificate(ISSUER, profile=FACTORY)
    assert certificate.not_valid_after_utc == NO_WELL_DEFINED_END
    assert certificate.not_valid_before_utc == AT - timedelta(hours=1)
    assert certificate.public_bytes(Encoding.DER).count(b"\x18\x0f99991231235959Z") == 1
    assert read_hardware_module_name(certificate) == CHIP
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)


def test_lint_refuses_an_idevid_with_an_end() -> None:
    ended = replace(FACTORY, kind=replace_end(IDEVID))
    assert refused_by_lint(prepare(ended, identity(), ISSUER.certificate, AT, new_serial())) == "pki.lint.validity"


def test_lint_refuses_an_idevid_from_before_its_issuer() -> None:
    early = replace(FACTORY, backdate_s=2 * 3600)
    assert refused_by_lint(prepare(early, identity(), ISSUER.certificate, AT, new_serial())) == "pki.lint.validity"


@pytest.mark.parametrize("device", KeyAlgorithm)
@pytest.mark.parametrize("issuer", KeyAlgorithm)
def test_every_kind_of_key_is_certified_by_every_other(device: KeyAlgorithm, issuer: KeyAlgorithm) -> None:
    authority = ISSUERS[issuer]
    profile = replace(PROFILE, algorithms=(AlgorithmPolicy(device, date.max, PQ_CERTIFICATE_MAX_BYTES),))
    certificate = device_certificate(authority, profile=profile, spki=new_spki(device))
    assert certificate.signature_algorithm_oid == issuer.signature_oid
    assert key_algorithm(certificate.public_key()) is device
    certificate.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_certificate_must_fit_the_chip_that_makes_such_keys(algorithm: KeyAlgorithm) -> None:
    policy = AlgorithmPolicy(algorithm, date.max)
    fits = policy.certificate_max_bytes
    assert fits == (PQ_CERTIFICATE_MAX_BYTES if "ML-DSA" in algorithm.value else DEVICE_CERTIFICATE_MAX_BYTES)
    profile = replace(PROFILE, algorithms=(replace(policy, max_bytes=fits - 1),))
    candidate = prepare(profile, identity(spki=new_spki(algorithm)), ISSUER.certificate, AT, new_serial())
    size = len(candidate.tbs) + 12 + 3 + 72
    lint(replace(candidate, max_bytes=size + 9))
    assert refused_by_lint(replace(candidate, max_bytes=size - 9)) == "pki.lint.size"


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_has_one_spelling(algorithm: KeyAlgorithm) -> None:
    spki = new_spki(algorithm)
    assert is_canonical_spki(spki, algorithm)
    assert not is_canonical_spki(spki + b"\0", algorithm)


def test_a_compressed_point_is_another_spelling() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    algorithm = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
    spelled = der.wrap(0x30, algorithm, der.wrap(0x03, b"\0", point))
    with pytest.raises(DecodeError, match="another spelling"):
        prepared(spki=spelled)


def test_an_issuer_with_a_key_that_we_do_not_sign_with_is_refused(tmp_path: Path) -> None:
    made = made_by_openssl(
        tmp_path, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rsa", "-keyout", "key.pem"
    )
    with pytest.raises(ProfileRefused) as refused:
        prepare(PROFILE, identity(), x509.load_pem_x509_certificate(made), AT, new_serial())
    assert refused.value.finding == "pki.profile.issuer"


def replace_end(kind: ProfileKind) -> ProfileKind:
    return ProfileKind(name=kind.name, purposes=kind.purposes, record=kind.record, rules=kind.rules, end=DEVICE.end)
