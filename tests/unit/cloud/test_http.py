# SPDX-License-Identifier: Apache-2.0
"""The edge over real mutual TLS: routes, statuses, refusals."""

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.cloud.http import CloudHTTP
from birthmark.cloud.service import TELEMETRY_MAX_BYTES
from birthmark.net.tls import client_context, server_context
from birthmark.net.transport import HTTPTransport, Response
from birthmark.testing.forge import Device
from support.cloud_parts import NOW, OLD_UNIT, UNIT, CloudParts
from support.https_server import serving
from support.tls_files import PrivateKey, TLSFiles, pem

Connect = Callable[[x509.Certificate | None, PrivateKey | None], HTTPTransport]
NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME: the forge's moment is not today's."""


@pytest.fixture
def connect(parts: CloudParts, tmp_path: Path) -> Iterator[Connect]:
    files = TLSFiles(tmp_path, NOW, root=parts.forge.root)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(CloudHTTP(parts.cloud).app(), _context(files, parts)))

        def connect(certificate: x509.Certificate | None, key: PrivateKey | None) -> HTTPTransport:
            context = client_context(files.trust)
            if certificate is not None and key is not None:
                identity = files.write("client", certificate, key)
                context.load_cert_chain(identity.certificate, identity.key)
            context.verify_flags |= NO_CHECK_TIME
            transport = HTTPTransport(server.url, context)
            stack.callback(transport.close)
            return transport

        yield connect


def _context(files: TLSFiles, parts: CloudParts) -> ssl.SSLContext:
    server = files.server()
    trust = pem(parts.forge.root.certificate, parts.forge.issuing.certificate, parts.legacy_root.certificate)
    context = server_context(server.certificate, server.key, trust)
    context.verify_flags |= NO_CHECK_TIME
    return context


@pytest.fixture
def link(parts: CloudParts, connect: Connect, device: Device) -> HTTPTransport:
    parts.feed.pull()
    return connect(device.certificate, device.key)


def refusal(answer: Response) -> tuple[int, str]:
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.status, answer.body.decode().partition(":")[0]


def test_a_device_learns_who_it_is(link: HTTPTransport) -> None:
    answer = link.request("GET", "/v1/me")
    assert answer.status == 200
    me = msgspec.json.decode(answer.body)
    assert (me["unit"], me["rights"]) == (UNIT, ["telemetry", "commands"])
    assert me["verdict"]["steps"][-1] == "cloud.names"


def test_telemetry_is_accepted_and_kept(parts: CloudParts, link: HTTPTransport) -> None:
    assert link.request("POST", f"/v1/devices/{UNIT}/telemetry", body=b'{"t": 1}').status == 202
    assert [message["body"] for message in parts.cloud.telemetry(UNIT)] == ['{"t": 1}']


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/v1/devices/BM-000002/telemetry", b"{}", (403, "cloud.unit-mismatch")),
        ("POST", f"/v1/devices/{UNIT}/telemetry", b"{", (400, "cloud.telemetry.malformed")),
        ("POST", f"/v1/devices/{UNIT}/telemetry", b'{"t": NaN}', (400, "cloud.telemetry.malformed")),
        ("POST", f"/v1/devices/{UNIT}/telemetry", b" " * (TELEMETRY_MAX_BYTES + 1), (413, "net.body-too-large")),
        ("POST", "/v1/devices/bm%0A/telemetry", b"{}", (400, "id.malformed")),
        ("GET", "/v1/devices/BM-000002/commands", b"", (403, "cloud.unit-mismatch")),
        ("GET", f"/v1/devices/{UNIT}/commands?wait_s=31", b"", (400, "cloud.query")),
        ("GET", f"/v1/devices/{UNIT}/commands?wait_s=nan", b"", (400, "cloud.query")),
        ("POST", f"/v1/devices/{UNIT}/commands/77/done", b"", (404, "cloud.command-unknown")),
        ("POST", f"/v1/devices/{UNIT}/commands/{10**18}/done", b"", (404, "cloud.command-unknown")),
        ("POST", f"/v1/devices/{UNIT}/commands/{'9' * 5000}/done", b"", (404, "cloud.command-unknown")),
        ("POST", f"/v1/devices/{UNIT}/commands/-1/done", b"", (404, "cloud.command-unknown")),
    ],
)
def test_a_request_is_refused_with_status_and_finding(
    link: HTTPTransport, method: str, path: str, body: bytes, expected: tuple[int, str]
) -> None:
    assert refusal(link.request(method, path, body=body)) == expected


def test_a_command_is_handed_out_until_it_is_done(parts: CloudParts, link: HTTPTransport) -> None:
    commands = f"/v1/devices/{UNIT}/commands"
    assert link.request("GET", commands).status == 204
    command_id = parts.cloud.add_command(UNIT, "blink", {"times": 3})
    answer = link.request("GET", commands)
    assert msgspec.json.decode(answer.body) == {"id": command_id, "name": "blink", "payload": {"times": 3}}
    assert link.request("POST", f"{commands}/{command_id}/done").status == 204
    assert link.request("GET", commands).status == 204


def test_a_waiting_device_gets_a_command_as_soon_as_it_comes(parts: CloudParts, link: HTTPTransport) -> None:
    timer = threading.Timer(0.3, parts.cloud.add_command, (UNIT, "blink", {}))
    timer.start()
    started = time.monotonic()
    assert link.request("GET", f"/v1/devices/{UNIT}/commands?wait_s=5").status == 200
    assert time.monotonic() - started < 2
    timer.join()


def test_a_unit_that_is_revoked_while_it_waits_gets_no_command(
    parts: CloudParts, link: HTTPTransport, device: Device
) -> None:
    def revoke() -> None:
        parts.publish(device.certificate.serial_number)
        parts.cloud.add_command(UNIT, "open", {})

    parts.clock.forward(seconds=1)
    timer = threading.Timer(0.3, revoke)
    timer.start()
    assert refusal(link.request("GET", f"/v1/devices/{UNIT}/commands?wait_s=5")) == (403, "cloud.revoked")
    timer.join()


def test_without_a_certificate_nothing_is_answered(parts: CloudParts, connect: Connect) -> None:
    parts.feed.pull()
    assert refusal(connect(None, None).request("GET", "/v1/me")) == (403, "cloud.certificate.missing")


def test_before_the_first_revocation_list_everyone_is_told_to_come_again(connect: Connect, device: Device) -> None:
    answer = connect(device.certificate, device.key).request("GET", "/v1/me")
    assert refusal(answer) == (503, "cloud.revocation-unknown")
    assert int(answer.headers["retry-after"]) > 0


def test_an_expired_certificate_passes_tls_and_is_refused_with_its_finding(
    parts: CloudParts, link: HTTPTransport, device: Device
) -> None:
    parts.clock.now = device.certificate.not_valid_after_utc
    parts.clock.forward(seconds=1)
    parts.publish()
    assert refusal(link.request("GET", "/v1/me")) == (403, "cloud.chain.expired")


def test_a_legacy_device_may_send_telemetry_and_nothing_else(parts: CloudParts, connect: Connect) -> None:
    parts.feed.pull()
    link = connect(*parts.legacy_certificate())
    assert link.request("POST", f"/v1/devices/{OLD_UNIT}/telemetry", body=b"{}").status == 202
    assert refusal(link.request("GET", f"/v1/devices/{OLD_UNIT}/commands")) == (403, "legacy.rights")
    new_line = link.request("POST", f"/v1/devices/{UNIT}/telemetry", body=b"{}")
    assert refusal(new_line) == (403, "legacy.new-line-serial")


@pytest.mark.parametrize("header", ["client-cert", "x-forwarded-client-cert", "ssl-client-cert", "x-ssl-cert"])
def test_a_certificate_in_a_header_is_nobody(parts: CloudParts, connect: Connect, device: Device, header: str) -> None:
    parts.feed.pull()
    forged = {header: device.certificate.public_bytes(Encoding.PEM).decode().replace("\n", "%0A")}
    answer = connect(None, None).request("GET", "/v1/me", forged)
    assert refusal(answer) == (403, "cloud.certificate.missing")
