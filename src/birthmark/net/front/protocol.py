# SPDX-License-Identifier: Apache-2.0
"""
HTTP/1.1 between the front and its worker.

Shorter than a server for the world, because the other end is our own Envoy: requests come whole (its buffer filter),
one at a time on a connection, within its limits of size and time. Whoever breaks that is no Envoy and is cut off.
"""

import asyncio
import http
import logging
import socket
import struct
import urllib.parse
from collections.abc import MutableMapping
from functools import cache
from os import geteuid
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from birthmark.net.asgi import Scope, WholeBody
from birthmark.net.errors import IdentityRefused
from birthmark.net.front.identity import HEADER, read_identity

_CREDENTIALS: Final = struct.Struct("=iII")
"""struct ucred: pid, uid, gid (unix(7))."""
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})
_BODILESS: Final = frozenset({http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_MODIFIED})
_MALFORMED: Final = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_FAILED: Final = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_LOG: Final = logging.getLogger(__name__)


class FrontProtocol(asyncio.Protocol):
    """One connection from the front. Runs in uvicorn's server, in the place of its own protocol."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app = config.loaded_app
        self._server = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._answer: _Answer | None = None
        self._ends = False
        self.writable = asyncio.Event()
        self.writable.set()

    # --- the connection ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as asyncio calls it
        """Serve our own user's processes and nobody else."""
        self._transport = transport
        if _user_of(transport) != geteuid():
            transport.abort()
            return
        self._server.connections.add(self)  # type: ignore[arg-type] # uvicorn names its own protocols

    def connection_lost(self, _error: Exception | None) -> None:
        """Let the running request know that nobody waits for it."""
        self._server.connections.discard(self)
        if self._answer is not None:
            self._answer.body.abandon()
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._cut_off(f"no HTTP: {error}")
        except httptools.HttpParserUpgrade:
            self._cut_off("an upgrade")

    def pause_writing(self) -> None:
        """Stop the answer: the front reads slower than we write."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self.writable.set()

    def shutdown(self) -> None:
        """Close after the running request."""
        self._ends = True
        if self._answer is None:
            self._transport.close()

    # --- the request, as the parser tells it ---

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Take the target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers.append((name.lower(), value))

    def on_body(self, part: bytes) -> None:
        """Take a part of the body; the front has counted its bytes."""
        self._body.append(part)

    def on_message_complete(self) -> None:
        """Hand the request to the application."""
        if self._answer is not None:
            self._cut_off("a second request before the first one's answer")
            return
        try:
            scope = self._scope()
        except IdentityRefused as error:
            self._cut_off(str(error))
            return
        except httptools.HttpParserInvalidURLError:
            self._transport.write(_MALFORMED)
            self._transport.close()
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._answer = _Answer(self, self._transport, WholeBody(body), head_only=scope["method"] == "HEAD")
        task = self._loop.create_task(self._run(scope, self._answer))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    def _scope(self) -> Scope:
        identities = [value for name, value in self._headers if name == HEADER]
        if len(identities) > 1:
            raise IdentityRefused("the client's identity is there twice")
        url = httptools.parse_url(self._url)
        path = url.path.decode("latin-1")
        scope: Scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "scheme": "https",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self._headers,
            "client": None,
            "server": None,
            "state": self._app_state.copy(),
        }
        if identities:
            who = read_identity(identities[0])
            self._headers[:] = [each for each in self._headers if each[0] != HEADER]
            told = {"client_cert": who.leaf, "client_cert_chain": who.chain, "channel_bindings": who.bindings}
            scope["extensions"] = {"tls": told}
        return scope

    async def _run(self, scope: Scope, answer: "_Answer") -> None:
        keep_alive = self._parser.should_keep_alive()
        try:
            await self._app(scope, answer.body, answer.send)
        except Exception:  # noqa: BLE001 whatever it is, the client gets an answer
            _LOG.exception("the application failed")
        self._answer = None
        if not answer.is_whole:
            answer.give_up()
        elif self._ends or not keep_alive:
            self._transport.close()

    def _cut_off(self, why: str) -> None:
        _LOG.error("net.front.protocol: %s", why)
        self._transport.abort()


class _Answer:
    """One answer: its head waits for the first part of its body, so that both are one write and its length is known."""

    __slots__ = ("_begun", "_chunked", "_head_only", "_protocol", "_start", "_transport", "body", "is_whole")

    def __init__(
        self, protocol: FrontProtocol, transport: asyncio.Transport, body: WholeBody, *, head_only: bool
    ) -> None:
        self._protocol = protocol
        self._transport = transport
        self.body = body
        self._head_only = head_only
        self._start: MutableMapping[str, Any] | None = None
        self._chunked = False
        self._begun = False
        self.is_whole = False

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take a message of the application (ASGI)."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.is_whole or self._transport.is_closing():
            return
        part, more = message.get("body", b""), message.get("more_body", False)
        head = b""
        if self._start is not None:
            head, self._start = self._head(self._start, part, more=more), None
        self._transport.write(head + self._framed(part, more=more))
        self._begun = True
        self.is_whole = not more
        if more and not self._protocol.writable.is_set():
            await self._protocol.writable.wait()

    def give_up(self) -> None:
        """Answer 500 if nothing was sent; else the end of the connection says that the answer is not whole."""
        if self._transport.is_closing():
            return
        if not self._begun:
            self._transport.write(_FAILED)
        self._transport.close()

    def _head(self, start: MutableMapping[str, Any], part: bytes, *, more: bool) -> bytes:
        status, headers = start["status"], list(start.get("headers", ()))
        if not any(name.lower() in _LENGTHS for name, _ in headers) and status not in _BODILESS:
            self._chunked = more
            headers.append((b"transfer-encoding", b"chunked") if more else (b"content-length", b"%d" % len(part)))
        lines = [_status_line(status)]
        for name, value in headers:
            lines += (name, b": ", value, b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(headers) + 1:
            raise ValueError("a header of the answer holds a line end")
        return head + b"\r\n"

    def _framed(self, part: bytes, *, more: bool) -> bytes:
        if self._head_only:
            return b""
        if not self._chunked:
            return part
        chunk = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
        return chunk if more else chunk + b"0\r\n\r\n"


@cache
def _status_line(status: int) -> bytes:
    return f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n".encode("ascii")


def _user_of(transport: asyncio.Transport) -> int:
    connection: Any = transport.get_extra_info("socket")
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return int(user)
