# SPDX-License-Identifier: Apache-2.0
"""The header in which the front says who the client is."""

import asyncio
import contextlib
import hashlib
import os
import socket
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from birthmark.net.asgi import Peer, Receive, Scope, Send
from birthmark.net.errors import FrontUntrusted, IdentityRefused
from birthmark.net.front.identity import CHAIN_MAX_CERTIFICATES, IDENTITY_MAX_BYTES, read_identity
from birthmark.net.front.worker import FrontProtocol, WorkerServer
from support.tls_files import TLSFiles


def pem(text: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"\n-----END CERTIFICATE-----\n"


DER = b"some bytes that stand for DER"
ONE = pem(b"c29tZSBieXRlcyB0aGF0IHN0YW5kIGZvciBERVI=")
HASH = hashlib.sha256(DER).hexdigest()


def element(chain: bytes, fingerprint: str = HASH) -> bytes:
    return f'Hash={fingerprint};Chain="{quote_from_bytes(chain, safe="")}"'.encode()


def test_a_client_is_read_with_its_chain(files: TLSFiles) -> None:
    rig = files.rig()
    header = element(rig.certificate.read_bytes(), hashlib.sha256(rig.der).hexdigest())
    found = read_identity(header)
    assert found.leaf == rig.der
    assert len(found.chain) == 2
    assert found.chain[0] == rig.der


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(element(ONE) + b"," + element(ONE), id="two elements"),
        pytest.param(element(ONE) + b";Subject=x", id="another member"),
        pytest.param(b"By=spiffe://x;" + element(ONE), id="another member before"),
        pytest.param(element(ONE) + b";" + element(ONE), id="a member twice"),
        pytest.param(f"Hash={HASH}".encode(), id="no chain"),
        pytest.param(element(ONE).partition(b";")[2], id="no hash"),
        pytest.param(element(ONE).replace(b"Hash", b"hash"), id="another spelling"),
        pytest.param(element(ONE).replace(b"%20", b" "), id="not encoded"),
        pytest.param(element(ONE).replace(b"%0A", b"%0a"), id="encoded in small letters"),
        pytest.param(element(ONE).replace(b"%0A", b"%0", 1), id="half an escape"),
        pytest.param(element(ONE).replace(b'"', b""), id="no quotes"),
        pytest.param(element(ONE)[:-1] + b'\\""', id="an escaped quote"),
        pytest.param(element(ONE) + b"\n", id="a line end behind it"),
        pytest.param(element(b""), id="an empty chain"),
        pytest.param(element(ONE + b"text\n"), id="text behind a certificate"),
        pytest.param(element(b"text\n" + ONE), id="text before a certificate"),
        pytest.param(element(ONE * (CHAIN_MAX_CERTIFICATES + 1)), id="too many certificates"),
        pytest.param(element(pem(b"c29t=ZSBi")), id="no base64"),
        pytest.param(element(ONE, "0" * 64), id="the hash of another"),
        pytest.param(element(ONE * 2_000), id="too large"),
    ],
)
def test_whatever_envoy_would_not_write_is_refused(header: bytes) -> None:
    with pytest.raises(IdentityRefused) as refused:
        read_identity(header)
    assert refused.value.finding == "net.front.identity"


def test_the_longest_chain_is_read() -> None:
    assert len(read_identity(element(ONE * CHAIN_MAX_CERTIFICATES)).chain) == CHAIN_MAX_CERTIFICATES


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_are_read_or_refused(header: bytes) -> None:
    with contextlib.suppress(IdentityRefused):
        assert isinstance(read_identity(header), Peer)


def test_a_header_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(IdentityRefused, match="at most"):
        read_identity(b"x" * (IDENTITY_MAX_BYTES + 1))


# --- where it may be believed


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody calls it."""


def unix_listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_a_worker_on_a_network_address_does_not_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(FrontUntrusted) as refused:
        WorkerServer(application, listener)
    assert refused.value.finding == "net.front.untrusted"


@pytest.mark.parametrize("mode", [0o755, 0o710, 0o701, 0o777])
def test_a_worker_whose_socket_others_could_open_does_not_start(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with unix_listener(folder / "worker") as listener, pytest.raises(FrontUntrusted) as refused:
        WorkerServer(application, listener)
    assert refused.value.finding == "net.front.untrusted"


def test_a_worker_with_a_socket_outside_of_any_folder_does_not_start() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(b"\0birthmark-%d" % os.getpid())  # type: ignore[arg-type] # an abstract address is bytes
        with pytest.raises(FrontUntrusted):
            WorkerServer(application, listener)


def test_a_worker_with_a_private_socket_is_ready_to_serve(tmp_path: Path) -> None:
    folder = tmp_path / "ours"
    folder.mkdir(0o700)
    with unix_listener(folder / "worker") as listener:
        assert WorkerServer(application, listener).url == f"unix:{folder / 'worker'}"


def test_a_process_of_another_user_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)

    async def run() -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        config = uvicorn.Config(application, log_config=None)
        config.load()
        await loop.connect_accepted_socket(lambda: FrontProtocol(config, ServerState(), {}), sock=ours)
        theirs.settimeout(0)
        with theirs:
            return await loop.sock_recv(theirs, 100)

    assert asyncio.run(run()) == b""
