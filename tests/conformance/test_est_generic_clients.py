# SPDX-License-Identifier: Apache-2.0
"""
EST clients that know nothing of evidence, with a ready request: as a registration authority and as a device.

A chip made the request, with a fresh nonce inside; the client carries it. BouncyCastle speaks EST by itself, curl and
openssl s_client are told what to say.
"""

import base64
import re
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from birthmark.core.registry import ID_AA_ATTESTATION
from birthmark.testing.forge import new_key
from support import bouncycastle
from support.ca_process import ORDER, RunningCA
from support.est_parts import RIG, born, enrolment, pem_request, renewal

EC_PUBLIC_KEY = "1.2.840.10045.2.1"


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bouncycastle.build(tmp_path_factory.mktemp("judge"))


def java(ca: RunningCA, judge: Path, client: str, label: str, *call: str | Path) -> subprocess.CompletedProcess[str]:
    folder = ca.files.folder
    keystore = bouncycastle.identity(folder / f"{client}.pem", folder / f"{client}.key")
    return bouncycastle.run(judge, ca.url, label, folder / "root.pem", keystore, *call)


def test_bouncycastle_gets_the_ca_certificates(ca: RunningCA, judge: Path) -> None:
    done = java(ca, judge, RIG, ORDER, "cacerts")
    assert done.returncode == 0, done.stderr
    got = set(x509.load_pem_x509_certificates(done.stdout.encode()))
    assert got == {ca.files.forge.issuing.certificate, ca.files.forge.root.certificate}


def test_bouncycastle_reads_the_csr_attributes_and_passes_over_the_template(ca: RunningCA, judge: Path) -> None:
    done = java(ca, judge, RIG, ORDER, "csrattrs")
    assert done.returncode == 0, done.stderr
    assert {ID_AA_ATTESTATION.dotted_string, EC_PUBLIC_KEY} <= set(done.stdout.split())


def test_bouncycastle_enrols_as_a_registration_authority(ca: RunningCA, judge: Path, tmp_path: Path) -> None:
    board = ca.files.board("BM-000501")
    done = java(ca, judge, RIG, ORDER, "simpleenroll", pem_request(tmp_path, enrolment(ca, board)))
    assert done.returncode == 0, done.stderr + done.stdout
    (certificate,) = x509.load_pem_x509_certificates(done.stdout.encode())
    assert certificate.public_key() == board.key.public_key()


def test_bouncycastle_renews_as_a_device(ca: RunningCA, judge: Path, tmp_path: Path) -> None:
    device, key = born(ca, "BM-000502"), new_key()
    request = pem_request(tmp_path, renewal(ca, device, key))
    done = java(ca, judge, device.name, "", "simplereenroll", request)
    assert done.returncode == 0, done.stderr + done.stdout
    (certificate,) = x509.load_pem_x509_certificates(done.stdout.encode())
    assert certificate.public_key() == key.public_key()


def test_bouncycastle_is_told_why_it_is_refused(ca: RunningCA, judge: Path, tmp_path: Path) -> None:
    request = pem_request(tmp_path, ca.files.board("BM-000503").csr(bytes(32)))
    done = java(ca, judge, RIG, ORDER, "simpleenroll", request)
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith("REFUSED 403 ca.6.nonce-unknown: "), done.stdout


def test_bouncycastle_stumbles_over_the_text_in_not_yet(ca: RunningCA, judge: Path, tmp_path: Path) -> None:
    """RFC 7030 §4.2.3 allows the text; this client closes the answer before it has read it, and takes offence."""
    order = replace(ca.files.order, id="order-2", approved_at=ca.files.now + timedelta(days=1))
    ca.files.put_order(order)
    request = pem_request(tmp_path, enrolment(ca, ca.files.board("BM-000508"), ORDER))
    done = java(ca, judge, RIG, order.id, "simpleenroll", request)
    assert done.returncode not in {0, 3}
    assert "Stream closed before limit fully read" in done.stderr


# --- curl as a device ------------------------------------------------------------------------------------------


def curl(ca: RunningCA, client: str, path: str, *options: str | Path) -> bytes:
    folder = ca.files.folder
    credential = [
        "--cert",
        folder / f"{client}.pem",
        "--key",
        folder / f"{client}.key",
        "--cacert",
        folder / "root.pem",
    ]
    command = ["curl", "--silent", "--show-error", "--fail-with-body", *credential, *options]
    url = f"{ca.url}/.well-known/est/{path}"
    return subprocess.run([*command, url], check=True, capture_output=True, timeout=30).stdout


def test_curl_as_a_device_fetches_its_nonce_and_renews(ca: RunningCA, tmp_path: Path) -> None:
    device, key = born(ca, "BM-000504"), new_key()
    answer = curl(ca, device.name, "nonce").decode()
    found = re.search(r'"nonce":"([A-Za-z0-9_-]{43})"', answer)
    assert found, answer
    nonce = base64.urlsafe_b64decode(found[1] + "=")
    request = tmp_path / "request.b64"
    request.write_bytes(base64.b64encode(device.board.renewal_csr(key, nonce, device.certificate)))
    options = ("--header", "Content-Type: application/pkcs10", "--data-binary", f"@{request}")
    certificate = issued(curl(ca, device.name, "simplereenroll", *options))
    assert certificate.public_key() == key.public_key()


def test_curl_sends_a_body_in_chunks(ca: RunningCA, tmp_path: Path) -> None:
    """GlobalSign's client in Go does so too."""
    board = ca.files.board("BM-000505")
    request = tmp_path / "request.b64"
    request.write_bytes(base64.b64encode(enrolment(ca, board)))
    chunked = ("--header", "Transfer-Encoding: chunked", "--header", "Content-Type: application/pkcs10")
    answer = curl(ca, RIG, f"{ORDER}/simpleenroll", *chunked, "--data-binary", f"@{request}")
    assert issued(answer).public_key() == board.key.public_key()


# --- openssl s_client ------------------------------------------------------------------------------------------


def s_client(ca: RunningCA, client: str, path: str, csr: bytes) -> bytes:
    """Say one HTTP request through `openssl s_client` and return the body of the answer."""
    folder, body = ca.files.folder, base64.b64encode(csr)
    head = (
        f"POST /.well-known/est/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    options = ["-connect", ca.url.removeprefix("https://"), "-CAfile", folder / "root.pem", "-verify_return_error"]
    credential = ["-cert", folder / f"{client}.pem", "-key", folder / f"{client}.key"]
    done = subprocess.run(
        ["openssl", "s_client", "-quiet", *options, *credential],
        input=head.encode() + body,
        check=True,
        capture_output=True,
        timeout=30,
    )
    status, _, rest = done.stdout.partition(b"\r\n")
    assert status == b"HTTP/1.1 200 OK", done.stdout
    return rest.partition(b"\r\n\r\n")[2]


def test_openssl_s_client_enrols_as_a_registration_authority(ca: RunningCA) -> None:
    board = ca.files.board("BM-000506")
    certificate = issued(s_client(ca, RIG, f"{ORDER}/simpleenroll", enrolment(ca, board)))
    assert certificate.public_key() == board.key.public_key()


def test_openssl_s_client_renews_as_a_device(ca: RunningCA) -> None:
    device, key = born(ca, "BM-000507"), new_key()
    certificate = issued(s_client(ca, device.name, "simplereenroll", renewal(ca, device, key)))
    assert certificate.public_key() == key.public_key()


def issued(body: bytes) -> x509.Certificate:
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(body, validate=True))
    return certificate
