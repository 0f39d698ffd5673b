# SPDX-License-Identifier: Apache-2.0
"""Requests with evidence: built by us, judged by openssl, read strictly."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import AttributeOID
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.pki import csr
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.csr import CSR_MAX_BYTES, build_csr, read_csr
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.keys.software import generate
from birthmark.pki.names import device_subject, hardware_module_name, request_subject
from support.openssl import made_by_openssl, openssl

KEY = generate(KeyAlgorithm.P256)
SUBJECT = request_subject("BM-000001")
# A BOOLEAN spelled 01 is BER and no DER: it must still come out as it went in.
BUNDLE = bytes.fromhex("30053003010101")
SAN = x509.SubjectAlternativeName([hardware_module_name(ObjectIdentifier("1.3.6.1.4.1.58270.2.1"), "0123456789")])


def signed(attributes: list[csr._Attribute], key: ec.EllipticCurvePrivateKey = KEY) -> bytes:
    """Return a request with any attributes at all, rightly signed."""
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    info = csr._Info(
        version=0,
        subject=csr._any(SUBJECT.public_bytes()),
        spki=csr._any(spki),
        attributes=der.SetOf(attributes),
    )
    tbs = der.encode(info)
    algorithm = csr._any(bytes.fromhex("300a06082a8648ce3d040302"))
    signature = der.BitString(key.sign(tbs, ec.ECDSA(hashes.SHA256())), 0)
    return der.encode(csr._Signed(info=csr._any(tbs), algorithm=algorithm, signature=signature))


def attestation(*values: bytes) -> csr._Attribute:
    return csr._Attribute(type=ID_AA_ATTESTATION, values=der.SetOf([csr._any(value) for value in values]))


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_what_is_built_is_read(algorithm: KeyAlgorithm) -> None:
    key = generate(algorithm)
    subject = device_subject("BM-000001", "Controller", "Acme")
    data = build_csr(key, subject, BUNDLE, SAN)
    request = read_csr(data)
    assert request.der == data
    assert request.spki == key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (request.subject, request.san, request.bundle) == (subject, SAN, BUNDLE)


def test_a_first_request_has_no_san() -> None:
    request = read_csr(build_csr(KEY, SUBJECT, BUNDLE))
    assert request.san is None
    assert request.subject == SUBJECT


def test_a_request_without_evidence_is_read_and_says_so() -> None:
    assert read_csr(build_csr(KEY, SUBJECT, None)).bundle is None


def test_openssl_reads_the_request_and_verifies_its_signature(tmp_path: Path) -> None:
    (tmp_path / "request.der").write_bytes(build_csr(KEY, SUBJECT, BUNDLE, SAN))
    shown = openssl(tmp_path, "req", "-inform", "DER", "-in", "request.der", "-noout", "-verify", "-text")
    assert b"verify OK" in shown.stderr
    assert ID_AA_ATTESTATION.dotted_string.encode() in shown.stdout
    assert b"serialNumber = BM-000001" in shown.stdout


def requested_by_openssl(directory: Path, *arguments: str) -> bytes:
    fixed = ("-nodes", "-outform", "DER", "-keyout", "key.pem", "-subj", "/serialNumber=BM-000001")
    return made_by_openssl(directory, "req", *arguments, *fixed)


def test_a_request_of_openssl_is_read(tmp_path: Path) -> None:
    made = requested_by_openssl(tmp_path, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    assert read_csr(made).bundle is None


def test_a_request_for_a_key_that_we_do_not_certify_is_not_built() -> None:
    with pytest.raises(AlgorithmRefused):
        build_csr(ec.generate_private_key(ec.SECP256K1()), SUBJECT, BUNDLE)


def test_a_signature_of_another_key_is_no_possession() -> None:
    with pytest.raises(DecodeError) as refused:
        read_csr(signed([attestation(BUNDLE)], generate(KeyAlgorithm.P256)))
    assert refused.value.finding == "csr.possession"


def test_a_sha1_signature_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError) as refused:
        read_csr(requested_by_openssl(tmp_path, "-newkey", "rsa:2048", "-sha1"))
    assert refused.value.finding == "csr.algorithm"


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param([attestation()], id="no value"),
        pytest.param([attestation(b"\x30\x00", b"\x30\x03\x02\x01\x00")], id="two values"),
        pytest.param([attestation(b"\x30\x00"), attestation(b"\x30\x03\x02\x01\x00")], id="two attributes"),
    ],
)
def test_other_than_one_attestation_with_one_value_is_refused(attributes: list[csr._Attribute]) -> None:
    with pytest.raises(DecodeError) as refused:
        read_csr(signed(attributes))
    assert refused.value.finding in {"csr.attestation.malformed", "csr.malformed"}


def challenge(*values: bytes) -> csr._Attribute:
    return csr._Attribute(type=AttributeOID.CHALLENGE_PASSWORD, values=der.SetOf([*map(csr._any, values)]))


@pytest.mark.parametrize("value", [b"\x0c\x04link", b"\x13\x04link"], ids=["UTF8String", "PrintableString"])
def test_a_challenge_password_is_handed_on(value: bytes) -> None:
    assert read_csr(signed([challenge(value), attestation(BUNDLE)])).challenge == "link"
    assert read_csr(signed([attestation(BUNDLE)])).challenge is None


@pytest.mark.parametrize(
    "attributes",
    [
        [challenge()],
        [challenge(b"\x0c\x01a", b"\x0c\x01b")],
        [challenge(b"\x0c\x01a"), challenge(b"\x0c\x01a")],
        [challenge(b"\x0c\x00")],
        [challenge(b"\x16\x01a")],
        [challenge(b"\x0c\x02\xc3\xa4")],
        [challenge(b"\x0c\x82\x01\x00" + b"a" * 256)],
    ],
    ids=["none", "two values", "twice", "empty", "IA5String", "not ASCII", "too long"],
)
def test_a_challenge_password_that_is_not_one_short_text_is_refused(attributes: list[csr._Attribute]) -> None:
    with pytest.raises(DecodeError) as refused:
        read_csr(signed([*attributes, attestation(BUNDLE)]))
    assert refused.value.finding == "csr.challenge-password"


def test_a_challenge_password_of_openssl_is_read(tmp_path: Path) -> None:
    (tmp_path / "request.cnf").write_text(
        "[req]\nprompt = no\ndistinguished_name = name\nattributes = linked\n"
        "[name]\nserialNumber = BM-000001\n[linked]\nchallengePassword = the-tls-unique-value\n"
    )
    arguments = ("-new", "-config", "request.cnf", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    made = made_by_openssl(tmp_path, "req", *arguments, "-nodes", "-outform", "DER", "-keyout", "key.pem")
    assert read_csr(made).challenge == "the-tls-unique-value"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data + b"\x00", id="a trailing byte"),
        pytest.param(lambda data: data[:-1], id="a byte short"),
        pytest.param(lambda _data: b"", id="nothing"),
    ],
)
def test_a_damaged_request_is_malformed(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodeError) as refused:
        read_csr(change(build_csr(KEY, SUBJECT, BUNDLE)))
    assert refused.value.finding == "csr.malformed"


def test_a_request_beyond_the_limit_is_not_read() -> None:
    with pytest.raises(DecodeError, match=f"at most {CSR_MAX_BYTES} are read") as refused:
        read_csr(bytes(CSR_MAX_BYTES + 1))
    assert refused.value.finding == "csr.too-large"


@given(st.binary(max_size=400))
def test_any_bytes_give_a_request_or_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        read_csr(data)


def test_a_signature_with_unused_bits_is_malformed() -> None:
    for _ in range(200):  # until its last bit is 0, which may then be said to be unused
        whole = der.decode(csr._Signed, build_csr(KEY, SUBJECT, BUNDLE), "the request")
        signature = whole.signature.as_bytes()
        if signature[-1] % 2 == 0:
            break
    respelt = csr._Signed(info=whole.info, algorithm=whole.algorithm, signature=der.BitString(signature, 1))
    with pytest.raises(DecodeError) as refused:
        read_csr(der.encode(respelt))
    assert refused.value.finding == "csr.malformed"


REQUEST = build_csr(KEY, SUBJECT, BUNDLE, SAN)


@settings(max_examples=300)
@given(at=st.integers(0, len(REQUEST) - 1), flips=st.integers(1, 255))
def test_an_altered_request_gives_a_decode_error_and_nothing_else(at: int, flips: int) -> None:
    whole = bytearray(REQUEST)
    whole[at] ^= flips
    with pytest.raises(DecodeError):
        read_csr(bytes(whole))


@settings(max_examples=200)
@given(st.binary(min_size=1, max_size=120))
def test_a_signed_request_with_any_attribute_value_is_read_or_refused(value: bytes) -> None:
    try:
        data = signed([attestation(value)])
    except DecodeError:
        return  # not one DER value: cannot even be written
    assert read_csr(data).bundle == value
