# SPDX-License-Identifier: Apache-2.0
"""A TLS server on loopback that demands a client certificate, and the contexts of both ends."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.pki import authorities
from birthmark.silicon import tls
from support.tls_files import TLSFiles

NOW = datetime.now(UTC)
TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
TIMEOUT_S = 5.0
GREETING = b"hello"


@dataclass
class Server:
    """Greets everyone with a certificate under the root, and remembers whom, or why not."""

    address: tuple[str, int]
    peers: list[bytes | None] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)


class World:
    """A root, a server's identity, and a client's certificate under an intermediate."""

    def __init__(self, folder: Path) -> None:
        self.files = TLSFiles(folder, NOW)
        self.identity = self.files.server()

    def certificate(self, key: ec.EllipticCurvePublicKey) -> list[bytes]:
        leaf = authorities.make_rig(self.files.operations, "unit", key, NOW)
        return [each.public_bytes(Encoding.DER) for each in (leaf, self.files.operations.certificate)]

    def server_context(self, version: ssl.TLSVersion) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.identity.certificate, self.identity.key)
        context.verify_mode = ssl.CERT_REQUIRED
        # The root alone: a client that does not send the intermediate is refused.
        context.load_verify_locations(cadata=self.files.trust.decode())
        context.minimum_version = context.maximum_version = version
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.files.trust.decode())
        return context

    def with_key(self, key: ec.EllipticCurvePrivateKey, signer: Callable[[bytes], bytes]) -> ssl.SSLContext:
        context = self.client_context()
        tls.use_chip_key(context, self.certificate(key.public_key()), signer)
        return context


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname())
        thread = threading.Thread(target=serve, args=(listener, context, server))
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def serve(listener: socket.socket, context: ssl.SSLContext, server: Server) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.settimeout(TIMEOUT_S)
        try:
            with connection, context.wrap_socket(connection, server_side=True) as secured:
                server.peers.append(secured.getpeercert(binary_form=True))
                secured.sendall(GREETING)
                secured.recv(1)
        except (ssl.SSLError, ConnectionError) as error:
            server.refusals.append(str(error))


def greeted(
    context: ssl.SSLContext, server: Server, session: ssl.SSLSession | None = None
) -> tuple[bytes, ssl.SSLSession | None]:
    """Connect, take the greeting, and return it with the session."""
    with (
        socket.create_connection(server.address, TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as secured,
    ):
        return secured.recv(len(GREETING)), secured.session
