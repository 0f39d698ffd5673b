# SPDX-License-Identifier: Apache-2.0
"""
Every MUST of RFC 7030 that binds an EST server, and applies to ours, over the wire.

docs/reference/est-divergences.md says which clause each test is for. RFC 8951, RFC 9908 and linking (§3.5) have files
of their own.
"""

import base64
import re
import socket
import subprocess
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7

from birthmark.core.issuance import Order
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.client import ESTClient, Patience
from birthmark.est.errors import ESTClientRefused
from birthmark.est.messages import Operation
from birthmark.net.errors import TLSRefused
from birthmark.net.transport import Response
from birthmark.pki.authorities import make_rig
from birthmark.pki.csr import build_csr
from birthmark.pki.names import device_subject, request_subject
from birthmark.testing.forge import ORGANIZATION, PRODUCT, new_key
from support.ca_process import ORDER, RunningCA
from support.est_parts import RIG, BornDevice, born, enrolment, renewal

EST = "/.well-known/est"
CMC = "application/pkcs7-mime; smime-type=CMC-request"
LARGE = b"\x30\x82\x4e\x20" + bytes(20_000)
"""A DER SEQUENCE below the limit of a body and above the limit of a request."""
PKCS10 = {"Content-Type": "application/pkcs10"}


def post(ca: RunningCA, client: str | None, operation: str, csr: bytes, label: str | None = ORDER) -> Response:
    path = f"{EST}/{label}/{operation}" if label else f"{EST}/{operation}"
    return ca.transport(client).request("POST", path, PKCS10, base64.b64encode(csr))


def finding(answer: Response) -> tuple[int, str]:
    return answer.status, answer.body.decode().partition(": ")[0]


def signed_data(body: bytes) -> bytes:
    return base64.b64decode(body, validate=True)


# --- §3.2 HTTP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["cacerts", "csrattrs"])
@pytest.mark.parametrize("label", ["", f"{ORDER}/"])
def test_operations_stand_below_the_well_known_path_with_a_label_and_without(
    ca: RunningCA, operation: str, label: str
) -> None:
    assert ca.transport().request("GET", f"{EST}/{label}{operation}").status == 200


@pytest.mark.parametrize("operation", Operation)
def test_the_name_of_an_operation_is_no_label(ca: RunningCA, operation: Operation) -> None:
    answer = ca.transport().request("GET", f"{EST}/{operation}/cacerts")
    assert finding(answer) == (404, "est.unknown-operation")


@pytest.mark.parametrize(
    ("operation", "methods"),
    [("cacerts", "GET"), ("csrattrs", "GET"), ("simpleenroll", "POST"), ("simplereenroll", "POST")],
)
def test_each_operation_has_its_method_and_no_other(ca: RunningCA, operation: str, methods: str) -> None:
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - {methods}:
        answer = ca.transport(RIG).request(method, f"{EST}/{ORDER}/{operation}")
        assert finding(answer) == (405, "est.method")
        assert answer.headers["allow"] == methods


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/pkcs7-mime", "application/x-pkcs10"])
@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll"])
def test_a_request_has_the_media_type_of_its_operation(ca: RunningCA, operation: str, media_type: str) -> None:
    answer = ca.transport(RIG).request("POST", f"{EST}/{ORDER}/{operation}", {"Content-Type": media_type}, b"MAA=")
    assert finding(answer) == (415, "est.media-type")


def test_no_client_is_asked_for_a_password(ca: RunningCA) -> None:
    answer = post(ca, None, "simpleenroll", ca.files.board("BM-000700").csr(bytes(32)))
    assert answer.status == 403
    assert "www-authenticate" not in answer.headers


# --- §3.3 TLS --------------------------------------------------------------------------------------------------


def test_without_tls_there_is_no_answer(ca: RunningCA) -> None:
    where = urlsplit(ca.url)
    with socket.create_connection((where.hostname or "", where.port or 0), 10) as plain:
        plain.sendall(f"GET {EST}/cacerts HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        plain.shutdown(socket.SHUT_WR)
        assert b"HTTP" not in plain.recv(1_000)


def handshake(ca: RunningCA, *options: str) -> bool:
    """Try a handshake with openssl, whose own policy is switched off, and return whether it came about."""
    where = ["-connect", ca.url.removeprefix("https://"), "-CAfile", str(ca.files.folder / "root.pem")]
    command = ["openssl", "s_client", *where, "-brief", "-verify_return_error", *options]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    return b"CONNECTION ESTABLISHED" in done.stderr


@pytest.mark.parametrize(
    ("options", "agreed"),
    [
        (("-tls1_3",), True),
        (("-tls1_2",), True),
        (("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), False),
        (("-tls1", "-cipher", "ALL:@SECLEVEL=0"), False),
        (("-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"), False),
        (("-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"), False),
        (("-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"), False),
        (("-tls1_2", "-cipher", "SRP:@SECLEVEL=0"), False),
    ],
    ids=["1.3", "1.2", "1.1", "1.0", "NULL", "anonymous", "no forward secrecy", "SRP"],
)
def test_tls_is_1_2_or_later_with_encryption_and_authentication(
    ca: RunningCA, options: tuple[str, ...], *, agreed: bool
) -> None:
    assert handshake(ca, *options) is agreed


def test_the_server_proves_itself_with_a_certificate_for_its_name(ca: RunningCA) -> None:
    assert handshake(ca, "-verify_hostname", "localhost")
    assert not handshake(ca, "-verify_hostname", "other.example")


def test_the_client_is_authenticated_by_its_certificate(ca: RunningCA) -> None:
    board = ca.files.board("BM-000701")
    csr = enrolment(ca, board)
    assert finding(post(ca, None, "simpleenroll", csr)) == (403, "ca.1.rig")
    assert post(ca, RIG, "simpleenroll", csr).status == 200


def test_a_client_certificate_that_has_expired_is_refused(ca: RunningCA) -> None:
    key = new_key()
    past = ca.files.now - timedelta(days=40)
    ca.files.identity("expired", key, make_rig(ca.files.operations, RIG, key.public_key(), past, 30))
    with pytest.raises(TLSRefused):
        ca.est("expired").simpleenroll(ca.files.board("BM-000702").csr(bytes(32)))


# --- §3.7 authorisation ----------------------------------------------------------------------------------------


def test_an_authenticated_client_is_not_therefore_authorised(ca: RunningCA) -> None:
    device = born(ca, "BM-000703")
    other = ca.files.board("BM-000704")
    csr = enrolment(ca, other)
    assert finding(post(ca, device.name, "simpleenroll", csr)) == (403, "ca.1.rig")
    assert finding(post(ca, RIG, "simplereenroll", csr, None)) == (403, "ca.1.device")
    assert finding(post(ca, RIG, "simpleenroll", csr, "another-order")) == (404, "ca.8.unknown")


# --- §4.1 cacerts ----------------------------------------------------------------------------------------------


def test_cacerts_needs_no_client_certificate(ca: RunningCA) -> None:
    assert ca.transport().request("GET", f"{EST}/cacerts").status == 200


def test_cacerts_is_a_certs_only_message_with_root_and_chain(ca: RunningCA) -> None:
    answer = ca.transport().request("GET", f"{EST}/cacerts")
    assert answer.headers["content-type"] == "application/pkcs7-mime"
    certificates = pkcs7.load_der_pkcs7_certificates(signed_data(answer.body))
    root, issuing = ca.files.forge.root.certificate, ca.files.forge.issuing.certificate
    assert {root, issuing} <= set(certificates)
    issued = born(ca, "BM-000705").certificate
    issued.verify_directly_issued_by(next(each for each in certificates if each.subject == issued.issuer))


# --- §4.2 enrolment --------------------------------------------------------------------------------------------


def test_an_enrolment_is_answered_with_the_issued_certificate_and_only_that(ca: RunningCA) -> None:
    board = ca.files.board("BM-000706")
    answer = post(ca, RIG, "simpleenroll", enrolment(ca, board))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    (certificate,) = pkcs7.load_der_pkcs7_certificates(signed_data(answer.body))
    assert certificate.public_key() == board.key.public_key()


def test_a_renewal_is_answered_with_the_issued_certificate_and_only_that(ca: RunningCA) -> None:
    device, key = born(ca, "BM-000707"), new_key()
    answer = post(ca, device.name, "simplereenroll", renewal(ca, device, key), None)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/pkcs7-mime; smime-type=certs-only"
    (certificate,) = pkcs7.load_der_pkcs7_certificates(signed_data(answer.body))
    assert certificate.public_key() == key.public_key()


def test_a_request_that_is_not_signed_by_its_own_key_is_refused(ca: RunningCA) -> None:
    board = ca.files.board("BM-000708")
    csr = bytearray(enrolment(ca, board))
    csr[-1] ^= 1
    assert finding(post(ca, RIG, "simpleenroll", bytes(csr))) == (400, "csr.possession")


@pytest.fixture(scope="module")
def device(ca: RunningCA) -> BornDevice:
    return born(ca, "BM-000709")


def san_of(device: BornDevice) -> x509.SubjectAlternativeName:
    return device.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


@pytest.mark.parametrize("changed", ["subject", "subject order", "no san", "another san", "first request"])
def test_a_renewal_has_the_subject_and_the_san_of_the_current_certificate(
    ca: RunningCA, device: BornDevice, changed: str
) -> None:
    key, current = new_key(), device.certificate.subject
    chip = device.board.chip
    bundle = chip.bundle(chip.attest(key.public_key(), ca.est(device.name, None).nonce().nonce))
    other_san = x509.SubjectAlternativeName([x509.DNSName("device.example")])
    csr = {
        "subject": lambda: build_csr(key, device_subject("BM-000710", PRODUCT, ORGANIZATION), bundle, san_of(device)),
        "subject order": lambda: build_csr(key, x509.Name([*current][::-1]), bundle, san_of(device)),
        "no san": lambda: build_csr(key, current, bundle),
        "another san": lambda: build_csr(key, current, bundle, other_san),
        "first request": lambda: build_csr(key, request_subject(device.name), bundle),
    }[changed]()
    assert finding(post(ca, device.name, "simplereenroll", csr, None)) == (403, "ca.re.subject")


def test_a_renewal_under_the_same_key_is_refused_unless_the_profile_allows_it(
    ca: RunningCA, device: BornDevice
) -> None:
    csr = renewal(ca, device, device.board.key)
    assert finding(post(ca, device.name, "simplereenroll", csr, None)) == (409, "ca.re.same-key")


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"***", 400), (b"MAA=", 400), (b"A" * 70_000, 413), (base64.b64encode(LARGE), 413)],
    ids=["empty", "no base64", "no request", "too long", "too long a request"],
)
@pytest.mark.parametrize("operation", ["simpleenroll", "simplereenroll"])
def test_a_problem_is_answered_with_4xx_and_a_reason_in_plain_text(
    ca: RunningCA, device: BornDevice, operation: str, body: bytes, status: int
) -> None:
    client, path = (RIG, f"{ORDER}/{operation}") if operation == "simpleenroll" else (device.name, operation)
    answer = ca.transport(client).request("POST", f"{EST}/{path}", PKCS10, body)
    assert answer.status == status
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert re.fullmatch(r"[a-z0-9.-]+: [^\n]{10,}\n", answer.body.decode())


def test_a_refusal_that_passes_by_itself_says_when_to_come_again(ca: RunningCA) -> None:
    ca.est(RIG).nonce(PKIX_EVIDENCE, "BM-000711")
    with pytest.raises(ESTClientRefused) as refused:
        ca.est("rig-b").nonce(PKIX_EVIDENCE, "BM-000711")
    assert refused.value.retry_after_s


@pytest.fixture
def waiting(ca: RunningCA) -> Order:
    """An order that its second person approves tomorrow."""
    order = replace(ca.files.order, id="order-2", approved_at=ca.files.now + timedelta(days=1))
    ca.files.put_order(order)
    return order


def test_a_request_that_waits_for_an_approval_is_answered_with_202_and_retry_after(
    ca: RunningCA, waiting: Order
) -> None:
    board = ca.files.board("BM-000713")
    answer = post(ca, RIG, "simpleenroll", enrolment(ca, board), waiting.id)
    assert finding(answer) == (202, "ca.8.unapproved")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_same_request_gets_its_certificate_when_the_approval_has_come(ca: RunningCA, waiting: Order) -> None:
    board, waits = ca.files.board("BM-000714"), list[float]()

    def approve(wait_s: float) -> None:
        waits.append(wait_s)
        ca.files.put_order(replace(waiting, approved_at=ca.files.now))

    client = ESTClient(ca.transport(RIG).request, waiting.id, Patience(approve, 120))
    assert client.simpleenroll(enrolment(ca, board)).public_key() == board.key.public_key()
    assert len(waits) == 1


def test_an_order_that_waits_for_an_approval_grants_no_nonce_and_says_when_to_come_again(
    ca: RunningCA, waiting: Order
) -> None:
    unheard_of = replace(waiting, id="order-3")
    ca.files.put_order(unheard_of)
    with pytest.raises(ESTClientRefused) as told:
        ESTClient(ca.transport(RIG).request, unheard_of.id).nonce(PKIX_EVIDENCE, "BM-000715")
    assert (told.value.status, told.value.finding) == (202, "ca.8.unapproved")
    assert told.value.retry_after_s


# --- §4.3 fullcmc, §4.4 serverkeygen ---------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["fullcmc", "serverkeygen"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("media_type", ["application/pkcs10", CMC, "text/plain"])
@pytest.mark.parametrize("client", [RIG, None], ids=["rig", "nobody"])
def test_full_cmc_and_server_side_keys_are_refused_with_the_reason(
    ca: RunningCA, operation: str, method: str, media_type: str, client: str | None
) -> None:
    answer = ca.transport(client).request(method, f"{EST}/{ORDER}/{operation}", {"Content-Type": media_type}, b"MAA=")
    assert finding(answer) == (501, "est.not-offered")
    assert answer.headers["content-type"].startswith("text/plain")
    assert {"fullcmc": b"use simpleenroll", "serverkeygen": b"made in its chip"}[operation] in answer.body


# --- §4.5 csrattrs ---------------------------------------------------------------------------------------------


def test_csrattrs_needs_no_client_certificate_and_has_its_media_type(ca: RunningCA) -> None:
    answer = ca.transport().request("GET", f"{EST}/csrattrs")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/csrattrs")


def test_a_request_for_a_key_that_csrattrs_does_not_ask_for_may_be_refused(ca: RunningCA) -> None:
    board = ca.files.board("BM-000712")
    board.key = new_key(ec.SECP384R1())
    answer = post(ca, RIG, "simpleenroll", enrolment(ca, board))
    assert finding(answer) == (403, "ca.9.algorithm")
