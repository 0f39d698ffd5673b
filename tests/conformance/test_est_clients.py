# SPDX-License-Identifier: Apache-2.0
"""EST clients that nobody here wrote: curl as an RA with a ready request, strongSwan's pki."""

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from birthmark.core.registry import EST_NONCE_MEDIA_TYPE, PKIX_EVIDENCE
from birthmark.est.messages import EST_MAX_BODY_BYTES, NONCE_MAX_BODY_BYTES
from birthmark.pki.csr import CSR_MAX_BYTES
from birthmark.testing.lab.record import Lab
from support.labs import birthmark, certificates


def curl(lab: Lab, path: str, *options: str, rig: str | None = "rig-a") -> tuple[int, str]:
    credential = ["--cert", lab.rig_certificates[rig], "--key", lab.rig_keys[rig]] if rig else []
    command = ["curl", "--silent", "--show-error", "--cacert", lab.trust, "--write-out", "\n%{http_code}"]
    url = f"{lab.ca_url}/.well-known/est/{path}"
    run = [*command, *credential, *options, url]
    done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def post(lab: Lab, path: str, request: Path, rig: str | None = "rig-a") -> tuple[int, str]:
    options = ("--header", "Content-Type: application/pkcs10", "--data-binary", f"@{request}")
    return curl(lab, path, *options, rig=rig)


def nonce(lab: Lab, unit: str) -> str:
    body = {"len": 32, "reqTypeInfo": {"type": PKIX_EVIDENCE.dotted_string, "reqInfo": {"unit": unit}}}
    options = ("--header", f"Content-Type: {EST_NONCE_MEDIA_TYPE}", "--data", json.dumps(body))
    status, answer = curl(lab, f"{lab.order}/nonce", *options)
    assert status == 200, answer
    return str(json.loads(answer)["nonce"])


def request(lab: Lab, number: int, *, attested: bool) -> Path:
    board = lab.boards[number]
    out = lab.path / f"{board.unit}-{attested}.b64"
    evidence = ("--nonce", nonce(lab, board.unit)) if attested else ()
    done = birthmark("device", "csr", "--chip", board.chip, "--unit", board.unit, *evidence, "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_curl_posts_a_request_made_with_the_chip_and_gets_its_certificate(lab: Lab, tmp_path: Path) -> None:
    status, body = post(lab, f"{lab.order}/simpleenroll", request(lab, 0, attested=True))
    assert status == 200, body
    assert "\n" not in body
    assert "\r" not in body
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(body, validate=True))
    path = tmp_path / "device.der"
    path.write_bytes(certificate.public_bytes(Encoding.DER))
    verified = birthmark("verify", path, "--chipmaker-root", lab.chipmaker_trust, "--root", lab.trust)
    assert verified.returncode == 0, verified.stdout


def test_openssl_verifies_the_certificate_that_curl_got(lab: Lab, tmp_path: Path) -> None:
    _, body = post(lab, f"{lab.order}/simpleenroll", request(lab, 1, attested=True))
    bundle = tmp_path / "device.p7"
    bundle.write_bytes(base64.b64decode(body))
    pem = tmp_path / "device.pem"
    run = ["openssl", "pkcs7", "-inform", "DER", "-in", bundle, "-print_certs", "-out", pem]
    subprocess.run(run, check=True, timeout=30)
    roots = lab.path / "pki" / "trust.pem"
    verify = ["openssl", "verify", "-CAfile", roots, "-purpose", "sslclient", pem]
    assert "OK" in subprocess.run(verify, check=True, capture_output=True, text=True, timeout=30).stdout


def test_the_same_request_without_evidence_is_refused_with_a_readable_reason(lab: Lab) -> None:
    status, body = post(lab, f"{lab.order}/simpleenroll", request(lab, 2, attested=False))
    assert 400 <= status < 500
    assert "attestation" in body


def test_a_request_without_a_client_certificate_is_refused(lab: Lab) -> None:
    status, body = post(lab, f"{lab.order}/simpleenroll", request(lab, 2, attested=False), rig=None)
    assert status in {401, 403}, body


def test_strongswan_gets_the_ca_certificates(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "ca.pem"
    run = ["pki", "--estca", "--url", lab.ca_url, "--cacert", str(lab.path / "offline/root.pem")]
    subprocess.run([*run, "--caout", str(out), "--outform", "pem"], check=True, capture_output=True, timeout=30)
    got = [x509.load_pem_x509_certificate(path.read_bytes()) for path in sorted(tmp_path.glob("ca*.pem"))]
    expected = x509.load_pem_x509_certificates((lab.path / "pki/ca-chain.pem").read_bytes())
    assert {certificate.serial_number for certificate in got} == {c.serial_number for c in expected}


def test_strongswan_without_a_client_certificate_is_refused(lab: Lab, tmp_path: Path) -> None:
    text = request(lab, 2, attested=False)
    pem = tmp_path / "request.pem"
    pem.write_text(f"-----BEGIN CERTIFICATE REQUEST-----\n{text.read_text()}\n-----END CERTIFICATE REQUEST-----\n")
    run = ["pki", "--est", "--url", f"{lab.ca_url}", "--in", str(pem), "--outform", "pem"]
    anchors = ["--cacert", str(lab.path / "offline/root.pem"), "--cacert", str(lab.path / "pki/issuing.pem")]
    done = subprocess.run([*run, *anchors], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "BEGIN CERTIFICATE" not in done.stdout


@pytest.mark.parametrize("operation", ["cacerts", "csrattrs"])
def test_what_needs_no_client_certificate_is_answered_without_one(lab: Lab, operation: str) -> None:
    status, body = curl(lab, operation, rig=None)
    assert status == 200
    base64.b64decode(body, validate=True)


PKCS10 = ("--header", "Content-Type: application/pkcs10")
# A DER SEQUENCE of 20 000 bytes: below the limit of a body, above the limit of a request.
LARGE_REQUEST = base64.b64encode(b"\x30\x82\x4e\x20" + bytes(20_000)).decode()
NONCE = ("--header", f"Content-Type: {EST_NONCE_MEDIA_TYPE}")


@pytest.mark.parametrize(
    ("operation", "options", "expected", "reason"),
    [
        ("simpleenroll", (*PKCS10, "--data", "*** not base64 ***"), 400, "est.base64: the body is not base64"),
        ("simpleenroll", (*PKCS10, "--data", "AAECAwQ="), 400, "est.der: "),
        ("simpleenroll", (*PKCS10, "--data", "MAA="), 400, "csr.malformed: "),
        ("simpleenroll", (*PKCS10, "--data", ""), 400, "est.base64: "),
        ("simpleenroll", ("--header", "Content-Type: text/plain", "--data", "AAAA"), 415, "est.media-type: "),
        ("simpleenroll", ("--header", "Content-Type:", "--data", "AAAA"), 415, "est.media-type: "),
        ("simpleenroll", ("--request", "GET"), 405, "est.method: simpleenroll is called with POST"),
        (
            *("simpleenroll", (*PKCS10, "--data", "A" * 100_000), 413),
            f"net.body-too-large: the body has more than {EST_MAX_BODY_BYTES} bytes",
        ),
        (
            *("simpleenroll", (*PKCS10, "--data", LARGE_REQUEST), 413),
            f"csr.too-large: a request of 20004 bytes; at most {CSR_MAX_BYTES} are read",
        ),
        ("nonce", (*NONCE, "--data", "{"), 400, "est.nonce: the nonce request is not what it should be"),
        ("nonce", (*NONCE, "--data", '{"len": "long"}'), 400, "est.nonce: "),
        ("nonce", (*NONCE, "--data", '{"len": 32, "colour": "red"}'), 400, "est.nonce: "),
        ("nonce", (*NONCE, "--data", '{"len": 32, "reqTypeInfo": {"type": "one"}}'), 400, "est.nonce: "),
        ("nonce", (*NONCE, "--data", " " * 5_000), 413, f"est.too-large: .* {NONCE_MAX_BODY_BYTES} "),
        ("nonce", ("--header", "Content-Type: application/json", "--data", "{}"), 415, "est.media-type: "),
        ("nonce", ("--request", "PUT", *NONCE, "--data", "{}"), 405, "est.method: nonce is called with GET or POST"),
        ("cacerts", ("--request", "POST", *PKCS10, "--data", "AAAA"), 405, "est.method: "),
        ("serverkeygen", (*PKCS10, "--data", "AAAA"), 501, "est.not-offered: "),
        ("simplewrite", ("--request", "GET"), 404, "est.unknown-operation: "),
    ],
)
def test_bad_input_gets_the_right_status_and_a_plain_reason(
    lab: Lab, operation: str, options: tuple[str, ...], expected: int, reason: str
) -> None:
    before = certificates(lab)
    status, answer = curl(lab, f"{lab.order}/{operation}", *options, "--include")
    head, _, body = answer.partition("\n\n")
    assert status == expected, answer
    assert re.search(r"(?mi)^content-type: text/plain; charset=utf-8$", head)
    assert re.match(reason, body)
    assert certificates(lab) == before
