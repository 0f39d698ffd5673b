# SPDX-License-Identifier: Apache-2.0
"""
An ASGI application behind mutual TLS, on uvicorn.

uvicorn does not tell an application who its TLS client is. `MTLSProtocol` puts that into
`scope["extensions"]["tls"]`, and `peer(scope)` is the only reader of it: behind a terminator another reader takes its
place and the application stays as it is.

No header of a request is ever taken for an identity. What a client can hold open is bounded: the time and size of a
request's head, the time and size of its body, the idle time between requests, the number of connections.
"""

import asyncio
import contextlib
import json
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from birthmark.net.channel_binding import NO_BINDINGS
from birthmark.net.door import Door, Drops
from birthmark.net.errors import BodyRefused
from birthmark.net.listening import listen, url_of
from birthmark.net.neighbours import owner_of
from birthmark.net.session import tls_information

HEAD_MAX_BYTES: Final = 16_384
"""A request line with its headers that is not complete by then is refused."""
HEAD_TIME_S: Final = 20.0
"""From the connection, or the first byte of a later request, to the end of its headers."""
BODY_TIME_S: Final = 20.0
UNREAD_BODY_TIME_S: Final = 2 * BODY_TIME_S
"""From the end of the head to the end of a body that nobody reads: `read_body` has given up long before."""
SEND_TIME_S: Final = 60.0
"""For so long what waits for a client may wait. Long answers are sent in pieces: each of them has this time."""
PIPELINED_MAX: Final = 16
"""Requests of one connection that wait for the answers before them; who sends more at once is dropped."""
KEEP_ALIVE_S: Final = 75
STOP_TIME_S: Final = 5
"""After SIGTERM: what running requests get before they are cancelled."""
GOODBYE_TIME_S: Final = 0.2
"""What an idle client gets to answer our TLS close."""
MAX_CONNECTIONS: Final = 1_024
"""Beyond it a request is answered with 503."""
LOOPBACK: Final = "127.0.0.1"
_HEAD_REFUSED: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b"
)
_ENDING: Final = "birthmark.ending"

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


# --- who is there ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """
    The client of a TLS session, as TLS verified it. Both are empty when it showed no certificate.

    `chain` has the DER certificates from the leaf to the anchor. Of a resumed TLS 1.2 session only the leaf is known.
    `bindings` returns the session's channel bindings; none where TLS ends elsewhere.
    """

    leaf: bytes | None = None
    chain: tuple[bytes, ...] = ()
    bindings: Callable[[], Mapping[str, bytes]] = field(default=lambda: NO_BINDINGS, compare=False)


NOBODY: Final = Peer()


def peer(scope: Scope) -> Peer:
    """Return the TLS client of a request; NOBODY without TLS or without a client certificate."""
    tls = scope.get("extensions", {}).get("tls")
    if tls is None or tls["client_cert"] is None:
        return NOBODY
    return Peer(tls["client_cert"], tls["client_cert_chain"], tls["channel_bindings"])


def neighbour(scope: Scope) -> int | None:
    """Return whose socket the other end of a loopback connection is (uid); None where nobody knows."""
    uid: int | None = scope.get("extensions", {}).get("neighbour", {}).get("uid")
    return uid


class _TooManyAtOnce(Exception):
    """One read may hold thousands of small requests: each would be parsed before anybody else has a turn."""


class _HeadTooLarge(Exception):
    """One read may hold the whole of a head that is far too long."""


# --- the protocol ----------------------------------------------------------------------------------------------


class ServiceConfiguration(uvicorn.Config):
    """How uvicorn serves one of ours."""

    drops: Drops
    door: Door | None = None
    """Where everybody may knock."""


class MTLSProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with the TLS client in the scope and an end to slow or endless requests."""

    config: ServiceConfiguration
    _tls: dict[str, Any] | None = None
    _arrival_timer: asyncio.TimerHandle | None = None
    _taking_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _parsed_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base class has it
        """Learn who the client is; the handshake is over by now."""
        super().connection_made(transport)
        self._tls = tls_information(transport)
        self._expect_within(HEAD_TIME_S, "net.head-too-slow")
        if self.config.door is not None and (self._tls is None or self._tls["client_cert"] is None):
            self.config.door.strangers.take(self, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching for what will not come."""
        if self.config.door is not None:
            self.config.door.strangers.free(self)
        self._stop_expecting()
        self._stop_offering()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and end a head that grows without end."""
        if self._in_head:
            self._head_bytes += len(data)
            self._expect_within(HEAD_TIME_S, "net.head-too-slow")
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_MAX_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Put the client into the scope of the request that begins. Of too many at once none is read any more."""
        if len(self.pipeline) >= PIPELINED_MAX:
            self._drop("net.too-many-at-once")
            raise _TooManyAtOnce
        self._parsed_bytes = 0
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": self._tls}  # type: ignore[dict-item] # invariance of dict

    def on_url(self, url: bytes) -> None:
        """Count it."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count it."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: its limits are met. The body has its own time, whether somebody reads it or not."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_expecting()
        self._expect_within(UNREAD_BODY_TIME_S, "net.body-too-slow")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte belongs to the next head."""
        self._in_head = True
        self._stop_expecting()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client is slower than we are: what it does not take within its time ends the connection."""
        super().pause_writing()
        if self._taking_timer is None:
            self._taking_timer = self.loop.call_later(SEND_TIME_S, self._drop, "net.answer-not-taken")

    def resume_writing(self) -> None:
        """It has taken enough for the next piece."""
        self._stop_offering()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close after the running request; drop a client that is idle."""
        super().shutdown()
        if self.transport.is_closing():
            # An idle client does not read, so it would not answer our close_notify for its whole time limit.
            self.loop.call_later(GOODBYE_TIME_S, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, unless it has been said already what is wrong."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def _count(self, parsed: int) -> None:
        self._parsed_bytes += parsed
        if self._parsed_bytes > HEAD_MAX_BYTES:
            self._refuse_head()
            raise _HeadTooLarge

    def _refuse_head(self) -> None:
        text = f"net.head-too-large: the request's head is longer than {HEAD_MAX_BYTES} bytes\n".encode()
        self.config.drops.note("net.head-too-large")
        self.transport.write(_HEAD_REFUSED % (len(text), text))
        self.transport.close()

    def _expect_within(self, time_s: float, finding: str) -> None:
        """Drop the client after that time, unless something stops the timer. One that runs already runs on."""
        if self._arrival_timer is None:
            self._arrival_timer = self.loop.call_later(time_s, self._drop, finding)

    def _drop(self, finding: str) -> None:
        self.config.drops.note(finding)
        self.transport.abort()

    def _stop_offering(self) -> None:
        if self._taking_timer is not None:
            self._taking_timer.cancel()
            self._taking_timer = None

    def _stop_expecting(self) -> None:
        if self._arrival_timer is not None:
            self._arrival_timer.cancel()
            self._arrival_timer = None


class LoopbackProtocol(MTLSProtocol):
    """The same for connections of this machine: instead of TLS the kernel says who the client is."""

    _neighbour: Mapping[str, int | None] = {"uid": None}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its base class has it
        """Learn whose connection it is while it is there; a socket that its program has left is nobody's."""
        super().connection_made(transport)
        ends = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if all(ends):
            self._neighbour = {"uid": owner_of(*ends)}

    def on_message_begin(self) -> None:
        """Put the user into the scope of the request that begins."""
        super().on_message_begin()
        self.scope["extensions"] = {"neighbour": dict(self._neighbour)}  # type: ignore[dict-item] # invariance of dict


# --- bodies ----------------------------------------------------------------------------------------------------


async def read_body(receive: Receive, max_bytes: int, time_s: float = BODY_TIME_S) -> bytes:
    """
    Return the whole request body, of at most `max_bytes`, within `time_s` seconds.

    Raises:
        BodyRefused: 413 net.body-too-large, 408 net.body-too-slow, 400 net.body-cut-off.

    """
    try:
        async with asyncio.timeout(time_s):
            return await _read_body(receive, max_bytes)
    except TimeoutError as error:
        raise BodyRefused(408, "net.body-too-slow", f"the body did not arrive within {time_s:g} s") from error


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyRefused(400, "net.body-cut-off", "the client left before its body was complete")
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise BodyRefused(413, "net.body-too-large", f"the body has more than {max_bytes} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def ending(scope: Scope) -> bool:
    """Say whether the server is about to end: a request that waits for news is answered without any."""
    event: threading.Event | None = scope.get("state", {}).get(_ENDING)
    return event is not None and event.is_set()


# --- the server ------------------------------------------------------------------------------------------------


class BoundServer(uvicorn.Server):
    """
    One listening server: bound when constructed, serving while `run` runs, ended by SIGTERM or `stop`.

    Attributes:
        url: what to tell whoever wants to reach it.

    """

    def __init__(self, configuration: uvicorn.Config, listener: socket.socket, url: str) -> None:
        self._socket = listener
        self.url = url
        self._on_ready: Callable[[str], None] | None = None
        self._untold: OSError | None = None
        self._ending = threading.Event()
        super().__init__(configuration)

    def run_until_stopped(self, on_ready: Callable[[str], None]) -> None:
        """
        Serve; call `on_ready(url)` once connections are accepted. Returns after SIGTERM, SIGINT or `stop`.

        Raises:
            OSError: what `on_ready` raised; the server has ended in good order.

        """
        self._on_ready = on_ready
        with self._socket, _quiet_signals():
            self.run([self._socket])
        if self._untold is not None:
            raise self._untold

    def stop(self) -> None:
        """Ask the server to end, from any thread: no new connections, running requests are finished."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start uvicorn, then say that we are ready."""
        self.lifespan.state[_ENDING] = self._ending
        await super().startup(sockets)
        if self._on_ready is None:
            return
        try:
            self._on_ready(self.url)
        except OSError as error:  # nobody would ever learn where we listen
            self._untold = error
            self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let those who wait for something to happen have their answer now, then end as uvicorn does."""
        self._ending.set()
        await super().shutdown(sockets)


class TCPServer(BoundServer):
    """
    A server on an internet address.

    Attributes:
        port: the real port, also when 0 was asked for.

    """

    def __init__(self, configuration: uvicorn.Config, scheme: str, host: str, port: int) -> None:
        listener = listen(host, port)
        self.port: int = listener.getsockname()[1]
        super().__init__(configuration, listener, url_of(scheme, host, self.port))


class DoorServer(TCPServer):
    """A server that whoever reaches the port may come to: its door bounds what that costs."""

    def __init__(self, app: ASGIApp, host: str, port: int, context: ssl.SSLContext | None) -> None:
        configuration = service_configuration(app)
        self._door = configuration.door = Door(context, MAX_CONNECTIONS, configuration.drops)
        configuration.limit_concurrency = self._door.inside_max
        super().__init__(configuration, "http" if context is None else "https", host, port)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start uvicorn without a socket: clients come through the door."""
        for listener in sockets or ():
            self._door.open(listener, self._inside)
        await super().startup([])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the door, and wait for nobody who stands in it."""
        self._door.close()
        await super().shutdown(sockets)

    def _inside(self) -> MTLSProtocol:
        return MTLSProtocol(self.config, self.server_state, self.lifespan.state)


class HTTPSServer(DoorServer):
    """Mutual TLS: what every service listens with."""

    def __init__(self, app: ASGIApp, host: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(app, host, port, context)


class PublicServer(DoorServer):
    """Plain HTTP for what is signed and for everyone, such as revocation lists: nobody is identified here."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        super().__init__(app, host, port, None)


class LoopbackServer(TCPServer):
    """Plain HTTP for a page that is read on this very machine: it listens on 127.0.0.1 and cannot be told otherwise."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        configuration = service_configuration(app)
        configuration.http = LoopbackProtocol
        super().__init__(configuration, "http", LOOPBACK, port)


def serve(
    app: ASGIApp, host: str, port: int, context: ssl.SSLContext, on_ready: Callable[[str], None] | None = None
) -> None:
    """
    Serve `app` over HTTPS until SIGTERM or SIGINT, then return.

    `on_ready(url)` is called when connections are accepted; by default one JSON line is printed (`announce`).

    Raises:
        ListenFailed: finding net.port-occupied when another program listens there, else net.listen.

    """
    HTTPSServer(app, host, port, context).run_until_stopped(on_ready or announce)


def serve_loopback(app: ASGIApp, port: int, on_ready: Callable[[str], None]) -> None:
    """
    Serve `app` over plain HTTP to this machine alone, until SIGTERM or SIGINT; then return.

    Raises:
        ListenFailed: as `serve` does.

    """
    LoopbackServer(app, port).run_until_stopped(on_ready)


def announce(url: str) -> None:
    """Print the one line that tells a parent process where we listen: {"ready": url}."""
    sys.stdout.write(json.dumps({"ready": url}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def service_configuration(app: ASGIApp) -> ServiceConfiguration:
    """Return how uvicorn serves all of ours."""
    configuration = ServiceConfiguration(
        app,
        http=MTLSProtocol,
        loop="auto",  # uvloop where it is installed
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # a header never says who the client is
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_TIME_S,
    )
    configuration.drops = Drops()
    return configuration


@contextlib.contextmanager
def _quiet_signals() -> Iterator[None]:
    """
    Let SIGTERM and SIGINT end the server and nothing more.

    uvicorn stops in good order and then raises the signal again for the handler that was there before it; with the
    default handler the process would report death by signal instead of exit code 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
