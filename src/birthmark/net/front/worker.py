# SPDX-License-Identifier: Apache-2.0
"""
The HTTP server of one worker behind the front.

Who the client is comes out of a header here, so nobody but the front may reach the listener. Guaranteed before it
serves: it is a Unix socket in a folder that is ours alone. Guaranteed for each connection: its other end runs under
our own user id. A TCP listener cannot have this protocol.
"""

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from birthmark.net.asgi import ASGIApp, BoundServer, Peer, service_configuration
from birthmark.net.errors import FrontUntrusted, IdentityRefused
from birthmark.net.front.identity import HEADER, read_identity
from birthmark.net.front.rolling import LEAVE

SETTLE_TIME_S: Final = 0.5
"""What a connection gets that was accepted when we were told to leave, until it counts as one of ours."""
_LAST: Final = (b"connection", b"close")
_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: pid, uid, gid (unix(7))."""
_OTHERS: Final = 0o077


class FrontProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with the client of whom the front says that it is its TLS client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base class has it
        """Serve our own user's processes and nobody else."""
        super().connection_made(transport)
        if _user_of(transport) != os.geteuid():
            transport.abort()

    def on_headers_complete(self) -> None:
        """Put the client into the scope, and keep its header from the application."""
        identities = [value for name, value in self.headers if name == HEADER]
        if identities:
            try:
                who = self._only(identities)
            except IdentityRefused as error:
                self.send_400_response(str(error))
                return
            self.headers[:] = [each for each in self.headers if each[0] != HEADER]
            self.scope["extensions"] = {"tls": _tls_information(who)}  # type: ignore[dict-item] # invariance of dict
        super().on_headers_complete()

    @staticmethod
    def _only(identities: list[bytes]) -> Peer:
        if len(identities) > 1:
            raise IdentityRefused("the client's identity is there twice")
        return read_identity(identities[0])


class WorkerServer(BoundServer):
    """
    Serves the front's requests from a Unix socket that our parent has bound.

    Told to leave (`rolling.LEAVE`), it takes no new connection: another worker listens already. It answers what comes
    on those that it has, each answer being the last one of its connection, and ends when none is left. The front closes
    those that are idle (`UPSTREAM_KEEP_ALIVE_S`), so that no request meets a connection that ends.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        """
        Take the listener.

        Raises:
            FrontUntrusted: it is no Unix socket, or others than ourselves can open it.

        """
        _require_private(listener)
        configuration = service_configuration(app)
        configuration.http = FrontProtocol
        configuration.limit_concurrency = None  # the front has the limits
        super().__init__(configuration, listener, f"unix:{listener.getsockname()}")
        self._left_at: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, ready to leave."""
        asyncio.get_running_loop().add_signal_handler(LEAVE, self._leave)
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Say whether to end: also when we are leaving and nobody is connected any more."""
        return await super().on_tick(counter) or self._has_left()

    def _leave(self) -> None:
        loop = asyncio.get_running_loop()
        self._left_at = loop.time()
        for server in self.servers:
            # Closing it at once would drop connections that were accepted in this very turn of the loop.
            for each in server.sockets:
                loop.remove_reader(each.fileno())
            loop.call_later(SETTLE_TIME_S, server.close)
        self.config.encoded_headers.append(_LAST)
        self.server_state.default_headers.append(_LAST)

    def _has_left(self) -> bool:
        if self._left_at is None or self.server_state.connections:
            return False
        return asyncio.get_running_loop().time() > self._left_at + 2 * SETTLE_TIME_S


def serve_worker(app: ASGIApp, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    """
    Serve `app` to the front until SIGTERM, then finish what runs and return.

    Raises:
        FrontUntrusted: as `WorkerServer`.

    """
    WorkerServer(app, listener).run_until_stopped(on_ready)


def _require_private(listener: socket.socket) -> None:
    if listener.family != socket.AF_UNIX:
        raise FrontUntrusted(
            "a worker behind a front listens on a network address, where anyone could claim to be anyone",
            hint="give it a Unix socket in a folder of mode 0700",
        )
    path = listener.getsockname()
    folder = Path(path).parent if isinstance(path, str) and path else None
    if folder is None:
        raise FrontUntrusted("a worker's socket has no place in a folder", hint="bind it to a path")
    status = folder.stat()
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & _OTHERS:
        raise FrontUntrusted(f"{folder} can be opened by others", hint=f"chmod 700 {folder}")


def _user_of(transport: asyncio.Transport) -> int:
    connection: Any = transport.get_extra_info("socket")
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)


def _tls_information(who: Peer) -> dict[str, Any]:
    return {"client_cert": who.leaf, "client_cert_chain": who.chain, "channel_bindings": who.bindings}
