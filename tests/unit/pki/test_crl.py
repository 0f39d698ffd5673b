# SPDX-License-Identifier: Apache-2.0
"""Revocation lists: built by us, judged by openssl, read strictly."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.crl import CRL_MAX_BYTES, RevokedCertificate, build_crl, read_crl
from birthmark.pki.errors import RevocationError
from birthmark.pki.keys.software import generate
from support.hierarchy import AT, device_certificate, hierarchy
from support.openssl import openssl

HOUR_S = 3600
PKI = hierarchy()
KEY, ISSUER = PKI.issuing.key, PKI.issuing.certificate
REVOKED = (
    RevokedCertificate(17, AT - timedelta(days=3), x509.ReasonFlags.superseded),
    RevokedCertificate(1 << 126, AT - timedelta(days=2)),
)
LIST = build_crl(REVOKED, KEY, ISSUER, AT, HOUR_S)


def refusal(data: bytes, *, seconds: float = 0.0, issuer: x509.Certificate = ISSUER) -> str:
    with pytest.raises(RevocationError) as refused:
        read_crl(data, issuer, AT + timedelta(seconds=seconds))
    return refused.value.finding


def test_what_is_built_is_read() -> None:
    revocations = read_crl(LIST, ISSUER, AT)
    assert revocations.serials == {17, 1 << 126}
    assert (revocations.this_update, revocations.next_update) == (AT, AT + timedelta(hours=1))


def test_an_empty_list_is_read() -> None:
    assert read_crl(build_crl((), KEY, ISSUER, AT, HOUR_S), ISSUER, AT).serials == frozenset()


def test_numbers_grow_with_time() -> None:
    later = build_crl((), KEY, ISSUER, AT + timedelta(milliseconds=1500), HOUR_S)
    assert read_crl(later, ISSUER, AT + timedelta(seconds=2)).number > read_crl(LIST, ISSUER, AT).number


def test_a_reason_is_given_unless_it_is_unspecified() -> None:
    parsed = x509.load_der_x509_crl(LIST)
    superseded, unspecified = parsed.get_revoked_certificate_by_serial_number(17), parsed[1]
    assert superseded is not None
    assert superseded.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded
    assert len(unspecified.extensions) == 0


def test_openssl_refuses_a_device_on_the_list(tmp_path: Path) -> None:
    device = device_certificate(PKI.issuing)
    for name, certificate in (("root", PKI.root.certificate), ("issuing", ISSUER), ("device", device)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    for revoked in ((), (RevokedCertificate(device.serial_number, AT),)):
        parsed = x509.load_der_x509_crl(build_crl(revoked, KEY, ISSUER, AT, HOUR_S))
        (tmp_path / "list.pem").write_bytes(parsed.public_bytes(Encoding.PEM))
        strictly = ("verify", "-x509_strict", "-crl_check", "-attime", str(int(AT.timestamp()) + 1))
        files = ("-CRLfile", "list.pem", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "device.pem")
        judged = openssl(tmp_path, *strictly, *files)
        assert (judged.returncode == 0) is not bool(revoked)
        assert (b"certificate revoked" in judged.stderr) is bool(revoked)


@pytest.mark.parametrize(
    ("seconds", "finding"), [(HOUR_S, "pki.crl.stale"), (-1, "pki.crl.not-yet-valid")], ids=["stale", "from the future"]
)
def test_a_list_outside_its_time_is_refused(seconds: float, finding: str) -> None:
    assert refusal(LIST, seconds=seconds) == finding


def test_a_list_of_another_ca_is_refused() -> None:
    assert refusal(LIST, issuer=PKI.operations.certificate) == "pki.crl.issuer"


def test_a_list_of_the_same_name_and_another_key_is_refused() -> None:
    assert refusal(LIST, issuer=hierarchy().issuing.certificate) == "pki.crl.signature"


def builder() -> x509.CertificateRevocationListBuilder:
    start = x509.CertificateRevocationListBuilder().issuer_name(ISSUER.subject)
    return start.last_update(AT).next_update(AT + timedelta(hours=1))


def signed(made: x509.CertificateRevocationListBuilder) -> bytes:
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def test_a_delta_list_is_refused() -> None:
    made = builder().add_extension(x509.CRLNumber(2), critical=False)
    assert refusal(signed(made.add_extension(x509.DeltaCRLIndicator(1), critical=True))) == "pki.crl.malformed"


def test_a_list_without_a_number_is_refused() -> None:
    assert refusal(signed(builder())) == "pki.crl.malformed"


def test_a_line_with_a_critical_extension_is_refused() -> None:
    line = x509.RevokedCertificateBuilder().serial_number(5).revocation_date(AT)
    line = line.add_extension(x509.CertificateIssuer([x509.DirectoryName(ISSUER.subject)]), critical=True)
    made = builder().add_extension(x509.CRLNumber(2), critical=False).add_revoked_certificate(line.build())
    assert refusal(signed(made)) == "pki.crl.malformed"


@pytest.mark.parametrize("data", [b"", LIST + b"\x00", LIST[:-1], bytes(CRL_MAX_BYTES + 1)])
def test_a_damaged_list_is_refused(data: bytes) -> None:
    assert refusal(data) == "pki.crl.malformed"


@given(at=st.integers(0, len(LIST) - 1), flips=st.integers(1, 255))
def test_an_altered_list_is_refused_and_nothing_else_is_raised(at: int, flips: int) -> None:
    altered = bytearray(LIST)
    altered[at] ^= flips
    with pytest.raises(RevocationError):
        read_crl(bytes(altered), ISSUER, AT)


def test_a_p384_issuer_signs_its_list_with_sha384() -> None:
    issuing = hierarchy(algorithm=KeyAlgorithm.P384).issuing
    data = build_crl((), issuing.key, issuing.certificate, AT, HOUR_S)
    assert read_crl(data, issuing.certificate, AT).serials == frozenset()
    with pytest.raises(RevocationError):
        read_crl(build_crl((), generate(KeyAlgorithm.P384), issuing.certificate, AT, HOUR_S), issuing.certificate, AT)
