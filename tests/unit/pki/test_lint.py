# SPDX-License-Identifier: Apache-2.0
"""pkilint, the linter of RFC 5280, as a judge of every certificate that we make."""

from dataclasses import replace
from datetime import date

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkilint import loader
from pkilint.pkix import certificate as pkix
from pkilint.pkix import extension, name
from pkilint.validation import ValidationFindingSeverity

from birthmark.core.registry import TCG_HW_TYPE_TPM20
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import (
    ChipName,
    TPMName,
    make_ak_certificate,
    make_legacy,
    make_rig,
    make_tls_server,
)
from birthmark.pki.keys.software import generate
from birthmark.pki.profiles import (
    DEVICE_PRIVATE,
    IDEVID,
    KINDS,
    PQ_CERTIFICATE_MAX_BYTES,
    AlgorithmPolicy,
    ProfileKind,
)
from support.hierarchy import AT, CHIP, PROFILE, device_certificate, hierarchy

# Finding -> why it stays; docs/reference/pkilint-findings.md says it at length. A device's certificate has none.
EXPLAINED = {
    "pkix.certificate_skid_end_entity_missing": "AK certificates travel inside the device's: 31 bytes saved",
    "pkix.invalid_domain_name_syntax": "localhost is a name of the lab's servers and no domain name",
}
PRIVATE = replace(PROFILE, kind=DEVICE_PRIVATE)
FACTORY = replace(PROFILE, kind=IDEVID)
REPORTED = {ValidationFindingSeverity.WARNING, ValidationFindingSeverity.ERROR, ValidationFindingSeverity.FATAL}

PKI = hierarchy()
PUBLIC = generate(KeyAlgorithm.P256).public_key()
TPM = ChipName("0123456789ABCDEF", TCG_HW_TYPE_TPM20, TPMName("id:49465800", "SLB 9670", "id:00070055"))
LINTER = pkix.create_pkix_certificate_validator_container(
    pkix.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS),
    [
        pkix.create_issuer_validator_container([]),
        pkix.create_validity_validator_container(),
        pkix.create_subject_validator_container([]),
        pkix.create_extensions_validator_container([]),
        pkix.create_spki_validator_container([]),
    ],
)


def findings(certificate: x509.Certificate) -> set[str]:
    document = loader.load_certificate(certificate.public_bytes(Encoding.DER), "certificate")
    reported = (found.finding for result in LINTER.validate(document.root) for found in result.finding_descriptions)
    return {finding.code for finding in reported if finding.severity in REPORTED}


def test_the_linter_finds_what_is_wrong() -> None:
    """An unspecific judge would pass everything."""
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(PKI.root.certificate.subject)
    bare = builder.public_key(PUBLIC).serial_number(1).not_valid_before(AT).not_valid_after(AT)
    assert findings(bare.sign(PKI.root.key, PKI.root.certificate.signature_hash_algorithm))


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param(device_certificate(PKI.issuing), id="device"),
        pytest.param(device_certificate(PKI.issuing, profile=PRIVATE, result=b"EAR"), id="device-private"),
        pytest.param(device_certificate(PKI.issuing, profile=FACTORY), id="idevid"),
        pytest.param(PKI.root.certificate, id="root"),
        pytest.param(PKI.issuing.certificate, id="issuing"),
        pytest.param(make_rig(PKI.operations, "rig-a", PUBLIC, AT), id="rig"),
        pytest.param(make_legacy(PKI.root, "X1", PUBLIC, AT), id="legacy"),
        pytest.param(make_tls_server(PKI.operations, PUBLIC, AT, ("ca.example.com", "192.0.2.1")), id="server"),
    ],
)
def test_pkilint_has_nothing_to_report(certificate: x509.Certificate) -> None:
    assert findings(certificate) == set()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_pkilint_has_nothing_to_report_whatever_the_algorithm(algorithm: KeyAlgorithm, kind: ProfileKind) -> None:
    made = hierarchy(algorithm=algorithm)
    policy = AlgorithmPolicy(algorithm, date.max, PQ_CERTIFICATE_MAX_BYTES)
    spki = generate(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    profile = replace(PROFILE, kind=kind, algorithms=(policy,))
    certificate = device_certificate(made.issuing, profile=profile, spki=spki, result=b"EAR")
    for each in (certificate, made.issuing.certificate, made.root.certificate):
        assert findings(each) == set()


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        pytest.param(
            make_ak_certificate(PKI.operations, ChipName(CHIP.serial, CHIP.hw_type), PUBLIC, AT),
            {"pkix.certificate_skid_end_entity_missing"},
            id="attestation key of an APDU chip",
        ),
        pytest.param(
            make_ak_certificate(PKI.operations, TPM, PUBLIC, AT),
            {"pkix.certificate_skid_end_entity_missing"},
            id="attestation key of a TPM",
        ),
        pytest.param(
            make_tls_server(PKI.operations, PUBLIC, AT), {"pkix.invalid_domain_name_syntax"}, id="the lab's server"
        ),
    ],
)
def test_what_pkilint_reports_is_explained(certificate: x509.Certificate, expected: set[str]) -> None:
    assert findings(certificate) == expected
    assert expected <= EXPLAINED.keys()
