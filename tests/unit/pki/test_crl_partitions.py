# SPDX-License-Identifier: Apache-2.0
"""Partitioned lists: which certificate stands where, no list in place of another, judged by openssl."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.registry import CRL_FEED_POSITION
from birthmark.pki import extensions
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import new_serial
from birthmark.pki.crl import PARTITIONS_MAX, Edition, Partition, RevokedCertificate, build_crl, number_at, read_crl
from birthmark.pki.errors import RevocationError
from birthmark.pki.keys.software import generate
from support.hierarchy import AT, hierarchy
from support.openssl import openssl

HOUR_S = 3600
BASE = "http://crl.acme.example/v1/crl"
COUNT = 16
PKI = hierarchy()
KEY, ISSUER = PKI.issuing.key, PKI.issuing.certificate
FIFTH = Partition(BASE, COUNT, 5)
SIXTH = replace(FIFTH, index=6)
SERIALS = st.integers(1, (1 << 159) - 1)


def built(partition: Partition | None, *serials: int, number: int = 7, position: int | None = None) -> bytes:
    entries = [RevokedCertificate(serial, AT) for serial in serials]
    return build_crl(entries, KEY, ISSUER, AT, HOUR_S, Edition(number, partition, position))


def refusal(data: bytes, partition: Partition | None) -> str:
    with pytest.raises(RevocationError) as refused:
        read_crl(data, ISSUER, AT, partition)
    return refused.value.finding


@given(serial=SERIALS, count=st.integers(1, PARTITIONS_MAX))
def test_each_serial_belongs_to_exactly_one_partition(serial: int, count: int) -> None:
    own = Partition.of(serial, BASE, count)
    assert own.covers(serial)
    assert count == 1 or not replace(own, index=(own.index + 1) % count).covers(serial)


@pytest.mark.parametrize(("count", "index"), [(0, 0), (PARTITIONS_MAX + 1, 0), (4, 4), (4, -1)])
def test_a_partition_out_of_range_is_refused(count: int, index: int) -> None:
    with pytest.raises(RevocationError) as refused:
        Partition(BASE, count, index)
    assert refused.value.finding == "pki.crl.partition"
    with pytest.raises(RevocationError):
        Partition.of(5, BASE, 0)


def test_a_partition_is_read_as_the_one_that_was_asked_for() -> None:
    revocations = read_crl(built(FIFTH, 5, 21, position=41), ISSUER, AT, FIFTH)
    assert revocations.serials == {5, 21}
    assert (revocations.number, revocations.partition, revocations.feed_position) == (7, FIFTH, 41)


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        pytest.param(built(SIXTH), FIFTH, id="another partition"),
        pytest.param(built(FIFTH), replace(FIFTH, count=32), id="another count"),
        pytest.param(built(FIFTH), replace(FIFTH, base="http://crl.other.example/v1/crl"), id="another publisher"),
        pytest.param(built(FIFTH), None, id="a partition for the full list"),
        pytest.param(built(None), FIFTH, id="the full list for a partition"),
    ],
)
def test_no_list_takes_the_place_of_another(data: bytes, asked: Partition | None) -> None:
    assert refusal(data, asked) == "pki.crl.partition"


def test_a_line_of_another_partition_is_not_signed() -> None:
    with pytest.raises(RevocationError) as refused:
        built(FIFTH, 5, 6)
    assert refused.value.finding == "pki.crl.partition"


def signed(*contents: tuple[x509.ExtensionType, bool], serial: int = 5) -> bytes:
    line = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(AT).build()
    made = x509.CertificateRevocationListBuilder().issuer_name(ISSUER.subject).add_revoked_certificate(line)
    made = made.last_update(AT).next_update(AT + timedelta(hours=1))
    for content, critical in contents:
        made = made.add_extension(content, critical=critical)
    return made.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


NUMBER = (x509.CRLNumber(7), False)
POINT = FIFTH.issuing_distribution_point()


def test_a_line_of_another_partition_is_refused() -> None:
    assert refusal(signed(NUMBER, (POINT, True), serial=6), FIFTH) == "pki.crl.partition"


def test_a_distribution_point_that_is_not_critical_is_refused() -> None:
    assert refusal(signed(NUMBER, (POINT, False)), FIFTH) == "pki.crl.partition"


@pytest.mark.parametrize(
    "changes",
    [
        {"only_contains_user_certs": False},
        {"indirect_crl": True},
        {"only_some_reasons": frozenset({x509.ReasonFlags.key_compromise})},
        {"full_name": [*(POINT.full_name or ()), x509.UniformResourceIdentifier(SIXTH.uri)]},
    ],
    ids=["CAs too", "indirect", "some reasons", "two names"],
)
def test_a_distribution_point_that_says_anything_else_is_refused(changes: dict[str, object]) -> None:
    names = ("full_name", "relative_name", "only_contains_user_certs", "only_contains_ca_certs")
    more = ("only_some_reasons", "indirect_crl", "only_contains_attribute_certs")
    arguments = {name: getattr(POINT, name) for name in (*names, *more)} | changes
    other = x509.IssuingDistributionPoint(**arguments)
    assert refusal(signed(NUMBER, (other, True)), FIFTH) == "pki.crl.partition"


@pytest.mark.parametrize(
    "position", [b"", b"\x02\x01\xff", b"\x02\x02\x00\x01", b"\x04\x01\x01", b"\x02\x01\x01\x00"], ids=bytes.hex
)
def test_a_feed_position_that_is_no_count_is_refused(position: bytes) -> None:

    content = x509.UnrecognizedExtension(CRL_FEED_POSITION, position)
    assert refusal(signed(NUMBER, (content, False)), None) == "pki.crl.malformed"


def test_a_number_of_more_than_twenty_octets_is_refused() -> None:
    assert refusal(signed((x509.CRLNumber(1 << 159), False)), None) == "pki.crl.malformed"


def test_a_list_follows_one_of_a_lower_number_and_itself_and_no_other() -> None:
    first, second = (read_crl(built(FIFTH, number=number), ISSUER, AT, FIFTH) for number in (7, 8))
    second.require_follows(first)
    second.require_follows(second)
    forked = read_crl(built(FIFTH, 5, number=8), ISSUER, AT, FIFTH)
    for later, earlier in ((first, second), (forked, second)):
        with pytest.raises(RevocationError) as refused:
            later.require_follows(earlier)
        assert refused.value.finding == "pki.crl.rollback"


def test_numbers_of_the_time_grow_with_it() -> None:
    assert number_at(AT + timedelta(milliseconds=1)) == number_at(AT) + 1


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.ED25519, KeyAlgorithm.MLDSA65])
def test_every_kind_of_issuing_key_signs_partitions(algorithm: KeyAlgorithm) -> None:
    issuing = hierarchy(algorithm=algorithm).issuing
    data = build_crl([RevokedCertificate(5, AT)], issuing.key, issuing.certificate, AT, HOUR_S, Edition(7, FIFTH))
    assert read_crl(data, issuing.certificate, AT, FIFTH).serials == {5}


class Files:
    """A device whose certificate names a partition, in files for openssl."""

    def __init__(self, folder: Path, partition: Partition | None, serial: int) -> None:
        self.folder = folder
        public = generate(KeyAlgorithm.P256).public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(ISSUER.subject)
            .public_key(public)
            .serial_number(serial)
            .not_valid_before(AT)
            .not_valid_after(AT + timedelta(days=1))
            .add_extension(extensions.authority_key_identifier(ISSUER), critical=False)
            .add_extension(extensions.subject_key_identifier(public), critical=False)
            .add_extension(extensions.SIGNS_DATA, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            # An empty subject needs a critical SAN (RFC 5280 §4.1.2.6).
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("unit.example")]), critical=True)
        )
        if partition is not None:
            name = [x509.UniformResourceIdentifier(partition.uri)]
            point = x509.DistributionPoint(full_name=name, relative_name=None, reasons=None, crl_issuer=None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        device = builder.sign(KEY, hashes.SHA256())
        for name_, certificate in (("root", PKI.root.certificate), ("issuing", ISSUER), ("device", device)):
            (folder / f"{name_}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def judged(self, *lists: bytes) -> str:
        texts = [x509.load_der_x509_crl(each).public_bytes(Encoding.PEM) for each in lists]
        (self.folder / "list.pem").write_bytes(b"".join(texts))
        strictly = ("verify", "-x509_strict", "-crl_check", "-attime", str(int(AT.timestamp()) + 1))
        files = ("-CRLfile", "list.pem", "-CAfile", "root.pem", "-untrusted", "issuing.pem", "device.pem")
        done = openssl(self.folder, *strictly, *files)
        return "OK" if done.returncode == 0 else done.stderr.decode()


def serial_of(partition: Partition) -> int:
    serial = new_serial()
    return serial - serial % partition.count + partition.index


def test_openssl_takes_the_partition_that_a_certificate_names(tmp_path: Path) -> None:
    serial = serial_of(FIFTH)
    files = Files(tmp_path, FIFTH, serial)
    assert files.judged(built(FIFTH, position=41)) == "OK"
    assert "certificate revoked" in files.judged(built(FIFTH, serial))


def test_openssl_refuses_another_partition(tmp_path: Path) -> None:
    files = Files(tmp_path, FIFTH, serial_of(FIFTH))
    assert "different CRL scope" in files.judged(built(SIXTH))


def test_openssl_wants_the_full_list_for_a_certificate_that_names_no_partition(tmp_path: Path) -> None:
    serial = serial_of(FIFTH)
    files = Files(tmp_path, None, serial)
    assert "different CRL scope" in files.judged(built(FIFTH))
    assert files.judged(built(None)) == "OK"
    assert "certificate revoked" in files.judged(built(None, serial))


def test_openssl_prints_a_partition_with_its_name_and_number(tmp_path: Path) -> None:
    (tmp_path / "list.der").write_bytes(built(FIFTH, 5, number=4711, position=41))
    text = openssl(tmp_path, "crl", "-inform", "DER", "-in", "list.der", "-noout", "-text").stdout.decode()
    assert "X509v3 Issuing Distribution Point: critical" in text
    assert f"URI:{FIFTH.uri}" in text
    assert "Only User Certificates" in text
    assert "4711" in text
