# SPDX-License-Identifier: Apache-2.0
"""Import of trust anchors, with every root that TPM makers publish and with the flaws that some of them have."""

import contextlib
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from birthmark.core.errors import ConfigError, DecodeError
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import acceptable_certificate
from birthmark.pki.anchors import CERTIFICATES_MAX, Bundle, joined, lineage, read_anchors, read_bundle
from birthmark.pki.authorities import Authority, ChipName, make_ak_ca, make_ak_certificate, make_root
from birthmark.pki.errors import PathError
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.rewriting import CERTIFICATE_MAX_BYTES, rewritten
from birthmark.testing.forge import new_key
from support.crooked import MENDED, NOT_MENDED, Flaw, crooked, generalized_time, pem, self_signed, straight_root
from support.hierarchy import AT, CHIP
from support.openssl import made_by_openssl, openssl

VECTORS = Path(__file__).parents[2] / "vectors" / "tpm-roots"
ROOTS = (VECTORS / "roots.pem").read_bytes()
INTERMEDIATES = (VECTORS / "intermediates.pem").read_bytes()
NOW = datetime(2026, 11, 23, tzinfo=UTC)
PEM_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.DOTALL)
EK_CERTIFICATE = ObjectIdentifier("2.23.133.8.1")


def real_intermediates() -> tuple[x509.Certificate, ...]:
    return tuple(anchor.certificate for anchor in read_anchors(INTERMEDIATES, "intermediates.pem").anchors)


def real_bundle() -> Bundle:
    return joined([read_anchors(ROOTS, "roots.pem"), read_bundle(INTERMEDIATES, "intermediates.pem")], "both")


def trust(bundle: Bundle) -> TrustAnchors:
    return TrustAnchors(tuple(anchor.certificate for anchor in bundle.anchors), bundle.intermediates)


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


# --- the makers' own certificates


def test_every_root_and_every_intermediate_of_the_tpm_makers_is_imported() -> None:
    roots = read_anchors(ROOTS, "roots.pem")
    assert (len(roots.anchors), len(real_intermediates())) == (26, 143)
    mended = {common_name(anchor.certificate): anchor.deviations for anchor in roots.anchors if anchor.deviations}
    assert {name: deviation.partition(" (")[0] for name, (deviation,) in mended.items()} == {
        "AMDTPM": "GeneralizedTime for a date before 2050",
        "www.intel.com": "ECDSA with NULL parameters",
        "Nuvoton TPM Root CA 1110": "a name with a SET OF out of order",
        "Nuvoton TPM Root CA 1111": "a name with a SET OF out of order",
        "Nuvoton TPM Root CA 2111": "a name with a SET OF out of order",
        "Nuvoton TPM Root CA 2112": "a name with a SET OF out of order",
    }
    assert [notice.finding for notice in roots.notices()] == ["pki.anchor.non-canonical"] * 7  # AMDTPM: RSA and ECC


def test_five_of_the_roots_are_refused_by_the_strict_reader() -> None:
    refused = 0
    for block in PEM_BLOCK.findall(ROOTS):
        try:
            x509.load_pem_x509_certificate(block)
        except ValueError:
            refused += 1
    assert refused == 5


def test_an_imported_root_is_known_by_the_fingerprint_that_its_maker_publishes() -> None:
    published = re.findall(rb"# Fingerprint \(SHA-256\): ([0-9A-F:]+)", ROOTS)
    expected = [text.decode().replace(":", "").lower() for text in published]
    assert [anchor.fingerprint for anchor in read_anchors(ROOTS, "roots.pem").anchors] == expected


def test_no_certificate_of_the_makers_is_too_weak() -> None:
    bundle = real_bundle()
    for certificate in (*trust(bundle).certs, *bundle.intermediates):
        acceptable_certificate(certificate)


def test_every_intermediate_chains_to_the_root_that_issued_it() -> None:
    bundle = real_bundle()
    anchors = trust(bundle)
    roots = Counter(common_name(lineage(authority, anchors, NOW)[-1]) for authority in bundle.intermediates)
    assert roots == {
        "Infineon OPTIGA(TM) ECC Root CA": 29,
        "Infineon OPTIGA(TM) RSA Root CA": 29,
        "Infineon OPTIGA(TM) ECC Root CA 2": 15,
        "Infineon OPTIGA(TM) RSA Root CA 2": 15,
        "AMD Pluton Global Factory ICA": 10,
        "Microsoft Pluton Root CA 2021": 7,
        "STM TPM EK Root CA": 7,
        "STM TPM ECC Root CA 01": 6,
        "NSING TPM ECC ROOT CA 001": 5,
        "NSING TPM RSA ROOT CA 001": 5,
        "NPCTxxx ECC521 RootCA": 4,
        "STSAFE ECC Root CA 02": 4,
        "STSAFE RSA Root CA 02": 4,
        "www.intel.com": 2,
        "AMDTPM": 1,
    }


def test_openssl_finds_the_same_143_paths(tmp_path: Path) -> None:
    blocks = PEM_BLOCK.findall(INTERMEDIATES)
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.pem").write_bytes(block)
    trusted = ("-partial_chain", "-no-CApath", "-no-CAstore", "-CAfile", str(VECTORS / "roots.pem"))
    untrusted = ("-untrusted", str(VECTORS / "intermediates.pem"), "-attime", str(int(NOW.timestamp())))
    files = [f"{number}.pem" for number in range(len(blocks))]
    assert made_by_openssl(tmp_path, "verify", *trusted, *untrusted, *files).count(b": OK\n") == 143


def test_a_root_whose_name_its_cas_spell_in_another_string_type_is_there_in_both_spellings() -> None:
    bundle = real_bundle()
    (respelled,) = (anchor for anchor in bundle.anchors if anchor.respelled)
    assert common_name(respelled.certificate) == "STM TPM ECC Root CA 01"
    assert [notice.finding for notice in bundle.notices()].count("pki.anchor.respelled") == 1
    through = [ca for ca in bundle.intermediates if lineage(ca, trust(bundle), NOW)[-1] == respelled.certificate]
    assert [common_name(ca) for ca in through] == [
        "STM TPM ECC Intermediate CA 02",
        "STM TPM ECC Intermediate CA 03",
        "STM TPM ECC384 Intermediate CA 01",
        "STM TPM ECC384 Intermediate CA 02",
    ]


def test_most_of_the_makers_intermediates_hand_down_endorsement_keys_alone() -> None:
    # What an AK certificate under them is refused for (pki.path.malformed): their own extended key usage.
    usages = Counter(_is_for_endorsement_keys(authority) for authority in real_intermediates())
    assert usages == {True: 114, False: 29}


def _is_for_endorsement_keys(authority: x509.Certificate) -> bool:
    try:
        return EK_CERTIFICATE in authority.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False


# --- flaws


def ak_under(root: Authority) -> tuple[x509.Certificate, x509.Certificate]:
    ak_ca = make_ak_ca(root, "Crooked AK CA", new_key(), AT)
    ak = make_ak_certificate(ak_ca, ChipName(CHIP.serial, CHIP.hw_type), new_key().public_key(), AT)
    return ak, ak_ca.certificate


@pytest.mark.parametrize("flaw", MENDED, ids=lambda flaw: flaw.__name__)
def test_a_path_holds_under_a_mended_root(flaw: Flaw) -> None:
    root = straight_root(AT)
    bundle = read_bundle(pem(crooked(root, flaw)), "maker.pem")
    (anchor,) = bundle.anchors
    ak, ak_ca = ak_under(root)
    assert anchor.deviations
    assert validate_path(ak, [ak_ca], trust(bundle), AT, Purpose.ATTESTATION_KEY) == (ak, ak_ca, anchor.certificate)
    assert anchor.certificate.public_key() == root.key.public_key()


@pytest.mark.parametrize("flaw", MENDED, ids=lambda flaw: flaw.__name__)
def test_a_mended_root_has_its_end(flaw: Flaw) -> None:
    root = straight_root(AT)
    anchors = trust(read_anchors(crooked(root, flaw), "maker.der"))
    ak, ak_ca = ak_under(root)
    with pytest.raises(PathError) as refused:
        validate_path(ak, [ak_ca], anchors, AT + timedelta(days=4000), Purpose.ATTESTATION_KEY)
    assert refused.value.finding in {"pki.anchor.expired", "pki.path.expired"}


@pytest.mark.parametrize("flaw", MENDED, ids=lambda flaw: flaw.__name__)
def test_another_key_under_a_mended_roots_name_issues_nothing(flaw: Flaw) -> None:
    anchors = trust(read_anchors(crooked(straight_root(AT), flaw), "maker.der"))
    ak, ak_ca = ak_under(straight_root(AT))
    with pytest.raises(PathError) as refused:
        validate_path(ak, [ak_ca], anchors, AT, Purpose.ATTESTATION_KEY)
    assert refused.value.finding == "pki.path.unknown-issuer"


@pytest.mark.parametrize("flaw", NOT_MENDED, ids=lambda flaw: flaw.__name__)
def test_a_flaw_that_no_known_root_has_is_refused(flaw: Flaw) -> None:
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        read_anchors(crooked(straight_root(AT), flaw), "maker.der")
    assert refused.value.finding == "pki.trust"


@pytest.mark.parametrize("flaw", MENDED, ids=lambda flaw: flaw.__name__)
def test_a_mended_certificate_needs_no_mending_again(flaw: Flaw) -> None:
    once = rewritten(crooked(straight_root(AT), flaw))
    assert rewritten(once.der).der == once.der
    assert rewritten(once.der).deviations == ()


def test_openssl_reads_what_was_mended(tmp_path: Path) -> None:
    for anchor in read_anchors(ROOTS, "roots.pem").anchors:
        (tmp_path / "root.pem").write_bytes(anchor.certificate.public_bytes(Encoding.PEM))
        printed = made_by_openssl(tmp_path, "x509", "-in", "root.pem", "-noout", "-pubkey")
        assert printed.startswith(b"-----BEGIN PUBLIC KEY-----")


def test_an_intermediate_with_a_flaw_is_refused_in_a_bundle_and_an_anchor_where_a_person_says_so() -> None:
    root = make_root("Acme", "Acme Root", new_key(), AT)
    between = straight_root(AT)
    foreign = crooked(Authority(between.certificate, new_key()), generalized_time)  # so not signed by itself
    with pytest.raises(ConfigError, match="not canonical and not self-signed"):
        read_bundle(root.certificate.public_bytes(Encoding.PEM) + pem(foreign), "maker.pem")
    (anchor,) = read_anchors(pem(foreign), "anchors.pem").anchors
    assert anchor.deviations


def test_a_name_in_two_spellings_gives_nobody_else_the_anchors_rights() -> None:
    key = new_key()
    root = _spelled(key, _ASN1Type.UTF8String)
    own = make_ak_ca(_spelled(key, _ASN1Type.PrintableString), "AK CA", new_key(), AT)
    impostor = make_ak_ca(_spelled(new_key(), _ASN1Type.PrintableString), "AK CA", new_key(), AT)
    pems = [authority.certificate.public_bytes(Encoding.PEM) for authority in (root, own, impostor)]
    anchors = trust(joined([read_bundle(b"".join(pems), "maker.pem")], "maker.pem"))
    assert len(anchors.certs) == 2
    assert lineage(own.certificate, anchors, AT)[0] == own.certificate
    with pytest.raises(PathError):
        lineage(impostor.certificate, anchors, AT)


def _spelled(key: ec.EllipticCurvePrivateKey, kind: _ASN1Type) -> Authority:
    attributes = {NameOID.ORGANIZATION_NAME: "Acme", NameOID.COMMON_NAME: "Two Spellings"}
    name = x509.Name([x509.NameAttribute(oid, text, _type=kind) for oid, text in attributes.items()])
    return self_signed(name, key, AT)


# --- certificate policies on a path: real makers' CAs have them, critical


def _ca_with(root: Authority, extension: x509.ExtensionType) -> Authority:
    key = new_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(names.named("Acme", "Policed CA"))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(6)
        .not_valid_before(AT - timedelta(days=1))
        .not_valid_after(AT + timedelta(days=3000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(extensions.subject_key_identifier(key.public_key()), critical=False)
        .add_extension(extension, critical=True)
    )
    return Authority(builder.sign(root.key, hashes.SHA256()), key)


def _validated(ca: Authority, root: Authority) -> tuple[x509.Certificate, ...]:
    ak = make_ak_certificate(ca, ChipName(CHIP.serial, CHIP.hw_type), new_key().public_key(), AT)
    return validate_path(ak, [], TrustAnchors((root.certificate,), (ca.certificate,)), AT, Purpose.ATTESTATION_KEY)


def test_critical_certificate_policies_do_not_stop_a_path() -> None:
    root = make_root("Acme", "Acme Root", new_key(), AT)
    policies = x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier("1.3.6.1.4.1.10977.7.6"), None)])
    ca = _ca_with(root, policies)
    assert _validated(ca, root)[1:] == (ca.certificate, root.certificate)


def test_a_ca_that_demands_a_policy_stops_a_path() -> None:
    root = make_root("Acme", "Acme Root", new_key(), AT)
    demanding = _ca_with(root, x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None))
    with pytest.raises(PathError):
        _validated(demanding, root)


# --- files that cannot be meant


def _weak(tmp_path: Path, *arguments: str) -> bytes:
    made = openssl(tmp_path, "req", "-x509", "-nodes", "-keyout", "key.pem", "-subj", "/CN=weak", *arguments)
    assert made.returncode == 0, made.stderr
    return made.stdout


@pytest.mark.parametrize(
    "arguments",
    [("-newkey", "rsa:1024", "-sha256"), ("-newkey", "rsa:2048", "-sha1")],
    ids=["RSA-1024", "SHA-1"],
)
@pytest.mark.parametrize("read", [read_anchors, read_bundle])
def test_a_weak_anchor_is_refused(tmp_path: Path, read: object, arguments: tuple[str, ...]) -> None:
    assert callable(read)
    with pytest.raises(PathError) as refused:
        read(_weak(tmp_path, *arguments), "weak.pem")
    assert refused.value.finding == "pki.path.algorithm"


GOOD = straight_root(AT).certificate.public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "0 readable certificates"),
        (b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "no base64"),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "not the DER"),
        (b"\x30\x00", "not the DER"),
        (pem(b"\x30" * (CERTIFICATE_MAX_BYTES + 1)), "at most"),
        (pem(b"\x30\x00") * (CERTIFICATES_MAX + 1), "1025 readable certificates"),
        (GOOD + GOOD[:-30], None),
    ],
    ids=["nothing", "no-base64", "no-certificate", "empty-der", "too-long", "too-many", "cut"],
)
def test_a_file_without_usable_certificates_is_one_clear_error(content: bytes, problem: str | None) -> None:
    if problem is None:
        assert len(read_anchors(content, "anchors.pem").anchors) == 1
        return
    with pytest.raises(ConfigError, match=problem) as refused:
        read_anchors(content, "anchors.pem")
    assert refused.value.finding == "pki.trust"


def test_a_certificate_that_is_no_ca_is_no_anchor() -> None:
    ak, _ = ak_under(straight_root(AT))
    with pytest.raises(ConfigError, match="is no CA"):
        read_anchors(ak.public_bytes(Encoding.PEM), "anchors.pem")


def test_bundles_without_any_root_are_refused() -> None:
    _, ak_ca = ak_under(straight_root(AT))
    with pytest.raises(ConfigError, match="no self-signed root"):
        joined([read_bundle(ak_ca.public_bytes(Encoding.PEM), "maker.pem")], "maker.pem")


@given(st.binary(max_size=200))
@example(straight_root(AT).certificate.public_bytes(Encoding.DER))
def test_whatever_the_bytes_the_reader_of_anchors_says_so_in_its_own_error(content: bytes) -> None:
    with contextlib.suppress(DecodeError):
        assert rewritten(content).deviations == ()
