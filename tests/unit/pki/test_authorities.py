# SPDX-License-Identifier: Apache-2.0
"""What a ceremony and a lab make, with openssl as the judge."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.registry import ID_KP_ATTESTATION_KEY, TCG_HW_TYPE_TPM20, TCG_KP_AIK_CERTIFICATE
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import (
    ChipName,
    TPMName,
    make_ak_ca,
    make_ak_certificate,
    make_legacy,
    make_ocsp_responder,
    make_rig,
    make_root,
    make_signer,
    make_tls_server,
    new_serial,
)
from birthmark.pki.errors import PathError
from birthmark.pki.keys.software import generate
from birthmark.pki.names import read_hardware_module_name
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from support.hierarchy import AT, CHIP, Hierarchy, device_certificate, hierarchy
from support.openssl import made_by_openssl

PUBLIC = generate(KeyAlgorithm.P256).public_key()
APDU_CHIP = ChipName("0123456789ABCDEF", CHIP.hw_type)
TPM_CHIP = ChipName("0123456789ABCDEF", TCG_HW_TYPE_TPM20, TPMName("id:49465800", "SLB 9670", "id:00070055"))


@pytest.fixture(scope="module")
def pki() -> Hierarchy:
    return hierarchy()


def verify(
    directory: Path, purpose: str, root: x509.Certificate, between: x509.Certificate, leaf: x509.Certificate
) -> None:
    for name, certificate in (("root", root), ("between", between), ("leaf", leaf)):
        (directory / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    strictly = ("verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(AT.timestamp())))
    made_by_openssl(directory, *strictly, "-CAfile", "root.pem", "-untrusted", "between.pem", "leaf.pem")


def test_openssl_accepts_a_tls_server(pki: Hierarchy, tmp_path: Path) -> None:
    leaf = make_tls_server(pki.operations, PUBLIC, AT)
    verify(tmp_path, "sslserver", pki.root.certificate, pki.operations.certificate, leaf)
    shown = made_by_openssl(tmp_path, "x509", "-in", "leaf.pem", "-noout", "-ext", "subjectAltName")
    assert b"DNS:localhost, IP Address:127.0.0.1" in shown


def test_openssl_accepts_an_ocsp_responder_under_the_ca_that_it_answers_for(pki: Hierarchy, tmp_path: Path) -> None:
    leaf = make_ocsp_responder(pki.issuing, "OCSP 1", PUBLIC, AT)
    verify(tmp_path, "ocsphelper", pki.root.certificate, pki.issuing.certificate, leaf)
    shown = made_by_openssl(tmp_path, "x509", "-in", "leaf.pem", "-noout", "-text")
    assert b"OCSP Signing" in shown
    assert b"OCSP No Check" in shown


def test_a_signer_of_documents_is_no_client_and_no_ca(pki: Hierarchy, tmp_path: Path) -> None:
    leaf = make_signer(pki.operations, "Verifier 1", PUBLIC, AT)
    verify(tmp_path, "any", pki.root.certificate, pki.operations.certificate, leaf)
    with pytest.raises(PathError) as refused:
        validate_path(leaf, [pki.operations.certificate], TrustAnchors((pki.root.certificate,)), AT, Purpose.CLIENT)
    assert refused.value.finding == "pki.path.purpose"


def test_openssl_accepts_rigs_devices_and_legacy_units_as_tls_clients(pki: Hierarchy, tmp_path: Path) -> None:
    root = pki.root.certificate
    verify(tmp_path, "sslclient", root, pki.operations.certificate, make_rig(pki.operations, "rig-a", PUBLIC, AT))
    verify(tmp_path, "sslclient", root, pki.issuing.certificate, device_certificate(pki.issuing))
    verify(tmp_path, "sslclient", root, root, make_legacy(pki.root, "X1", PUBLIC, AT))


@pytest.mark.parametrize("chip", [APDU_CHIP, TPM_CHIP], ids=["apdu", "tpm"])
def test_openssl_accepts_an_attestation_key_under_its_maker(chip: ChipName, tmp_path: Path) -> None:
    maker = make_root("Chips Inc", "Chips Attestation Root", generate(KeyAlgorithm.P256), AT)
    ak_ca = make_ak_ca(maker, "Chips AK CA 1", generate(KeyAlgorithm.P256), AT)
    verify(tmp_path, "any", maker.certificate, ak_ca.certificate, make_ak_certificate(ak_ca, chip, PUBLIC, AT))


@pytest.mark.parametrize(
    ("chip", "usage"), [(APDU_CHIP, ID_KP_ATTESTATION_KEY), (TPM_CHIP, TCG_KP_AIK_CERTIFICATE)], ids=["apdu", "tpm"]
)
def test_an_attestation_keys_certificate_names_chip_and_use_and_stays_small(
    pki: Hierarchy, chip: ChipName, usage: x509.ObjectIdentifier
) -> None:
    certificate = make_ak_certificate(pki.operations, chip, PUBLIC, AT)
    assert read_hardware_module_name(certificate).serial == chip.serial
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    assert len(certificate.public_bytes(Encoding.DER)) < 600


def test_a_tpms_certificate_carries_the_tcg_names(pki: Hierarchy) -> None:
    certificate = make_ak_certificate(pki.operations, TPM_CHIP, PUBLIC, AT)
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (directory,) = san.get_values_for_type(x509.DirectoryName)
    assert [attribute.value for attribute in directory] == ["id:49465800", "SLB 9670", "id:00070055"]


def test_validity_begins_an_hour_early(pki: Hierarchy) -> None:
    certificate = make_rig(pki.operations, "rig-a", PUBLIC, AT, days=7)
    assert certificate.not_valid_before_utc == AT - timedelta(hours=1)
    assert certificate.not_valid_after_utc == AT + timedelta(days=7)


def test_key_identifiers_are_sha256_and_chain(pki: Hierarchy) -> None:
    own = pki.root.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    above = pki.issuing.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert above.key_identifier == own.digest
    assert own != x509.SubjectKeyIdentifier.from_public_key(pki.root.key.public_key())  # that would be SHA-1


def test_serials_are_positive_random_and_of_one_length() -> None:
    serials = {new_serial() for _ in range(500)}
    assert len(serials) == 500
    assert {serial.bit_length() for serial in serials} == {127}


def test_an_authority_does_not_show_its_key(pki: Hierarchy) -> None:
    assert "PrivateKey" not in repr(pki.root)
