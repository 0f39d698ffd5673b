# SPDX-License-Identifier: Apache-2.0
"""OCSP requests and responses: read strictly, verified, and judged by openssl."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.pki import ocsp as ours
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import make_rig
from birthmark.pki.errors import OCSPError
from birthmark.pki.keys.software import generate
from birthmark.pki.ocsp import (
    CERT_IDS_MAX,
    REQUEST_MAX_BYTES,
    CertID,
    CertStatus,
    ErrorStatus,
    IssuerHash,
    Responder,
    SingleStatus,
    build_request,
    build_response,
    error_response,
    read_request,
    read_request_path,
    request_path,
)
from birthmark.pki.ocsp_verification import RESPONSE_MAX_BYTES, read_response
from support.hierarchy import AT, device_certificate, hierarchy
from support.ocsp_parts import responder_of
from support.openssl import made_by_openssl, openssl

PKI = hierarchy()
ISSUER = PKI.issuing.certificate
RESPONDER = responder_of(PKI.issuing, AT)
SERIAL = 1 << 126 | 17
NEXT = AT + timedelta(hours=1)
GOOD = SingleStatus(SERIAL, CertStatus.GOOD)
REVOKED = SingleStatus(SERIAL, CertStatus.REVOKED, AT - timedelta(days=2), x509.ReasonFlags.superseded)
UNKNOWN = SingleStatus(SERIAL, CertStatus.UNKNOWN)
UNSPECIFIED = replace(REVOKED, reason=x509.ReasonFlags.unspecified)
RESPONSE = build_response([REVOKED], RESPONDER, AT, NEXT)
REQUEST = build_request([CertID.of(ISSUER, SERIAL)])
CERT_IDS = st.builds(CertID.of, st.just(ISSUER), st.integers(1, (1 << 159) - 1), st.sampled_from(IssuerHash))


def request_refusal(data: bytes) -> str:
    with pytest.raises(DecodeError) as refused:
        read_request(data)
    assert refused.value.finding == "ocsp.request"
    return refused.value.message


def response_refusal(
    data: bytes, *, serial: int = SERIAL, seconds: float = 0, issuer: x509.Certificate = ISSUER
) -> str:
    with pytest.raises(OCSPError) as refused:
        read_response(data, issuer, serial, AT + timedelta(seconds=seconds))
    return refused.value.finding


# --- requests --------------------------------------------------------------------------------------------------


@given(asked=st.lists(CERT_IDS, min_size=1, max_size=CERT_IDS_MAX))
def test_a_request_that_is_built_is_read(asked: list[CertID]) -> None:
    assert read_request(build_request(asked)) == tuple(asked)


def pyca_request(*, critical: bool = False, extension: x509.ExtensionType | None = None) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
        CertID.of(ISSUER, SERIAL, IssuerHash.SHA1).issuer_name,
        CertID.of(ISSUER, SERIAL, IssuerHash.SHA1).issuer_key,
        SERIAL,
        hashes.SHA1(),  # noqa: S303 a client's CertID
    )
    if extension is not None:
        builder = builder.add_extension(extension, critical=critical)
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("critical", [False, True])
def test_a_nonce_is_passed_over(critical: bool) -> None:  # noqa: FBT001 a table's column
    request = pyca_request(extension=x509.OCSPNonce(bytes(16)), critical=critical)
    assert read_request(request) == (CertID.of(ISSUER, SERIAL, IssuerHash.SHA1),)


def test_an_extension_that_is_not_understood_is_passed_over_unless_it_is_critical() -> None:
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.4"), b"\x05\x00")
    assert len(read_request(pyca_request(extension=extension))) == 1
    assert "critical" in request_refusal(pyca_request(extension=extension, critical=True))


def test_a_request_about_too_many_certificates_is_refused(tmp_path: Path) -> None:
    certificates(tmp_path)
    serials = [argument for serial in range(CERT_IDS_MAX) for argument in ("-serial", str(serial + 1))]
    asked = ("ocsp", "-issuer", "issuing.pem", *serials)
    made_by_openssl(tmp_path, *asked, "-reqout", "request.der")
    assert len(read_request((tmp_path / "request.der").read_bytes())) == CERT_IDS_MAX
    made_by_openssl(tmp_path, *asked, "-serial", "99", "-reqout", "request.der")
    request_refusal((tmp_path / "request.der").read_bytes())


@pytest.mark.parametrize("serial", [0, -1, 1 << 159])
def test_a_serial_that_no_certificate_has_is_refused(serial: int) -> None:
    assert "serial" in request_refusal(build_request([CertID.of(ISSUER, serial)]))


def test_a_hash_of_the_wrong_length_is_refused() -> None:
    asked = CertID.of(ISSUER, SERIAL, IssuerHash.SHA1)
    assert "length" in request_refusal(build_request([replace(asked, algorithm=IssuerHash.SHA256)]))


def test_another_hash_is_refused() -> None:
    sha256, sha384 = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01", b"\x60\x86\x48\x01\x65\x03\x04\x02\x02"
    assert "SHA-256" in request_refusal(REQUEST.replace(sha256, sha384))


@pytest.mark.parametrize("data", [b"", REQUEST + b"\x00", REQUEST[:-1], bytes(REQUEST_MAX_BYTES + 1)])
def test_a_damaged_request_is_refused(data: bytes) -> None:
    request_refusal(data)


@given(at=st.integers(0, len(REQUEST) - 1), flips=st.integers(1, 255))
def test_an_altered_request_asks_something_else_or_is_refused_and_nothing_else_is_raised(at: int, flips: int) -> None:
    altered = bytearray(REQUEST)
    altered[at] ^= flips
    try:
        assert read_request(bytes(altered)) != read_request(REQUEST)
    except DecodeError as error:
        assert error.finding == "ocsp.request"  # noqa: PT017 both outcomes are right


@given(asked=st.lists(CERT_IDS, min_size=1, max_size=2))
def test_the_get_form_is_read_back(asked: list[CertID]) -> None:
    data = build_request(asked)
    assert read_request_path(request_path(data)) == data


@pytest.mark.parametrize("text", ["", "*", "MDM_", "MDM", "MDM=\n", "MDN=" * 2, "MDP="])
def test_a_path_that_is_not_base64_in_its_one_form_is_refused(text: str) -> None:
    if text == "":
        assert read_request_path(text) == b""
        return
    with pytest.raises(DecodeError) as refused:
        read_request_path(text)
    assert refused.value.finding == "ocsp.request"


def certificates(folder: Path) -> None:
    device = device_certificate(PKI.issuing)
    pems = {"root": PKI.root.certificate, "issuing": ISSUER, "device": device, "rig": RESPONDER.certificate}
    for name, certificate in pems.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


@pytest.mark.parametrize("algorithm", IssuerHash)
def test_what_openssl_asks_is_read(tmp_path: Path, algorithm: IssuerHash) -> None:
    certificates(tmp_path)
    device = x509.load_pem_x509_certificate((tmp_path / "device.pem").read_bytes())
    asked = ("-issuer", "issuing.pem", f"-{algorithm.value}", "-cert", "device.pem", "-serial", str(SERIAL))
    made_by_openssl(tmp_path, "ocsp", *asked, "-reqout", "request.der")
    found = read_request((tmp_path / "request.der").read_bytes())
    assert found[0] == CertID.of(ISSUER, device.serial_number, algorithm)
    assert found[1].serial == SERIAL
    assert RESPONDER.speaks_of(found[0])
    assert not responder_of(hierarchy().issuing, AT).speaks_of(found[0])


def test_a_signed_request_of_openssl_is_read_as_if_it_were_not_signed(tmp_path: Path) -> None:
    certificates(tmp_path)
    made_by_openssl(tmp_path, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "own.key")
    subject = ("-subj", "/O=Acme/CN=client", "-days", "1", "-out", "own.pem")
    made_by_openssl(tmp_path, "req", "-x509", "-new", "-key", "own.key", *subject)
    signer = ("-signer", "own.pem", "-signkey", "own.key")
    asked = ("-issuer", "issuing.pem", "-serial", str(SERIAL), *signer, "-reqout", "request.der")
    made_by_openssl(tmp_path, "ocsp", *asked)
    assert read_request((tmp_path / "request.der").read_bytes()) == (CertID.of(ISSUER, SERIAL, IssuerHash.SHA1),)


# --- responses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "standing", [GOOD, REVOKED, UNSPECIFIED, UNKNOWN], ids=["good", "revoked", "unspecified", "unknown"]
)
def test_what_is_answered_is_read(standing: SingleStatus) -> None:
    answer = read_response(build_response([standing], RESPONDER, AT, NEXT), ISSUER, SERIAL, AT)
    assert (answer.standing, answer.this_update, answer.next_update) == (standing, AT, NEXT)


def test_every_reason_of_a_revocation_is_read_as_it_was_written() -> None:
    for reason in ours._REASON_CODES:
        standing = replace(REVOKED, reason=reason)
        assert read_response(build_response([standing], RESPONDER, AT, NEXT), ISSUER, SERIAL, AT).standing == standing


def test_one_response_may_answer_for_several_certificates() -> None:
    other = SingleStatus(18, CertStatus.GOOD)
    data = build_response([REVOKED, other], RESPONDER, AT, NEXT)
    assert read_response(data, ISSUER, SERIAL, AT).standing == REVOKED
    assert read_response(data, ISSUER, 18, AT).standing == other


@pytest.mark.parametrize("algorithm", KeyAlgorithm, ids=lambda each: each.value)
def test_responders_of_every_kind_of_key_are_verified(algorithm: KeyAlgorithm) -> None:
    issuing = hierarchy(algorithm=algorithm).issuing
    data = build_response([GOOD], responder_of(issuing, AT, algorithm), AT, NEXT)
    assert len(data) < RESPONSE_MAX_BYTES
    assert read_response(data, issuing.certificate, SERIAL, AT).standing == GOOD


@pytest.mark.parametrize("status", ErrorStatus)
def test_an_error_is_no_answer(status: ErrorStatus) -> None:
    assert response_refusal(error_response(status)) == "pki.ocsp.no-answer"


def test_a_status_that_contradicts_itself_cannot_be_said() -> None:
    for status, at in ((CertStatus.GOOD, AT), (CertStatus.REVOKED, None)):
        with pytest.raises(OCSPError):
            SingleStatus(SERIAL, status, at)


@pytest.mark.parametrize(
    ("seconds", "finding"), [(3600, "pki.ocsp.stale"), (-1, "pki.ocsp.not-yet-valid")], ids=["stale", "early"]
)
def test_a_response_outside_its_time_is_refused(seconds: float, finding: str) -> None:
    assert response_refusal(RESPONSE, seconds=seconds) == finding


def test_a_response_about_another_certificate_is_refused() -> None:
    assert response_refusal(RESPONSE, serial=SERIAL + 1) == "pki.ocsp.other-certificate"


def test_a_response_that_contradicts_itself_is_refused() -> None:
    assert response_refusal(build_response([GOOD, REVOKED], RESPONDER, AT, NEXT)) == "pki.ocsp.malformed"


def by_the_issuer_itself() -> Responder:
    return Responder(ISSUER, ISSUER, PKI.issuing.key)


def by_another_ca() -> Responder:
    return replace(responder_of(PKI.operations, AT), issuer=ISSUER)


def by_a_rig() -> Responder:
    key = generate(KeyAlgorithm.P256)
    return Responder(ISSUER, make_rig(PKI.issuing, "rig-1", key.public_key(), AT), key)


def by_one_that_has_run_out() -> Responder:
    return responder_of(PKI.issuing, AT - timedelta(days=31))


def by_one_without_nocheck() -> Responder:
    key = generate(KeyAlgorithm.P256)
    made = responder_of(PKI.issuing, AT).certificate
    builder = x509.CertificateBuilder().subject_name(made.subject).issuer_name(made.issuer).public_key(key.public_key())
    builder = builder.serial_number(9).not_valid_before(AT).not_valid_after(AT + timedelta(days=1))
    for extension in made.extensions:
        if not isinstance(extension.value, x509.OCSPNoCheck):
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return Responder(ISSUER, builder.sign(PKI.issuing.key, hashes.SHA256()), key)


@pytest.mark.parametrize(
    "made", [by_the_issuer_itself, by_another_ca, by_a_rig, by_one_that_has_run_out, by_one_without_nocheck]
)
def test_who_is_no_responder_of_the_issuer_is_refused(made: Callable[[], Responder]) -> None:
    assert response_refusal(build_response([GOOD], made(), AT, NEXT)) == "pki.ocsp.responder"


def test_the_key_of_another_responder_is_refused() -> None:
    forged = replace(RESPONDER, key=generate(KeyAlgorithm.P256))
    assert response_refusal(build_response([GOOD], forged, AT, NEXT)) == "pki.ocsp.signature"


def pyca_response(*, name: bool = True, next_update: bool = True, nonce: bool = False) -> bytes:
    issued = CertID.of(ISSUER, SERIAL)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issued.issuer_name,
        issued.issuer_key,
        SERIAL,
        hashes.SHA256(),
        ocsp.OCSPCertStatus.GOOD,
        AT,
        NEXT if next_update else None,
        None,
        None,
    )
    encoding = ocsp.OCSPResponderEncoding.NAME if name else ocsp.OCSPResponderEncoding.HASH
    builder = builder.responder_id(encoding, RESPONDER.certificate).certificates([RESPONDER.certificate])
    if nonce:
        builder = builder.add_extension(x509.OCSPNonce(bytes(16)), critical=True)
    assert isinstance(RESPONDER.key, ec.EllipticCurvePrivateKey)
    return builder.sign(RESPONDER.key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize("name", [True, False], ids=["by name", "by key"])
def test_a_responder_may_call_itself_by_name_or_by_key(name: bool) -> None:  # noqa: FBT001 a table's column
    assert read_response(pyca_response(name=name), ISSUER, SERIAL, AT).standing == GOOD


def test_a_response_without_an_end_is_refused() -> None:
    assert response_refusal(pyca_response(next_update=False)) == "pki.ocsp.malformed"


def test_a_response_with_a_critical_extension_is_refused() -> None:
    assert response_refusal(pyca_response(nonce=True)) == "pki.ocsp.malformed"


@pytest.mark.parametrize("data", [b"", RESPONSE + b"\x00", RESPONSE[:-1], bytes(RESPONSE_MAX_BYTES + 1)])
def test_a_damaged_response_is_refused(data: bytes) -> None:
    assert response_refusal(data) == "pki.ocsp.malformed"


@given(at=st.integers(0, len(RESPONSE) - 1), flips=st.integers(1, 255))
def test_an_altered_response_is_refused_and_nothing_else_is_raised(at: int, flips: int) -> None:
    altered = bytearray(RESPONSE)
    altered[at] ^= flips
    with pytest.raises(OCSPError):
        read_response(bytes(altered), ISSUER, SERIAL, AT)


@pytest.mark.parametrize("algorithm", IssuerHash)
@pytest.mark.parametrize("standing", [GOOD, REVOKED, UNKNOWN], ids=lambda each: each.status.value)
def test_openssl_verifies_the_response_and_finds_its_certificate(
    tmp_path: Path, algorithm: IssuerHash, standing: SingleStatus
) -> None:
    certificates(tmp_path)
    # openssl takes -attime for the certificates alone and judges the response by the machine's clock.
    now = datetime.now(UTC)
    response = build_response([standing], responder_of(PKI.issuing, now), now, now + timedelta(hours=1))
    (tmp_path / "response.der").write_bytes(response)
    asked = ("-issuer", "issuing.pem", f"-{algorithm.value}", "-serial", str(SERIAL))
    trust = ("-CAfile", "root.pem", "-verify_other", "issuing.pem")
    done = openssl(tmp_path, "ocsp", *asked, *trust, "-respin", "response.der", "-no_nonce")
    assert b"Response verify OK" in done.stderr
    assert f"{SERIAL}: {standing.status.value}".encode() in done.stdout


def test_what_openssl_answers_is_verified(tmp_path: Path) -> None:
    certificates(tmp_path)
    responder = responder_of(PKI.issuing, datetime.now(UTC))
    (tmp_path / "responder.pem").write_bytes(responder.certificate.public_bytes(Encoding.PEM))
    assert isinstance(responder.key, ec.EllipticCurvePrivateKey)
    (tmp_path / "responder.key").write_bytes(
        responder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    (tmp_path / "index.txt").write_text(f"V\t360101000000Z\t\t{SERIAL:X}\tunknown\t/CN=device\n")
    (tmp_path / "request.der").write_bytes(REQUEST)
    signer = ("-rsigner", "responder.pem", "-rkey", "responder.key", "-ndays", "1", "-CA", "issuing.pem")
    asked = ("-index", "index.txt", *signer, "-reqin", "request.der", "-respout", "response.der")
    made_by_openssl(tmp_path, "ocsp", *asked)
    data = (tmp_path / "response.der").read_bytes()
    assert read_response(data, ISSUER, SERIAL, datetime.now(UTC)).standing == GOOD
