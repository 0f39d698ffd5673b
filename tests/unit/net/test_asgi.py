# SPDX-License-Identifier: Apache-2.0
"""The HTTPS server: who its client is, what a client can hold open, how it starts and stops."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.net import asgi, tls
from birthmark.net.asgi import NOBODY, HTTPSServer, Receive, Scope, Send
from birthmark.net.errors import BodyRefused, ListenFailed
from support.https_server import serving
from support.tls_files import TLSFiles

BODY_MAX_BYTES = 100


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Say in JSON who asked, from where, and how long the body was; 4xx as read_body has it."""
    if scope["type"] != "http":
        return
    who = asgi.peer(scope)
    status, length, finding = 200, 0, ""
    try:
        length = len(await asgi.read_body(receive, BODY_MAX_BYTES, 0.5))
    except BodyRefused as error:
        status, finding = error.status, error.finding
    seen = {
        "leaf": who.leaf and who.leaf.hex(),
        "chain": [each.hex() for each in who.chain],
        "client": scope["client"][1],
        "length": length,
        "finding": finding,
    }
    body = json.dumps(seen).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def server(files: TLSFiles) -> Iterator[HTTPSServer]:
    identity = files.server()
    with serving(application, tls.server_context(identity.certificate, identity.key, files.trust)) as running:
        yield running


@contextlib.contextmanager
def connected(
    server: HTTPSServer, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as secured,
    ):
        yield secured


def ask(link: ssl.SSLSocket, request: bytes) -> tuple[int, dict[str, object]]:
    """Send the bytes and return status and JSON of the answer."""
    link.sendall(request)
    head, _, body = link.recv(65_536).partition(b"\r\n\r\n")
    if not body:
        body = link.recv(65_536)
    return int(head.split()[1]), json.loads(body)


def ended(link: ssl.SSLSocket) -> bool:
    """Tell whether the server has closed the connection, waiting for it."""
    try:
        return link.recv(65_536) == b""
    except (ConnectionError, ssl.SSLEOFError):
        return True


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


# --- who is there


def test_a_client_without_a_certificate_is_nobody(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        _, seen = ask(link, GET)
    assert (seen["leaf"], seen["chain"]) == (None, [])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_is_known_by_its_leaf_and_verified_chain(
    server: HTTPSServer, files: TLSFiles, version: ssl.TLSVersion
) -> None:
    rig = files.rig()
    context = tls.client_context(files.trust, rig.certificate, rig.key)
    context.maximum_version = version
    with connected(server, context) as link:
        _, seen = ask(link, GET)
    ancestors = [ssl.PEM_cert_to_DER_cert(part + "-----END CERTIFICATE-----") for part in _parts(rig.certificate)[1:]]
    root = ssl.PEM_cert_to_DER_cert(files.trust.decode())
    assert seen["leaf"] == rig.der.hex()
    assert seen["chain"] == [each.hex() for each in (rig.der, *ancestors, root)]


def test_of_a_resumed_tls_1_2_session_only_the_leaf_is_known(server: HTTPSServer, files: TLSFiles) -> None:
    rig = files.rig()
    context = tls.client_context(files.trust, rig.certificate, rig.key)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connected(server, context) as first:
        ask(first, GET)
        session = first.session
        first.unwrap()  # a session that ends without a close_notify cannot be resumed
    with connected(server, context, session) as second:
        _, seen = ask(second, GET)
        assert second.session_reused
    assert seen["leaf"] == rig.der.hex()
    assert seen["chain"] == [rig.der.hex()]


def test_a_tls_1_3_client_gets_no_session_to_resume(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        ask(link, GET)
        assert link.version() == "TLSv1.3"
        assert link.session is None or not link.session.has_ticket


@pytest.mark.parametrize("header", ["x-forwarded-for: 10.0.0.1", "client-cert: :AAAA:", "x-ssl-client-cert: AAAA"])
def test_no_header_says_who_the_client_is(server: HTTPSServer, files: TLSFiles, header: str) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        _, seen = ask(link, GET.replace(b"host: x", b"host: x\r\n" + header.encode()))
        assert seen["leaf"] is None
        assert seen["client"] == link.getsockname()[1]


def test_a_request_without_tls_comes_from_nobody() -> None:
    assert asgi.peer({"type": "http"}) is NOBODY


# --- what a client can hold open


def test_a_body_at_the_limit_is_read(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        status, seen = ask(link, _post(BODY_MAX_BYTES))
    assert (status, seen["length"]) == (200, BODY_MAX_BYTES)


def test_a_body_above_the_limit_is_413(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        status, seen = ask(link, _post(BODY_MAX_BYTES + 1))
    assert (status, seen["finding"]) == (413, "net.body-too-large")


def test_a_body_that_does_not_arrive_in_time_is_408(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        status, seen = ask(link, _post(50)[:-1])
    assert (status, seen["finding"]) == (408, "net.body-too-slow")


def test_a_body_that_is_cut_off_is_named() -> None:
    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    with pytest.raises(BodyRefused) as refused:
        asyncio.run(asgi.read_body(receive, BODY_MAX_BYTES))
    assert (refused.value.status, refused.value.finding) == (400, "net.body-cut-off")


def test_an_endless_head_is_refused(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        link.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * (asgi.HEAD_MAX_BYTES + 1))
        assert link.recv(12) == b"HTTP/1.1 431"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (asgi.HEAD_MAX_BYTES * b"a"), id="one header"),
        pytest.param(b"GET / HTTP/1.1\r\n%b\r\n" % (asgi.HEAD_MAX_BYTES * b"a: b\r\n"), id="many headers"),
        pytest.param(b"GET /%b HTTP/1.1\r\n\r\n" % (asgi.HEAD_MAX_BYTES * b"a"), id="a target"),
    ],
)
def test_a_head_that_is_too_long_is_refused_also_when_it_comes_as_a_whole(
    server: HTTPSServer, files: TLSFiles, head: bytes
) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        link.sendall(head)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while part := link.recv(65_536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert answer.count(b"HTTP/1.1") == 1
        assert b"net.head-too-large: " in answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nx: "])
def test_a_client_that_does_not_finish_its_head_is_dropped(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(asgi, "HEAD_TIME_S", 0.3)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with serving(application, context) as server, connected(server, tls.client_context(files.trust)) as link:
        link.sendall(sent)
        assert ended(link)


def test_a_second_head_has_its_own_time_and_waiting_for_it_has_none(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "HEAD_TIME_S", 0.3)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with serving(application, context) as server, connected(server, tls.client_context(files.trust)) as link:
        assert ask(link, GET)[0] == 200
        time.sleep(0.6)
        assert ask(link, GET)[0] == 200
        link.sendall(GET[:-3])
        assert ended(link)


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 that it reads no body is the point
    """Answer without a look at the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def drip(link: ssl.SSLSocket) -> None:
    for _ in range(100):
        time.sleep(0.05)
        link.sendall(b"x")


def test_a_client_that_drips_a_body_which_nobody_reads_is_dropped(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "UNREAD_BODY_TIME_S", 0.3)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with serving(deaf, context) as server, connected(server, tls.client_context(files.trust)) as link:
        link.sendall(_post(1000)[:-999])
        assert link.recv(12) == b"HTTP/1.1 204"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            drip(link)


def test_a_body_that_is_there_in_time_leaves_the_connection_open(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi, "UNREAD_BODY_TIME_S", 0.3)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with serving(application, context) as server, connected(server, tls.client_context(files.trust)) as link:
        assert ask(link, _post(50))[0] == 200
        time.sleep(0.6)
        assert ask(link, _post(50))[0] == 200


def test_some_requests_at_once_are_answered_in_their_order(server: HTTPSServer, files: TLSFiles) -> None:
    with connected(server, tls.client_context(files.trust)) as link:
        link.sendall(GET * asgi.PIPELINED_MAX)
        answers = b""
        while answers.count(b"HTTP/1.1 200") < asgi.PIPELINED_MAX:
            part = link.recv(65_536)
            assert part
            answers += part


def test_who_sends_a_thousand_requests_at_once_is_dropped_and_holds_up_nobody(
    server: HTTPSServer, files: TLSFiles
) -> None:
    context = tls.client_context(files.trust)
    with connected(server, context) as crowd, connected(server, context) as link:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            crowd.sendall(GET * 1_000)
        assert ask(link, GET)[0] == 200
        assert taken(crowd, 0.0) < 1_000 * len(b"HTTP/1.1 200")


PIECE = bytes(65_536)
PIECES = 256
"""16 MiB: more than all buffers between a server and its client hold."""


async def talkative(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 as ASGI calls it
    """Answer at length, piece by piece."""
    if scope["type"] == "http":
        length = str(PIECES * len(PIECE)).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        for number in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": number + 1 < PIECES})


def taken(link: ssl.SSLSocket, pause_s: float) -> int:
    """Take what comes until nothing does, with a pause once in a while; return how much that was."""
    total = since = 0
    with contextlib.suppress(ConnectionError, ssl.SSLError, TimeoutError):
        while total < PIECES * len(PIECE) and (part := link.recv(65_536)):
            total, since = total + len(part), since + len(part)
            if since > 1 << 20:
                time.sleep(pause_s)
                since = 0
    return total


@pytest.fixture
def long_answers(files: TLSFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPSServer]:
    monkeypatch.setattr(asgi, "SEND_TIME_S", 1.0)
    identity = files.server()
    with serving(talkative, tls.server_context(identity.certificate, identity.key, files.trust)) as server:
        yield server


def test_a_client_that_does_not_take_its_answer_is_dropped(long_answers: HTTPSServer, files: TLSFiles) -> None:
    with connected(long_answers, tls.client_context(files.trust)) as link:
        link.sendall(GET)
        assert link.recv(12) == b"HTTP/1.1 200"
        time.sleep(2.0)
        assert taken(link, 0.0) < PIECES * len(PIECE)


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(long_answers: HTTPSServer, files: TLSFiles) -> None:
    with connected(long_answers, tls.client_context(files.trust)) as link:
        link.sendall(GET)
        assert taken(link, 0.15) >= PIECES * len(PIECE)


def test_a_client_beyond_the_limit_is_told_to_come_later(files: TLSFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "MAX_CONNECTIONS", 2)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    rig = files.rig()
    client = tls.client_context(files.trust, rig.certificate, rig.key)
    with serving(application, context) as server, connected(server, client), connected(server, client) as second:
        second.sendall(GET)
        assert second.recv(12) == b"HTTP/1.1 503"


# --- start and stop


def test_an_occupied_port_is_one_clear_error(server: HTTPSServer) -> None:
    with pytest.raises(ListenFailed) as refused:
        HTTPSServer(application, "127.0.0.1", server.port, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert refused.value.finding == "net.port-occupied"
    assert f"127.0.0.1:{server.port}" in refused.value.message


def test_an_address_of_another_machine_is_one_clear_error() -> None:
    with pytest.raises(ListenFailed) as refused:
        HTTPSServer(application, "192.0.2.1", 0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert refused.value.finding == "net.listen"


def test_a_refused_handshake_leaves_a_line_in_the_log(
    server: HTTPSServer, files: TLSFiles, strangers: TLSFiles, caplog: pytest.LogCaptureFixture
) -> None:
    rig = strangers.rig()
    with (
        caplog.at_level(logging.WARNING, "birthmark.net"),
        connected(server, tls.client_context(files.trust, rig.certificate, rig.key)) as link,
        pytest.raises(ssl.SSLError, match="UNKNOWN_CA"),
    ):
        link.recv(1)
    assert "tls.handshake-refused: CERTIFICATE_VERIFY_FAILED" in caplog.text


SERVE = """
import sys
from pathlib import Path
from birthmark.net import asgi, tls

async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

certificate, key, trust = map(Path, sys.argv[1:])
asgi.serve(application, "127.0.0.1", 0, tls.server_context(certificate, key, trust.read_bytes()))
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_server_process_says_where_it_listens_and_ends_cleanly_when_told(
    files: TLSFiles, tmp_path: Path, end: signal.Signals
) -> None:
    identity = files.server()
    trust = tmp_path / "trust.pem"
    trust.write_bytes(files.trust)
    command = [sys.executable, "-c", SERVE, identity.certificate, identity.key, trust]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["ready"]
        port = int(url.removeprefix("https://127.0.0.1:"))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            tls.client_context(files.trust).wrap_socket(plain, server_hostname="127.0.0.1") as idle,
        ):
            idle.sendall(GET)
            assert idle.recv(12) == b"HTTP/1.1 204"
            os.kill(process.pid, end)
            assert process.wait(asgi.STOP_TIME_S - 1) == 0
        assert process.communicate() == ("", "")


def _post(length: int) -> bytes:
    return b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % length + b"a" * length


def _parts(certificate: Path) -> list[str]:
    return certificate.read_text().split("-----END CERTIFICATE-----\n")[:-1]


async def waits_for_news(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer when the server is about to end, and not before."""
    if scope["type"] != "http":
        return
    while not asgi.ending(scope):  # noqa: ASYNC110 the server says it by a flag that a thread may set
        await asyncio.sleep(0.01)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


def test_a_request_that_waits_for_news_is_answered_when_the_server_ends(files: TLSFiles) -> None:
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with (
        serving(waits_for_news, context) as running,
        connected(running, tls.client_context(files.trust)) as link,
    ):
        link.sendall(GET)
        time.sleep(0.05)
        running.stop()
        assert b"200 OK" in link.recv(65_536)
