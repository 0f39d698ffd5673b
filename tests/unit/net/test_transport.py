# SPDX-License-Identifier: Apache-2.0
"""The HTTP transport: one answer or one clear error, over connections that are kept."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.net import asgi, tls, transport
from birthmark.net.asgi import HTTPSServer, Receive, Scope, Send
from birthmark.net.errors import AnswerRefused, TLSFailed, TLSRefused, TLSUntrusted, Unreachable
from birthmark.net.transport import HTTPTransport
from birthmark.pki import authorities
from support.https_server import serving
from support.tls_files import TLSFiles, new_key, pem, weak_rsa_client

BODY_MAX_BYTES = 1 << 20


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Echo the body; say in headers who asked. The path may ask for a status or for a huge answer."""
    if scope["type"] != "http":
        return
    body = await asgi.read_body(receive, BODY_MAX_BYTES)
    status = 302 if scope["path"] == "/moved" else 200
    if scope["path"] == "/huge":
        body = b"a" * (transport.RESPONSE_MAX_BYTES + 1)
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"Location", b"https://127.0.0.1:1/"),
        (b"X-Port", b"%d" % scope["client"][1]),
        (b"X-Method", scope["method"].encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def server(files: TLSFiles) -> Iterator[HTTPSServer]:
    identity = files.server()
    with serving(application, tls.server_context(identity.certificate, identity.key, files.trust)) as running:
        yield running


@pytest.fixture
def link(server: HTTPSServer, files: TLSFiles) -> Iterator[HTTPTransport]:
    with contextlib.closing(HTTPTransport(server.url, tls.client_context(files.trust))) as made:
        yield made


@contextlib.contextmanager
def scripted(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accept one connection, hand it to `answer`, and close it: a server that breaks the rules."""

    def serve() -> None:
        accepted, _ = listener.accept()
        with accepted:
            answer(accepted)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def over_tls(files: TLSFiles, answer: bytes) -> Callable[[socket.socket], None]:
    """Finish the handshake, read the request, send these bytes and close."""
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)

    def serve(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as secured:
            secured.recv(65_536)
            secured.sendall(answer)

    return serve


def failure(url: str, context: ssl.SSLContext, body: bytes = b"", timeout_s: float = 10.0) -> BirthmarkError:
    with contextlib.closing(HTTPTransport(url, context, timeout_s)) as made, pytest.raises(BirthmarkError) as failed:
        made.request("POST", "/", {}, body)
    assert "\n" not in str(failed.value)
    assert "0x" not in str(failed.value)
    return failed.value


# --- answers


def test_an_answer_has_status_headers_in_lower_case_and_body(link: HTTPTransport) -> None:
    answer = link.request("POST", "/", {"content-type": "text/plain"}, b"hello")
    assert (answer.status, answer.headers["x-method"], answer.body) == (200, "POST", b"hello")


def test_an_answer_is_a_plain_triple(link: HTTPTransport) -> None:
    status, headers, body = link.request("GET", "/")
    assert (status, headers["content-length"], body) == (200, "0", b"")


def test_a_redirect_is_an_answer_like_any_other(link: HTTPTransport) -> None:
    assert link.request("GET", "/moved").status == 302


def test_requests_share_one_connection(link: HTTPTransport) -> None:
    assert len({link.request("POST", "/", {}, b"x").headers["x-port"] for _ in range(5)}) == 1


def test_threads_share_one_transport(link: HTTPTransport) -> None:
    def ask(number: int) -> bytes:
        return link.request("POST", "/", {}, b"%d" % number).body

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(64))) == [b"%d" % number for number in range(64)]


def test_an_answer_above_the_limit_is_refused_and_the_next_request_works(link: HTTPTransport) -> None:
    with pytest.raises(AnswerRefused) as refused:
        link.request("GET", "/huge")
    assert refused.value.finding == "net.answer-too-large"
    assert link.request("POST", "/", {}, b"x").body == b"x"


def test_a_caller_that_knows_of_larger_answers_reads_them(server: HTTPSServer, files: TLSFiles) -> None:
    huge = transport.RESPONSE_MAX_BYTES + 1
    made = HTTPTransport(server.url, tls.client_context(files.trust), response_max_bytes=huge)
    with contextlib.closing(made) as link:
        assert len(link.request("GET", "/huge").body) == huge


def test_a_connection_that_the_server_closed_is_replaced(files: TLSFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "KEEP_ALIVE_S", 0.1)
    identity = files.server()
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with (
        serving(application, context) as server,
        contextlib.closing(HTTPTransport(server.url, tls.client_context(files.trust))) as made,
    ):
        first = made.request("GET", "/").headers["x-port"]
        closed = threading.Event()
        closed.wait(0.5)
        assert made.request("GET", "/").headers["x-port"] != first


# --- bytes on the wire


def test_wire_bytes_count_handshake_and_payload_both_ways(link: HTTPTransport) -> None:
    assert link.wire_bytes() == (0, 0)
    link.request("POST", "/", {}, bytes(10_000))
    once = link.wire_bytes()
    assert 10_000 < once.sent < 12_000
    assert 10_000 < once.received < 13_000
    link.request("POST", "/", {}, bytes(10_000))
    again = link.wire_bytes()
    assert 10_000 < again.sent - once.sent < once.sent
    assert 10_000 < again.received - once.received < once.received


def test_the_bytes_of_the_handshake_are_told_apart(link: HTTPTransport) -> None:
    assert link.handshake_bytes() == (0, 0)
    link.request("GET", "/")
    opening = link.handshake_bytes()
    link.request("GET", "/")
    assert link.handshake_bytes() == opening
    assert 0 < opening.sent < link.wire_bytes().sent
    assert 0 < opening.received < link.wire_bytes().received


def test_wire_bytes_of_closed_connections_stay_counted(link: HTTPTransport) -> None:
    link.request("POST", "/", {}, bytes(10_000))
    before = link.wire_bytes()
    link.close()
    assert link.wire_bytes().sent >= before.sent
    assert link.wire_bytes().received >= before.received


# --- no connection


def test_a_refused_connection_names_the_server(files: TLSFiles) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = failure(f"https://127.0.0.1:{port}", tls.client_context(files.trust))
    assert isinstance(error, Unreachable)
    assert error.finding == "net.unreachable"
    assert error.message == f"127.0.0.1:{port} cannot be reached: Connection refused"
    assert error.hint


def test_a_server_that_says_nothing_is_unreachable_in_time(files: TLSFiles) -> None:
    done = threading.Event()

    def answer(_: socket.socket) -> None:
        done.wait(5)

    with scripted(answer) as url:
        error = failure(url, tls.client_context(files.trust), timeout_s=0.2)
        done.set()
    assert isinstance(error, Unreachable)
    assert "no answer in time" in error.message


def test_a_server_that_hangs_up_during_the_handshake_is_unreachable(files: TLSFiles) -> None:
    def answer(accepted: socket.socket) -> None:
        accepted.recv(65_536)

    with scripted(answer) as url:
        assert isinstance(failure(url, tls.client_context(files.trust)), Unreachable)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"])
def test_a_server_that_hangs_up_before_the_whole_answer_is_unreachable(files: TLSFiles, answer: bytes) -> None:
    with scripted(over_tls(files, answer)) as url:
        assert isinstance(failure(url, tls.client_context(files.trust)), Unreachable)


def test_what_is_not_http_is_refused(files: TLSFiles) -> None:
    with scripted(over_tls(files, b"SSH-2.0-server\r\n\r\n")) as url:
        assert isinstance(failure(url, tls.client_context(files.trust)), AnswerRefused)


# --- the server refuses us


ALERTS = {
    "handshake-failure": 40,
    "bad-certificate": 42,
    "certificate-revoked": 44,
    "certificate-expired": 45,
    "certificate-unknown": 46,
    "unknown-ca": 48,
    "access-denied": 49,
    "decrypt-error": 51,
    "protocol-version": 70,
    "internal-error": 80,
    "certificate-required": 116,
}


@pytest.mark.parametrize(("name", "code"), ALERTS.items())
def test_an_alert_of_the_server_is_named_in_the_finding(files: TLSFiles, name: str, code: int) -> None:
    def answer(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(bytes((21, 3, 3, 0, 2, 2, code)))

    with scripted(answer) as url:
        error = failure(url, tls.client_context(files.trust))
    assert isinstance(error, TLSRefused)
    assert error.finding == f"tls.{name}"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("length", [0, 200_000])
def test_a_certificate_from_another_ca_is_refused_as_unknown_ca(
    server: HTTPSServer, files: TLSFiles, strangers: TLSFiles, version: ssl.TLSVersion, length: int
) -> None:
    rig = strangers.rig()
    context = tls.client_context(files.trust, rig.certificate, rig.key)
    context.maximum_version = version
    # With TLS 1.3 the alert comes while we write the request, and races with the server's close.
    for _ in range(10):
        error = failure(server.url, context, bytes(length))
        assert isinstance(error, TLSRefused)
        assert error.finding == "tls.unknown-ca"


def test_an_expired_certificate_is_refused_as_expired(server: HTTPSServer, files: TLSFiles) -> None:
    rig = files.rig("rig-old", days=0)
    error = failure(server.url, tls.client_context(files.trust, rig.certificate, rig.key))
    assert error.finding == "tls.certificate-expired"


def test_a_server_certificate_does_not_pass_as_a_client(server: HTTPSServer, files: TLSFiles) -> None:
    other = files.server()
    error = failure(server.url, tls.client_context(files.trust, other.certificate, other.key))
    assert isinstance(error, TLSRefused)


def test_a_weak_rsa_certificate_is_refused(server: HTTPSServer, files: TLSFiles, tmp_path: Path) -> None:
    weak = weak_rsa_client(files, tmp_path)
    careless = tls.client_context(files.trust)
    careless.set_ciphers("DEFAULT:@SECLEVEL=0")
    careless.load_cert_chain(weak.certificate, weak.key)
    assert isinstance(failure(server.url, careless), TLSRefused)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_old_protocol_version_is_refused(server: HTTPSServer, files: TLSFiles, version: ssl.TLSVersion) -> None:
    careless = tls.client_context(files.trust)
    careless.set_ciphers("DEFAULT:@SECLEVEL=0")
    careless.minimum_version = careless.maximum_version = version
    assert failure(server.url, careless).finding == "tls.protocol-version"


def test_a_client_without_a_certificate_is_refused_where_one_is_demanded(files: TLSFiles) -> None:
    identity = files.server()
    context = tls.mutual_server_context(identity.certificate, identity.key, files.trust)
    with serving(application, context) as server:
        for length in (0, 200_000):
            error = failure(server.url, tls.client_context(files.trust), bytes(length))
            assert error.finding == "tls.certificate-required"


def test_no_common_cipher_is_a_refusal(server: HTTPSServer, files: TLSFiles) -> None:
    other = tls.client_context(files.trust)
    other.maximum_version = ssl.TLSVersion.TLSv1_2
    other.set_ciphers("AES128-SHA:@SECLEVEL=0")
    assert failure(server.url, other).finding == "tls.handshake-failure"


def test_a_server_that_does_not_speak_tls_is_a_failure_of_tls(files: TLSFiles) -> None:
    def answer(accepted: socket.socket) -> None:
        accepted.recv(65_536)
        accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with scripted(answer) as url:
        error = failure(url, tls.client_context(files.trust))
    assert isinstance(error, TLSFailed)
    assert error.finding == "tls.failed"


# --- we refuse the server


def test_a_server_of_another_root_is_untrusted(server: HTTPSServer, strangers: TLSFiles) -> None:
    error = failure(server.url, tls.client_context(strangers.trust))
    assert isinstance(error, TLSUntrusted)
    assert error.finding == "tls.untrusted-server"
    assert "CN=Root,O=Strangers" in error.hint


def test_an_anchor_that_has_expired_is_named_with_its_end(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old = authorities.make_root("Example", "Old root", new_key(), now - timedelta(days=30), days=10)
    expired = TLSFiles(tmp_path, now, root=old)
    identity = expired.server()
    current = authorities.make_root("Example", "New root", new_key(), now).certificate
    context = tls.server_context(identity.certificate, identity.key, pem(current))
    with serving(application, context) as server:
        error = failure(server.url, tls.client_context(pem(current, old.certificate)))
    assert isinstance(error, TLSUntrusted)
    assert "certificate has expired" in error.message
    assert f"first to end first: CN=Old root,O=Example (until {now - timedelta(days=20):%Y-%m-%d})" in error.hint


def test_a_server_with_another_name_is_untrusted(files: TLSFiles) -> None:
    identity = files.server(("other.example",))
    context = tls.server_context(identity.certificate, identity.key, files.trust)
    with serving(application, context) as server:
        error = failure(server.url, tls.client_context(files.trust))
    assert isinstance(error, TLSUntrusted)
    assert "127.0.0.1" in error.message


# --- base URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1",
        "http://127.0.0.1",
        "https://",
        "https://user:word@127.0.0.1",
        "https://127.0.0.1/path",
        "https://127.0.0.1?query",
        "https://127.0.0.1#fragment",
        "https://127.0.0.1:port",
        "https://[::1",
    ],
)
def test_a_base_url_is_scheme_host_and_port(url: str, files: TLSFiles) -> None:
    with pytest.raises(ConfigError):
        HTTPTransport(url, tls.client_context(files.trust))


def test_a_base_url_may_end_with_a_slash_and_leave_the_port_to_https(files: TLSFiles) -> None:
    assert HTTPTransport("https://ca.example/", tls.client_context(files.trust)).server == "ca.example:443"
