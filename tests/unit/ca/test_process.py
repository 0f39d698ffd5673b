# SPDX-License-Identifier: Apache-2.0
"""The real server process, from files, over real mutual TLS."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from birthmark.ca.wiring import open_ca
from birthmark.core.birth import sign_birth
from birthmark.core.ids import fingerprint
from birthmark.core.registry import ID_AA_ATTESTATION, PKIX_EVIDENCE
from birthmark.est.errors import ESTClientRefused
from birthmark.net.errors import TLSRefused
from birthmark.pki.authorities import make_rig
from birthmark.pki.crl import read_crl
from birthmark.testing.forge import TPM, Forge, new_key
from support.ca_parts import Board, birth_record
from support.ca_process import FRONT, ORDER, CAFiles, RunningCA, running_ca

UNIT = "BM-000001"


@pytest.fixture(scope="module", params=["", FRONT], ids=["own TLS", "Envoy"])
def files(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CAFiles:
    made = CAFiles(tmp_path_factory.mktemp("ca"))
    with made.config.open("a") as config:
        config.write(request.param)
    return made


@pytest.fixture(scope="module")
def ca(files: CAFiles) -> Iterator[RunningCA]:
    with running_ca(files) as running:
        yield running


def nonce(ca: RunningCA, unit: str, rig: str = "rig-a") -> bytes:
    return ca.est(rig).nonce(PKIX_EVIDENCE, unit).nonce


def revoked(ca: RunningCA) -> frozenset[int]:
    answer = ca.transport().request("GET", "/v1/crl")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/pkix-crl")
    return read_crl(answer.body, ca.files.forge.issuing.certificate, datetime.now(UTC)).serials


def refusal(status: int, body: bytes) -> tuple[int, str]:
    finding, _, reason = body.decode().partition(": ")
    assert reason.strip()
    return status, finding


def test_anyone_may_ask_for_the_ca_certificates(ca: RunningCA) -> None:
    chain = {ca.files.forge.issuing.certificate, ca.files.forge.root.certificate}
    assert set(ca.est(None, None).cacerts()) == chain
    assert set(ca.est(None).cacerts()) == chain


def test_anyone_may_ask_what_a_request_should_hold(ca: RunningCA) -> None:
    assert ID_AA_ATTESTATION in ca.est(None).csrattrs()


@pytest.mark.parametrize(("unit", "tpm"), [("BM-000011", False), ("BM-000012", True)], ids=["apdu", "tpm"])
def test_a_rig_enrols_a_board_and_the_other_rig_gets_the_same(ca: RunningCA, unit: str, *, tpm: bool) -> None:
    board = ca.files.board(unit, TPM) if tpm else ca.files.board(unit)
    certificate = ca.est("rig-a").simpleenroll(board.csr(nonce(ca, unit)))
    assert certificate.public_key() == board.key.public_key()
    assert ca.est("rig-b").simpleenroll(board.csr(nonce(ca, unit, "rig-b"))) == certificate


def test_a_rig_asks_for_the_state_of_a_certificate(ca: RunningCA) -> None:
    board = ca.files.board("BM-000013")
    certificate = ca.est("rig-a").simpleenroll(board.csr(nonce(ca, board.unit)))
    sha256 = fingerprint(certificate.public_bytes(Encoding.DER))
    answer = ca.transport("rig-b").request("GET", f"/v1/certificates/{sha256}")
    assert answer.status == 200
    assert b'"state":"issued"' in answer.body.replace(b" ", b"")
    assert refusal(*ca.transport().request("GET", f"/v1/certificates/{sha256}")[::2]) == (403, "ca.1.rig")
    unknown = ca.transport("rig-b").request("GET", f"/v1/certificates/{'0' * 64}")
    assert refusal(unknown.status, unknown.body) == (404, "ca.certificate.unknown")


def test_a_client_without_a_certificate_is_told_why(ca: RunningCA) -> None:
    with pytest.raises(ESTClientRefused) as refused:
        ca.est(None).simpleenroll(ca.files.board(UNIT).csr(bytes(32)))
    assert (refused.value.status, refused.value.finding) == (403, "ca.1.rig")


def test_a_client_of_a_foreign_root_does_not_get_through_tls(ca: RunningCA) -> None:
    key = new_key()
    stranger = make_rig(Forge.at(ca.files.now).issuing, "rig-a", key.public_key(), ca.files.now)
    ca.files.identity("stranger", key, stranger)
    with pytest.raises(TLSRefused):
        ca.est("stranger").simpleenroll(ca.files.board(UNIT).csr(bytes(32)))


def test_a_unit_in_work_says_when_to_come_back(ca: RunningCA) -> None:
    nonce(ca, "BM-000014", "rig-a")
    with pytest.raises(ESTClientRefused) as refused:
        nonce(ca, "BM-000014", "rig-b")
    assert (refused.value.status, refused.value.finding) == (409, "ca.6.unit-in-work")
    assert refused.value.retry_after_s is not None
    assert 50 <= refused.value.retry_after_s <= 60


@pytest.mark.parametrize(
    ("method", "operation", "media_type", "status", "finding"),
    [
        ("POST", "serverkeygen", "application/pkcs10", 501, "est.not-offered"),
        ("POST", "fullcmc", "application/pkcs7-mime", 501, "est.not-offered"),
        ("GET", "simpleenroll", "", 405, "est.method"),
        ("DELETE", "nonce", "", 405, "est.method"),
        ("POST", "simpleenroll", "text/plain", 415, "est.media-type"),
        ("POST", "simpleenroll", "application/pkcs10", 400, "est.base64"),
        ("POST", "nonsense", "application/pkcs10", 404, "est.unknown-operation"),
    ],
)
def test_a_call_that_is_not_est_is_answered_with_a_reason(
    ca: RunningCA, method: str, operation: str, media_type: str, status: int, finding: str
) -> None:
    path = f"/.well-known/est/{ORDER}/{operation}"
    answer = ca.transport("rig-a").request(method, path, {"Content-Type": media_type}, b"***")
    assert refusal(answer.status, answer.body) == (status, finding)
    assert answer.headers["content-type"].startswith("text/plain")


def test_an_endless_body_is_not_read_to_its_end(ca: RunningCA) -> None:
    headers = {"Content-Type": "application/pkcs10"}
    answer = ca.transport("rig-a").request("POST", f"/.well-known/est/{ORDER}/simpleenroll", headers, b"A" * 70_000)
    assert answer.status == 413


def test_a_birth_record_must_be_sent_as_one(ca: RunningCA) -> None:
    answer = ca.transport("rig-a").request("POST", "/v1/births", {"Content-Type": "text/plain"}, b"a.b.c")
    assert refusal(answer.status, answer.body) == (415, "ca.birth.media-type")
    answer = ca.transport("rig-a").request("POST", "/v1/births", {"Content-Type": "application/jose"}, b"a.b.c")
    assert refusal(answer.status, answer.body)[0] in {400, 403}


def test_the_administrator_revokes_beside_the_running_service(ca: RunningCA) -> None:
    board = ca.files.board("BM-000015")
    certificate = ca.est("rig-a").simpleenroll(board.csr(nonce(ca, board.unit)))
    serial = f"{certificate.serial_number:X}"
    with open_ca(ca.files.config) as authority:
        authority.revoke(":".join(serial[n : n + 2] for n in range(0, len(serial), 2)), "test")
    wait_for(lambda: certificate.serial_number in revoked(ca))
    with pytest.raises(ESTClientRefused) as refused:
        ca.est("rig-a").simpleenroll(board.csr(nonce(ca, board.unit)))
    assert refused.value.finding == "ca.7.denied"


def test_a_device_renews_itself_over_its_own_certificate(ca: RunningCA) -> None:
    board, key = ca.files.board("BM-000016"), new_key()
    current = ca.est("rig-a").simpleenroll(board.csr(nonce(ca, board.unit)))
    confirm(ca, board, current)
    ca.files.identity("device", board.key, current)
    device = ca.est("device", None)
    csr = board.renewal_csr(key, device.nonce().nonce, current)
    new = device.simplereenroll(csr)
    assert new.public_key() == key.public_key()
    assert new.subject == current.subject
    assert device.simplereenroll(csr) == new


def test_a_killed_process_comes_back_with_what_it_had_promised(tmp_path_factory: pytest.TempPathFactory) -> None:
    files = CAFiles(tmp_path_factory.mktemp("killed"))
    board = files.board(UNIT)
    with running_ca(files) as ca:
        csr = board.csr(nonce(ca, UNIT))
        certificate = ca.est("rig-a").simpleenroll(csr)
        ca.process.kill()
        ca.process.wait()
    with running_ca(files) as ca:
        assert ca.est("rig-a").simpleenroll(csr) == certificate
    log = files.folder.joinpath("ca.log").read_text()
    assert "simpleenroll' 200" in log
    assert "Traceback" not in log


def confirm(ca: RunningCA, board: Board, certificate: x509.Certificate) -> None:
    """Send the birth record, twice, as an outbox does that missed the first answer."""
    record = birth_record(board, certificate)
    key = load_pem_private_key(ca.files.folder.joinpath("rig-a.key").read_bytes(), None)
    rig = x509.load_pem_x509_certificate(ca.files.folder.joinpath("rig-a.pem").read_bytes())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    body = sign_birth(record, key, rig).encode()
    for _ in range(2):
        assert (
            ca.transport("rig-a").request("POST", "/v1/births", {"Content-Type": "application/jose"}, body).status
            == 204
        )


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for a second list: the same one answers for a second."""
    ends = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)
