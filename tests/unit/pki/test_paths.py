# SPDX-License-Identifier: Apache-2.0
"""Certification paths: the purposes, and one finding per way to fail."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core.errors import ConfigError
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import (
    Authority,
    ChipName,
    make_ak_certificate,
    make_legacy,
    make_rig,
    make_root,
    make_sub_ca,
    make_tls_server,
)
from birthmark.pki.errors import AlgorithmRefused, PathError
from birthmark.pki.keys.software import generate
from birthmark.pki.paths import PRESENTED_MAX_CERTIFICATES, Purpose, TrustAnchors, read_trust, validate_path
from birthmark.pki.reading import UNREADABLE
from support.hierarchy import AT, CHIP, device_certificate, hierarchy
from support.openssl import made_by_openssl

PUBLIC = generate(KeyAlgorithm.P256).public_key()
YEAR = timedelta(days=365)
PKI = hierarchy()
ROOT, ISSUING, OPERATIONS = PKI.root.certificate, PKI.issuing.certificate, PKI.operations.certificate
DEVICE = device_certificate(PKI.issuing)
RIG = make_rig(PKI.operations, "rig-a", PUBLIC, AT)
SERVER = make_tls_server(PKI.operations, PUBLIC, AT)
AK = make_ak_certificate(PKI.operations, ChipName(CHIP.serial, CHIP.hw_type), PUBLIC, AT)


def trust(*, with_intermediates: bool = False) -> TrustAnchors:
    return TrustAnchors((ROOT,), (ISSUING, OPERATIONS) if with_intermediates else ())


def refusal(
    leaf: x509.Certificate,
    extra: list[x509.Certificate],
    anchors: TrustAnchors,
    at: datetime = AT,
    purpose: Purpose = Purpose.CLIENT,
) -> PathError:
    with pytest.raises(PathError) as refused:
        validate_path(leaf, extra, anchors, at, purpose)
    return refused.value


def built(
    issuer: Authority, *added: tuple[x509.ExtensionType, bool], key: CertificatePublicKeyTypes = PUBLIC
) -> x509.Certificate:
    """Return a certificate with just these extensions."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(names.named("Acme Controls", "leaf"))
        .issuer_name(issuer.certificate.subject)
        .public_key(key)
        .serial_number(7)
        .not_valid_before(AT)
        .not_valid_after(AT + YEAR)
    )
    for extension, critical in added:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer.key, hashes.SHA256())


CLIENT_AUTH = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
SIGNS_DATA = (extensions.SIGNS_DATA, True)


@pytest.mark.parametrize(
    ("leaf", "between", "purposes"),
    [
        (DEVICE, ISSUING, {Purpose.CLIENT}),
        (RIG, OPERATIONS, {Purpose.CLIENT, Purpose.RIG}),
        (SERVER, OPERATIONS, {Purpose.SERVER}),
        (AK, OPERATIONS, {Purpose.ATTESTATION_KEY}),
    ],
    ids=["device", "rig", "server", "attestation key"],
)
@pytest.mark.parametrize("purpose", Purpose)
def test_a_certificate_is_good_for_its_purposes_and_no_other(
    leaf: x509.Certificate, between: x509.Certificate, purposes: set[Purpose], purpose: Purpose
) -> None:
    if purpose in purposes:
        assert validate_path(leaf, [between], trust(), AT, purpose) == (leaf, between, ROOT)
    else:
        assert refusal(leaf, [between], trust(), purpose=purpose).finding == "pki.path.purpose"


def test_a_legacy_certificate_directly_under_its_root_is_a_client() -> None:
    leaf = make_legacy(PKI.root, "X1", PUBLIC, AT)
    assert validate_path(leaf, [], trust(), AT, Purpose.CLIENT) == (leaf, ROOT)


def test_a_known_intermediate_need_not_be_presented() -> None:
    anchors = trust(with_intermediates=True)
    for _ in range(3):  # the second time goes the short way
        assert validate_path(DEVICE, [], anchors, AT, Purpose.CLIENT) == (DEVICE, ISSUING, ROOT)
        assert validate_path(RIG, [], anchors, AT, Purpose.CLIENT) == (RIG, OPERATIONS, ROOT)


def test_a_presented_intermediate_is_never_remembered() -> None:
    anchors = trust()
    validate_path(DEVICE, [ISSUING], anchors, AT, Purpose.CLIENT)
    assert anchors.proven == {}
    assert refusal(DEVICE, [], anchors).finding == "pki.path.unknown-issuer"


def test_what_is_remembered_holds_for_its_purpose_alone() -> None:
    anchors = trust(with_intermediates=True)
    validate_path(RIG, [], anchors, AT, Purpose.RIG)
    assert refusal(DEVICE, [], anchors, purpose=Purpose.RIG).finding == "pki.path.purpose"
    assert refusal(RIG, [], anchors, purpose=Purpose.SERVER).finding == "pki.path.purpose"


@pytest.mark.parametrize("remembered", [False, True])
@pytest.mark.parametrize(
    ("days", "finding"),
    [
        pytest.param((9, 9, 5), "pki.path.expired", id="leaf"),
        pytest.param((9, 5, 9), "pki.path.expired", id="intermediate"),
        pytest.param((5, 9, 9), "pki.anchor.expired", id="anchor"),
        pytest.param((5, 5, 5), "pki.path.expired", id="all"),
    ],
)
def test_expiry_says_whose(days: tuple[int, int, int], finding: str, *, remembered: bool) -> None:
    root = make_root("Acme", "Root", generate(KeyAlgorithm.P256), AT, days[0])
    between = make_sub_ca(root, "Sub", generate(KeyAlgorithm.P256), AT, days[1])
    leaf = make_rig(between, "rig-a", PUBLIC, AT, days[2])
    anchors = TrustAnchors((root.certificate,), (between.certificate,))
    if remembered:
        assert validate_path(leaf, [], anchors, AT, Purpose.RIG)
    refused = refusal(leaf, [], anchors, AT + timedelta(days=7), Purpose.RIG)
    assert refused.finding == finding
    assert "expired at 2026-11-28" in refused.message


@pytest.mark.parametrize(
    ("starts", "finding"),
    [
        ((0, 0, 9), "pki.path.not-yet-valid"),
        ((0, 9, 0), "pki.path.not-yet-valid"),
        ((9, 0, 0), "pki.anchor.not-yet-valid"),
    ],
    ids=["leaf", "intermediate", "anchor"],
)
def test_a_certificate_from_the_future_says_so(starts: tuple[int, int, int], finding: str) -> None:
    root_at, between_at, leaf_at = (AT + timedelta(days=start) for start in starts)
    root = make_root("Acme", "Root", generate(KeyAlgorithm.P256), root_at)
    between = make_sub_ca(root, "Sub", generate(KeyAlgorithm.P256), between_at)
    leaf = make_rig(between, "rig-a", PUBLIC, leaf_at)
    refused = refusal(leaf, [between.certificate], TrustAnchors((root.certificate,)), AT + timedelta(days=2))
    assert refused.finding == finding


def test_another_root_of_the_same_name_is_an_unknown_issuer() -> None:
    stranger = TrustAnchors((hierarchy().root.certificate,))
    refused = refusal(DEVICE, [ISSUING], stranger)
    assert refused.finding == "pki.path.unknown-issuer"
    assert "CN=Acme Issuing" in refused.message


def test_a_forged_signature_is_an_unknown_issuer() -> None:
    der = bytearray(DEVICE.public_bytes(Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_certificate(bytes(der))
    assert refusal(forged, [ISSUING], trust()).finding == "pki.path.unknown-issuer"


def weak_root(directory: Path, newkey: str, digest: str) -> x509.Certificate:
    """Let openssl make the root: pyca/cryptography no longer signs with SHA-1."""
    names_and_files = ("-nodes", "-subj", "/O=Old/CN=Old Root", "-keyout", "root.key", "-out", "root.pem")
    made_by_openssl(directory, "req", "-x509", "-newkey", newkey, f"-{digest}", "-days", "9000", *names_and_files)
    return x509.load_pem_x509_certificate((directory / "root.pem").read_bytes())


@pytest.mark.parametrize(("newkey", "digest"), [("rsa:2048", "sha1"), ("rsa:1024", "sha256")])
def test_a_weak_anchor_is_refused_before_it_can_be_trusted(tmp_path: Path, newkey: str, digest: str) -> None:
    root = weak_root(tmp_path, newkey, digest)
    with pytest.raises(AlgorithmRefused) as refused:
        TrustAnchors((root,))
    assert refused.value.finding == "pki.path.algorithm"
    with pytest.raises(AlgorithmRefused):
        read_trust((tmp_path / "root.pem").read_bytes(), "trust.pem")


def test_a_weak_intermediate_in_the_trust_file_is_refused() -> None:
    weak = built(PKI.root, key=rsa.generate_private_key(65537, 1024).public_key())  # noqa: S505 to be refused
    with pytest.raises(AlgorithmRefused):
        TrustAnchors((ROOT,), (weak,))


def test_a_weak_leaf_is_refused() -> None:
    key = rsa.generate_private_key(65537, 1024).public_key()  # noqa: S505 to be refused
    leaf = built(PKI.root, CLIENT_AUTH, SIGNS_DATA, key=key)
    assert refusal(leaf, [], trust()).finding == "pki.path.algorithm"


@pytest.mark.parametrize(("newkey", "digest"), [("rsa:2048", "sha1"), ("rsa:1024", "sha256")])
def test_a_presented_weak_intermediate_is_refused_as_weak(tmp_path: Path, newkey: str, digest: str) -> None:
    """Its own name and key are the ones that signed the leaf, so only its strength is wrong."""
    root = weak_root(tmp_path, "rsa:2048", "sha256")
    (tmp_path / "ca.cnf").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n")
    (tmp_path / "leaf.cnf").write_text("keyUsage=digitalSignature\nextendedKeyUsage=clientAuth\n")
    for name, issuer, size, hashed in (("ca", "root", newkey, digest), ("leaf", "ca", "rsa:2048", "sha256")):
        made_by_openssl(
            tmp_path, "req", "-newkey", size, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "r"
        )
        signer = ("-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key", f"-{hashed}", "-days", "9000")
        made_by_openssl(tmp_path, "x509", "-req", "-in", "r", *signer, "-extfile", f"{name}.cnf", "-out", f"{name}.pem")
    between, leaf = (x509.load_pem_x509_certificate((tmp_path / f"{name}.pem").read_bytes()) for name in ("ca", "leaf"))
    refused = refusal(leaf, [between], TrustAnchors((root,)), leaf.not_valid_before_utc)
    assert refused.finding == "pki.path.algorithm"
    assert "CN=ca" in refused.message


def test_an_unknown_critical_extension_is_refused_and_an_unknown_other_one_passes() -> None:
    unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.58270.99"), b"\x05\x00")
    plain = built(PKI.root, CLIENT_AUTH, SIGNS_DATA, (unknown, False))
    assert validate_path(plain, [], trust(), AT, Purpose.CLIENT) == (plain, ROOT)
    critical = built(PKI.root, CLIENT_AUTH, SIGNS_DATA, (unknown, True))
    assert refusal(critical, [], trust()).finding == "pki.path.malformed"


@pytest.mark.parametrize(
    ("added", "finding"),
    [
        pytest.param([SIGNS_DATA], "pki.path.purpose", id="no extended key usage"),
        pytest.param([CLIENT_AUTH], "pki.path.malformed", id="no key usage"),
        pytest.param(
            [CLIENT_AUTH, (extensions.SIGNS_CERTIFICATES, True)], "pki.path.malformed", id="may not sign data"
        ),
        pytest.param([CLIENT_AUTH, SIGNS_DATA, (extensions.authority(0), True)], "pki.path.malformed", id="a CA"),
        pytest.param(
            [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False), SIGNS_DATA],
            "pki.path.purpose",
            id="for anything at all",
        ),
    ],
)
def test_a_leaf_without_the_rights_is_refused(added: list[tuple[x509.ExtensionType, bool]], finding: str) -> None:
    assert refusal(built(PKI.root, *added), [], trust()).finding == finding


def test_a_device_cannot_act_as_a_ca() -> None:
    key = generate(KeyAlgorithm.P256)
    device = Authority(built(PKI.root, CLIENT_AUTH, SIGNS_DATA, key=key.public_key()), key)
    child = built(device, CLIENT_AUTH, SIGNS_DATA)
    assert refusal(child, [device.certificate], trust()).finding == "pki.path.malformed"


def test_a_ca_below_an_issuing_ca_is_refused() -> None:
    key = generate(KeyAlgorithm.P256)
    basic, signs = (extensions.authority(None), True), (extensions.SIGNS_CERTIFICATES, True)
    below = Authority(built(PKI.issuing, basic, signs, key=key.public_key()), key)
    leaf = built(below, CLIENT_AUTH, SIGNS_DATA)
    assert refusal(leaf, [below.certificate, ISSUING], trust()).finding == "pki.path.malformed"


def test_a_ca_with_key_usages_hands_down_no_others() -> None:
    key = generate(KeyAlgorithm.P256)
    rights = ((extensions.authority(0), True), (extensions.SIGNS_CERTIFICATES, True))
    servers = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    between = Authority(built(PKI.root, *rights, servers, key=key.public_key()), key)
    assert (
        refusal(built(between, CLIENT_AUTH, SIGNS_DATA), [between.certificate], trust()).finding == "pki.path.malformed"
    )


def test_a_root_that_calls_itself_a_client_is_none() -> None:
    assert refusal(ROOT, [], trust()).finding == "pki.path.purpose"


def test_a_trusted_leaf_is_a_path_of_its_own() -> None:
    leaf = built(PKI.root, CLIENT_AUTH, SIGNS_DATA)
    assert validate_path(leaf, [], TrustAnchors((leaf,)), AT, Purpose.CLIENT) == (leaf,)


def test_more_certificates_than_a_chain_can_have_are_refused() -> None:
    refused = refusal(DEVICE, [ISSUING] * (PRESENTED_MAX_CERTIFICATES + 1), trust())
    assert refused.finding == "pki.path.malformed"


def test_a_trust_file_is_sorted_into_anchors_and_intermediates() -> None:
    pem = b"".join(c.public_bytes(Encoding.PEM) for c in (ISSUING, ROOT, OPERATIONS))
    assert read_trust(pem, "trust.pem") == TrustAnchors((ROOT,), (ISSUING, OPERATIONS))


@pytest.mark.parametrize("pem", [b"", b"no pem", ISSUING.public_bytes(Encoding.PEM)], ids=["empty", "text", "no root"])
def test_a_trust_file_without_a_root_is_a_configuration_error(pem: bytes) -> None:
    with pytest.raises(ConfigError, match=r"trust\.pem"):
        read_trust(pem, "trust.pem")


def test_trust_in_nothing_is_refused() -> None:
    with pytest.raises(PathError, match="no trust anchor"):
        TrustAnchors(())


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # a flipped sign bit; pyca warns and goes on
@settings(max_examples=400)
@given(
    which=st.sampled_from([DEVICE, ISSUING]),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_an_altered_certificate_gives_a_path_error_and_nothing_else(
    which: x509.Certificate, flips: list[tuple[int, int]]
) -> None:
    altered = bytearray(which.public_bytes(Encoding.DER))
    for at, flip in flips:
        altered[at % len(altered)] ^= flip
    try:
        certificate = x509.load_der_x509_certificate(bytes(altered))
    except UNREADABLE:
        return
    leaf, between = (certificate, ISSUING) if which is DEVICE else (DEVICE, certificate)
    if certificate != which:
        refusal(leaf, [between], trust())


@pytest.mark.parametrize(
    ("at", "finding"),
    [
        pytest.param(AT, "pki.path.unknown-issuer", id="its signature is wrong too"),
        pytest.param(AT + 9 * YEAR, "pki.path.malformed", id="the verifier fails to name it as expired"),
    ],
)
def test_a_certificate_with_an_unreadable_subject_is_refused_like_any_other(at: datetime, finding: str) -> None:
    altered = DEVICE.public_bytes(Encoding.DER).replace(b"Controller BM", b"\xff\xfe\xfd\xfcroller BM")
    assert refusal(x509.load_der_x509_certificate(altered), [ISSUING], trust(), at).finding == finding


@pytest.mark.parametrize("unused", range(1, 8))
def test_a_signature_said_to_end_within_a_byte_is_no_second_spelling_of_the_certificate(unused: int) -> None:
    """Its last bits are zeros, so OpenSSL reads the very same signature."""
    leaf = DEVICE
    while leaf.signature[-1] % (1 << unused):
        leaf = device_certificate(PKI.issuing)
    spelled = bytearray(leaf.public_bytes(Encoding.DER))
    spelled[-len(leaf.signature) - 1] = unused
    other = x509.load_der_x509_certificate(bytes(spelled))
    assert other.signature == leaf.signature
    assert other.fingerprint(hashes.SHA256()) != leaf.fingerprint(hashes.SHA256())
    assert refusal(other, [ISSUING], trust()).finding == "pki.path.malformed"
