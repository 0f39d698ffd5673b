# SPDX-License-Identifier: Apache-2.0
"""
Requests that are linked to their TLS session by a challengePassword (RFC 7030 §3.5; RFC 9266 for TLS 1.3).

The binding is worked out by somebody else each time: OpenSSL's program for TLS 1.3, Python's ssl for TLS 1.2.
"""

import base64
import http.client
import re
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import pytest

from birthmark.est.linking import challenge_of
from support.ca_process import ORDER, RunningCA
from support.est_parts import RIG, linked_request

PATH = f"/.well-known/est/{ORDER}/simpleenroll"
PKCS10 = {"Content-Type": "application/pkcs10"}
LABEL = "EXPORTER-Channel-Binding"


class OpenSSLSession:
    """One TLS 1.3 session of `openssl s_client`, which says what RFC 9266's exporter gives and carries a request."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.binding = self._keying_material()

    def post(self, body: bytes) -> str:
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/pkcs10\r\nConnection: close\r\n"
        answer, _ = self._process.communicate(f"{head}Content-Length: {len(body)}\r\n\r\n{body.decode()}", timeout=30)
        return answer[answer.index("HTTP/1.1") :]

    def _keying_material(self) -> bytes:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.match(r"\s*Keying material: ([0-9A-F]{64})$", line.rstrip())
            if found:
                return bytes.fromhex(found[1])
        raise AssertionError("openssl has exported no keying material")


@contextmanager
def openssl_session(ca: RunningCA) -> Iterator[OpenSSLSession]:
    folder = ca.files.folder
    options = ["-connect", ca.url.removeprefix("https://"), "-CAfile", folder / "root.pem", "-tls1_3", "-ign_eof"]
    credential = ["-cert", folder / f"{RIG}.pem", "-key", folder / f"{RIG}.key"]
    command = ["openssl", "s_client", *options, *credential, "-keymatexport", LABEL, "-keymatexportlen", "32"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield OpenSSLSession(process)
        finally:
            process.kill()


def test_a_request_linked_to_its_tls_1_3_session_is_granted(ca: RunningCA) -> None:
    board = ca.files.board("BM-000601")
    with openssl_session(ca) as session:
        answer = session.post(base64.b64encode(linked_request(ca, board, challenge_of(session.binding))))
    assert answer.startswith("HTTP/1.1 200 "), answer


def test_a_request_linked_to_another_tls_1_3_session_is_refused(ca: RunningCA) -> None:
    board = ca.files.board("BM-000602")
    with openssl_session(ca) as other, openssl_session(ca) as session:
        assert session.binding != other.binding
        answer = session.post(base64.b64encode(linked_request(ca, board, challenge_of(other.binding))))
    assert answer.startswith("HTTP/1.1 403 "), answer
    assert "ca.2.binding: the request is linked to another TLS session" in answer


@contextmanager
def tls12(ca: RunningCA) -> Iterator[tuple[http.client.HTTPSConnection, bytes]]:
    """Yield a TLS 1.2 connection of the rig, and its tls-unique."""
    folder = ca.files.folder
    context = ssl.create_default_context(cafile=str(folder / "root.pem"))
    context.load_cert_chain(folder / f"{RIG}.pem", folder / f"{RIG}.key")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    connection = http.client.HTTPSConnection(urlsplit(ca.url).netloc, context=context, timeout=30)
    with closing(connection):
        connection.connect()
        unique = connection.sock.get_channel_binding("tls-unique")
        assert unique
        yield connection, unique


def post(connection: http.client.HTTPSConnection, csr: bytes) -> tuple[int, str]:
    connection.request("POST", PATH, base64.b64encode(csr), PKCS10)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_a_request_linked_to_its_tls_1_2_session_is_granted(ca: RunningCA) -> None:
    board = ca.files.board("BM-000603")
    with tls12(ca) as (connection, unique):
        status, body = post(connection, linked_request(ca, board, challenge_of(unique)))
    assert status == 200, body


def test_a_request_linked_to_another_tls_1_2_session_is_refused(ca: RunningCA) -> None:
    board = ca.files.board("BM-000604")
    with tls12(ca) as (_, other), tls12(ca) as (connection, _):
        status, body = post(connection, linked_request(ca, board, challenge_of(other)))
    assert (status, body.split(":")[0]) == (403, "ca.2.binding")


@pytest.mark.parametrize("challenge", ["a shared secret", challenge_of(bytes(12)), challenge_of(bytes(32))])
def test_a_challenge_password_that_is_no_binding_of_the_session_is_refused(ca: RunningCA, challenge: str) -> None:
    csr = linked_request(ca, ca.files.board("BM-000605"), challenge)
    answer = ca.transport(RIG).request("POST", PATH, PKCS10, base64.b64encode(csr))
    assert (answer.status, answer.body.split(b":")[0]) == (403, b"ca.2.binding")
    assert b"linked" in answer.body
