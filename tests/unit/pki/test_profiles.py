# SPDX-License-Identifier: Apache-2.0
"""The device certificate: what is decided, what is linted, what is signed, once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_PE_CMW
from birthmark.pki import extensions
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import new_serial
from birthmark.pki.cmw import read_cmw
from birthmark.pki.errors import ProfileRefused
from birthmark.pki.keys.software import generate
from birthmark.pki.names import device_subject, read_hardware_module_name
from birthmark.pki.profiles import (
    DEVICE_CERTIFICATE_MAX_BYTES,
    LINT_RULES,
    AlgorithmPolicy,
    PreparedCertificate,
    lint,
    prepare,
    sign,
)
from support.hierarchy import AT, BUNDLE, CHIP, PROFILE, device_certificate, hierarchy, identity

PKI = hierarchy()
ISSUER = PKI.issuing
SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def prepared(**changes: object) -> PreparedCertificate:
    return prepare(PROFILE, identity(**changes), ISSUER.certificate, AT, new_serial())


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


def test_lint_refuses_an_extension_that_is_not_in_the_profile() -> None:
    candidate = prepared()
    extra = candidate.builder.add_extension(x509.OCSPNoCheck(), critical=False)
    assert refused_by_lint(replace(candidate, builder=extra)) == "pki.lint.extensions"


def test_lint_refuses_rights_beyond_a_clients() -> None:
    candidate = prepared()
    builder = x509.CertificateBuilder(
        candidate.builder._issuer_name,
        candidate.builder._subject_name,
        candidate.builder._public_key,
        candidate.builder._serial_number,
        candidate.builder._not_valid_before,
        candidate.builder._not_valid_after,
    )
    for extension in candidate.builder._extensions:
        is_usage = extension.oid == x509.BasicConstraints.oid
        builder = builder.add_extension(extensions.authority(0) if is_usage else extension.value, extension.critical)
    assert refused_by_lint(replace(candidate, builder=builder)) == "pki.lint.rights"


def test_every_lint_rule_has_a_name_for_its_finding() -> None:
    assert list(LINT_RULES) == ["size", "serial", "validity", "extensions", "names", "rights", "evidence", "key"]
