# SPDX-License-Identifier: Apache-2.0
"""How the answers of a CA are sorted, asked over real TLS of a server that answers what it is told."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.x509 import ObjectIdentifier
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est import csrattrs, wishes
from birthmark.est.messages import encode_body
from birthmark.line.authority import Confirmation, WireAuthority
from birthmark.line.errors import AuthorityAway, AuthorityRefused, UnitInWork
from birthmark.line.ports import CertificateState
from birthmark.net.tls import client_context, server_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.silicon.port import Algorithm
from support.births import Births
from support.https_server import serving
from support.parcels import born, parcel
from support.tls_files import TLSFiles

UNIT = "BM-000001"
BIRTH = Births().of(UNIT)
PARCEL = parcel(born(BIRTH))


@dataclass
class ToldCA:
    """An ASGI application that gives one answer to everything, and keeps what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def tell(self, status: int, body: str | bytes = b"", **headers: str) -> None:
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        self.asked.append((request.method, request.url.path, request.headers.get("content-type", "")))
        await Response(self.body, self.status, self.headers)(scope, receive, send)


@pytest.fixture
def ca() -> ToldCA:
    return ToldCA()


@pytest.fixture
def transport(ca: ToldCA, tmp_path: Path) -> Iterator[HTTPTransport]:
    files = TLSFiles(tmp_path, datetime.now(UTC))
    server, rig = files.server(), files.rig()
    context = server_context(server.certificate, server.key, files.trust)
    with serving(ca, context) as listening:
        transport = HTTPTransport(listening.url, client_context(files.trust, rig.certificate, rig.key), timeout_s=5.0)
        yield transport
        transport.close()


@pytest.fixture
def authority(transport: HTTPTransport) -> WireAuthority:
    return WireAuthority(transport, "order-1")


@pytest.mark.parametrize(
    ("status", "headers", "wait_s"),
    [(503, {"retry_after": "7"}, 7), (503, {}, None), (202, {"retry_after": "3"}, 3), (429, {}, None), (502, {}, None)],
)
def test_a_ca_that_asks_for_patience_is_away(
    ca: ToldCA, authority: WireAuthority, status: int, headers: dict[str, str], wait_s: int | None
) -> None:
    ca.tell(status, "ca.signer: the HSM is away", **headers)
    with pytest.raises(AuthorityAway) as caught:
        authority.nonce(PKIX_EVIDENCE, UNIT)
    assert caught.value.retry_after_s == wait_s
    assert caught.value.finding == "ca.signer"
    assert not isinstance(caught.value, UnitInWork)


def test_a_unit_that_another_rig_works_on_is_known_by_its_finding(ca: ToldCA, authority: WireAuthority) -> None:
    ca.tell(409, "ca.6.unit-in-work: the unit is with rig-b", retry_after="12")
    with pytest.raises(UnitInWork) as caught:
        authority.nonce(PKIX_EVIDENCE, UNIT)
    assert caught.value.retry_after_s == 12


@pytest.mark.parametrize(
    ("status", "finding"), [(403, "ca.8.quota"), (409, "ca.7.chip-alive"), (400, "csr.malformed"), (500, "internal")]
)
def test_any_other_refusal_is_final_and_keeps_its_finding(
    ca: ToldCA, authority: WireAuthority, status: int, finding: str
) -> None:
    ca.tell(status, f"{finding}: no")
    with pytest.raises(AuthorityRefused) as caught:
        authority.enrol(b"\x30\x00")
    assert caught.value.finding == finding


def test_an_answer_that_is_none_is_final(ca: ToldCA, authority: WireAuthority) -> None:
    ca.tell(200, "<html>", content_type="text/html")
    with pytest.raises(AuthorityRefused) as caught:
        authority.nonce(PKIX_EVIDENCE, UNIT)
    assert caught.value.finding == "est.unexpected-answer"


def test_a_ca_that_nobody_runs_is_away_with_what_to_do(tmp_path: Path) -> None:
    files = TLSFiles(tmp_path, datetime.now(UTC))
    nobody = HTTPTransport("https://127.0.0.1:1", client_context(files.trust), timeout_s=1.0)
    with pytest.raises(AuthorityAway) as caught:
        WireAuthority(nobody, "order-1").nonce(PKIX_EVIDENCE, UNIT)
    assert caught.value.finding == "net.unreachable"
    assert "resumes alone" in caught.value.hint


def test_the_state_of_a_certificate_is_read_and_absence_is_none(ca: ToldCA, authority: WireAuthority) -> None:
    state = {"unit_serial": UNIT, "chip_serial": "0A1B2C3D", "state": "issued", "order": "order-1"}
    ca.tell(200, json.dumps(state))
    assert authority.certificate("ab" * 32) == CertificateState(UNIT, "0A1B2C3D", "issued", "order-1")
    ca.tell(404, "ca.unknown: no such certificate")
    assert authority.certificate("ab" * 32) is None
    assert ca.asked[0][:2] == ("GET", "/v1/certificates/" + "ab" * 32)


@pytest.mark.parametrize("body", ["{}", "[]", "not json", '{"unit_serial": 1}'])
def test_a_state_that_cannot_be_read_is_final(ca: ToldCA, authority: WireAuthority, body: str) -> None:
    ca.tell(200, body)
    with pytest.raises(AuthorityRefused):
        authority.certificate("ab" * 32)


def test_a_birth_is_posted_as_it_is(ca: ToldCA, transport: HTTPTransport) -> None:
    ca.tell(204)
    Confirmation(transport).deliver(PARCEL)
    assert ca.asked == [("POST", "/v1/births", "application/jose")]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (503, DeliveryDeferred),
        (500, DeliveryDeferred),
        (429, DeliveryDeferred),
        (400, DeliveryRefused),
        (403, DeliveryRefused),
        (404, DeliveryRefused),
        (409, DeliveryRefused),
    ],
)
def test_a_birth_that_is_not_taken_waits_or_is_parked(
    ca: ToldCA, transport: HTTPTransport, status: int, expected: type[Exception]
) -> None:
    ca.tell(status, "birth.signer: not this rig's")
    with pytest.raises(expected) as caught:
        Confirmation(transport).deliver(PARCEL)
    assert getattr(caught.value, "finding", "") == "birth.signer"


def test_warming_opens_a_connection_for_each_board(ca: ToldCA, transport: HTTPTransport) -> None:
    ca.tell(503, "ca.signer: away")
    with ThreadPoolExecutor(4) as threads:
        WireAuthority(transport, "order-1").warm(4, threads)
    assert len(ca.asked) == 4


CSRATTRS = {"content_type": "application/csrattrs"}


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_the_key_is_of_the_type_that_the_ca_asks_for(
    ca: ToldCA, authority: WireAuthority, algorithm: KeyAlgorithm
) -> None:
    ca.tell(200, encode_body(csrattrs.encode(wishes.for_first_request(algorithm))), **CSRATTRS)
    assert authority.key_type().value == algorithm.value
    assert ca.asked[-1][:2] == ("GET", "/.well-known/est/order-1/csrattrs")


def test_a_ca_without_a_wish_gets_p256(ca: ToldCA, authority: WireAuthority) -> None:
    ca.tell(204)
    assert authority.key_type() is Algorithm.P256


def test_a_key_that_no_chip_of_ours_makes_is_no_reason_to_come_again(ca: ToldCA, authority: WireAuthority) -> None:
    ed448 = csrattrs.Attribute(ObjectIdentifier("1.3.101.113"), ())
    ca.tell(200, encode_body(csrattrs.encode([ed448])), **CSRATTRS)
    with pytest.raises(AuthorityRefused) as refused:
        authority.key_type()
    assert refused.value.finding == "est.csrattrs.key"
