# SPDX-License-Identifier: Apache-2.0
"""The door of a server: who waits in it, who makes room, and that honest clients come through."""

import contextlib
import logging
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from birthmark.net import door, tls
from birthmark.net.asgi import HTTPSServer, PublicServer, Receive, Scope, Send
from birthmark.net.door import HANDSHAKE_TIME_S, TOLD_EVERY_S, Drops, Places
from support.https_server import serving, started
from support.tls_files import TLSFiles

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
PATIENCE_S = 10.0


async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 that it reads no body is the point
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


@contextlib.contextmanager
def https(files: TLSFiles) -> Iterator[HTTPSServer]:
    identity = files.server()
    with serving(application, tls.server_context(identity.certificate, identity.key, files.trust)) as server:
        yield server


def knock(port: int, sent: bytes = b"") -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    plain.sendall(sent)
    return plain


@contextlib.contextmanager
def connected(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with knock(port) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        yield secured


def served(link: socket.socket) -> bool:
    """Ask once; tell whether there was an answer."""
    try:
        link.sendall(GET)
        return link.recv(65_536).startswith(b"HTTP/1.1 204")
    except (ConnectionError, ssl.SSLError):
        return False


def cut(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except ConnectionError:
        return True


# --- places and drops


def test_the_one_who_has_been_there_longest_makes_room() -> None:
    left: list[str] = []
    places = Places(2, "net.some-crowd", Drops())
    for who in ("first", "second", "third"):
        places.take(who, lambda who=who: left.append(who))
    assert left == ["first"]
    places.free("second")
    places.take("fourth", lambda: left.append("fourth"))
    assert left == ["first"]
    places.clear()
    assert sorted(left) == ["first", "fourth", "third"]


def test_the_first_drop_is_told_at_once_and_those_that_follow_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    drops = Drops(lambda: now)
    for _ in range(100):
        drops.note("net.some-reason")
    drops.note("net.other-reason")
    now = TOLD_EVERY_S
    drops.note("net.some-reason")
    assert caplog.messages == [
        "net.some-reason: dropped 1",
        "net.other-reason: dropped 1",
        "net.some-reason: dropped 100",
    ]


# --- in the door


@pytest.mark.parametrize("sent", [b"", b"\x16", HALF_HELLO])
def test_whoever_does_not_finish_the_handshake_is_cut(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(door, "HANDSHAKE_TIME_S", 0.3)
    with https(files) as server, knock(server.port, sent) as slow:
        assert cut(slow)
    assert "net.handshake-too-slow: dropped 1" in caplog.messages


@pytest.mark.parametrize("sent", [b"", HALF_HELLO])
def test_a_crowd_in_the_door_pushes_out_itself_and_holds_up_nobody(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    monkeypatch.setattr(door, "HALF_OPEN_MAX", 8)
    client = tls.client_context(files.trust)
    with https(files) as server, contextlib.ExitStack() as crowd:
        many = [crowd.enter_context(knock(server.port, sent)) for _ in range(100)]
        with connected(server.port, client) as link:
            assert served(link)
        assert all(cut(each) for each in many[:92])
        many[-1].settimeout(0.2)
        with pytest.raises(TimeoutError):
            many[-1].recv(1)
    assert "net.door-crowded: dropped 1" in caplog.messages


def test_a_handshake_that_stands_still_in_the_middle_makes_room_too(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "HALF_OPEN_MAX", 2)
    client = tls.client_context(files.trust)
    with https(files) as server, contextlib.ExitStack() as crowd:
        stuck = [crowd.enter_context(knock(server.port, hello(client))) for _ in range(5)]
        assert all(each.recv(1) for each in stuck[-2:]), "the server has answered"
        with connected(server.port, client) as link:
            assert served(link)
        drained(stuck[0])


def drained(link: socket.socket) -> None:
    """Read until the server has closed."""
    with contextlib.suppress(ConnectionError):
        while link.recv(65_536):
            pass


def hello(client: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_a_client_whose_hello_comes_in_pieces_is_served(files: TLSFiles) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.client_context(files.trust).wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with https(files) as server, knock(server.port) as plain:
        pieces = 5
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                whole = outgoing.read()
                for begin in range(0, len(whole), len(whole) // pieces):
                    plain.sendall(whole[begin : begin + len(whole) // pieces])
                    time.sleep(0.02)
                pieces = 1
                incoming.write(plain.recv(65_536))
        session.write(GET)
        plain.sendall(outgoing.read())
        incoming.write(plain.recv(65_536))
        assert session.read(12) == b"HTTP/1.1 204"


def test_a_client_that_leaves_in_the_middle_of_its_hello_is_gone_at_once(
    files: TLSFiles, caplog: pytest.LogCaptureFixture
) -> None:
    with https(files) as server, knock(server.port, HALF_HELLO) as half:
        half.shutdown(socket.SHUT_WR)
        assert cut(half)
    assert caplog.messages == [line for line in caplog.messages if "too-slow" not in line]


def test_what_is_not_tls_is_refused_at_once_with_a_line(files: TLSFiles, caplog: pytest.LogCaptureFixture) -> None:
    with https(files) as server, knock(server.port, GET) as plain:
        plain.settimeout(HANDSHAKE_TIME_S / 2)
        assert plain.recv(12) == b""
    assert [line for line in caplog.messages if line.startswith("tls.handshake-refused")]


# --- inside


def test_strangers_make_room_for_strangers_and_never_a_rig(
    files: TLSFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(door, "STRANGERS_MAX", 2)
    rig = files.rig()
    known, stranger = tls.client_context(files.trust, rig.certificate, rig.key), tls.client_context(files.trust)
    with https(files) as server, connected(server.port, known) as first, contextlib.ExitStack() as crowd:
        assert served(first)
        strangers = [crowd.enter_context(connected(server.port, stranger)) for _ in range(4)]
        assert [served(each) for each in reversed(strangers)] == [True, True, False, False]
        assert served(first)
    assert logging.WARNING in [record.levelno for record in caplog.records if "net.strangers-crowded" in record.message]


def test_a_plain_port_has_a_door_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "STRANGERS_MAX", 2)
    with started(PublicServer(application, "127.0.0.1", 0)) as server, contextlib.ExitStack() as crowd:
        links = [crowd.enter_context(knock(server.port)) for _ in range(4)]
        assert [served(each) for each in reversed(links)] == [True, True, False, False]


# --- descriptors

STARVED = """
import resource, sys
from birthmark.net import asgi

async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

server = asgi.PublicServer(application, "127.0.0.1", 0)
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
server.run_until_stopped(asgi.announce)
"""


def test_a_server_without_descriptors_lets_the_next_in_when_there_are_some_again() -> None:
    with subprocess.Popen([sys.executable, "-c", STARVED], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            port = int(process.stdout.readline().rpartition(b":")[2].strip(b'"}\n'))
            with contextlib.ExitStack() as crowd:
                for _ in range(60):
                    crowd.enter_context(knock(port))
                assert process.stderr.readline().strip() == b"net.no-descriptors: dropped 1"
            with knock(port) as link:
                assert served(link)
        finally:
            process.terminate()
        assert process.wait(PATIENCE_S) == 0
