# SPDX-License-Identifier: Apache-2.0
"""Channel bindings of real TLS sessions, both ends in this process; conformance tests ask openssl for its opinion."""

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from birthmark.net import channel_binding
from birthmark.net.channel_binding import NO_BINDINGS, channel_bindings
from support.tls_files import TLSFiles

NO_EXTENDED_MASTER_SECRET = 1
"""SSL_OP_NO_EXTENDED_MASTER_SECRET of OpenSSL 3."""


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    files = TLSFiles(tmp_path_factory.mktemp("tls"), datetime.now(UTC))
    identity = files.server()
    client, server = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client.load_verify_locations(cadata=files.trust.decode())
    server.load_cert_chain(identity.certificate, identity.key)
    return client, server


def sessions(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = client.wrap_bio(down, up, server_hostname="localhost"), server.wrap_bio(up, down, server_side=True)
    for _ in range(8):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends


@pytest.fixture
def versioned(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[tuple[ssl.SSLContext, ssl.SSLContext]]:
    client, _ = contexts
    yield contexts
    client.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    client.options &= ~NO_EXTENDED_MASTER_SECRET


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def test_tls_1_3_has_the_exporter_the_same_at_both_ends_and_another_each_time(contexts: Contexts) -> None:
    first, second = ([channel_bindings(end) for end in sessions(*contexts)] for _ in range(2))
    assert first[0] == first[1]
    assert list(first[0]) == ["tls-exporter"]
    assert len(first[0]["tls-exporter"]) == channel_binding.EXPORTER_BYTES
    assert first[0] != second[0]


def test_tls_1_2_has_tls_unique_the_same_at_both_ends(versioned: Contexts) -> None:
    versioned[0].maximum_version = ssl.TLSVersion.TLSv1_2
    client, server = sessions(*versioned)
    assert channel_bindings(client) == channel_bindings(server)
    assert channel_bindings(server) == {"tls-unique": client.get_channel_binding("tls-unique")}


def test_tls_1_2_without_the_extended_master_secret_has_none(versioned: Contexts) -> None:
    versioned[0].maximum_version = ssl.TLSVersion.TLSv1_2
    versioned[0].options |= NO_EXTENDED_MASTER_SECRET
    _, server = sessions(*versioned)
    assert server.get_channel_binding("tls-unique")
    assert channel_bindings(server) == NO_BINDINGS


def test_a_session_before_its_handshake_has_none(contexts: Contexts) -> None:
    session = contexts[0].wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost")
    assert channel_bindings(session) == NO_BINDINGS


@pytest.mark.parametrize("field", ["_SSL_FIELD", "_CONTEXT_FIELD"])
def test_a_python_that_keeps_its_pointers_elsewhere_has_none(
    contexts: Contexts, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, server = sessions(*contexts)
    monkeypatch.setattr(channel_binding, field, 0)
    assert channel_bindings(server) == NO_BINDINGS


def test_an_openssl_out_of_reach_gives_none(contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    _, server = sessions(*contexts)
    monkeypatch.setattr(channel_binding, "_library", lambda: None)
    assert channel_bindings(server) == NO_BINDINGS
