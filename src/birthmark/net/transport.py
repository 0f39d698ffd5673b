# SPDX-License-Identifier: Apache-2.0
"""
HTTP requests over one server's TLS connections, kept alive and shared by threads.

Every failure of urllib3, http.client, ssl and socket is turned into this package's tree in one place, `_failure`.
No redirect is followed and nothing is sent twice: whether a request may be repeated is the caller's knowledge.
"""

import errno
import functools
import http.client
import os
import re
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import urllib3
from cryptography import x509
from urllib3.connection import HTTPSConnection
from urllib3.util import Timeout, parse_url

from birthmark.core.errors import ConfigError
from birthmark.net.errors import AnswerRefused, NetError, TLSFailed, TLSRefused, TLSUntrusted, Unreachable

RESPONSE_MAX_BYTES: Final = 4 << 20
"""The largest body that is read unless the caller knows of larger ones."""
READ_BYTES: Final = 65_536
KEPT_CONNECTIONS: Final = 8
"""Connections that wait for the next request; more may be open at a moment."""
TIMEOUT_S: Final = 10.0

_TCP_INFO: Final = struct.Struct("=128xQ64xQ")
"""tcpi_bytes_received at 128 and tcpi_bytes_sent at 200 of struct tcp_info (linux/tcp.h, since Linux 4.19)."""
_ALERT: Final = re.compile(r"_ALERT_(\w+)$")
_SHOWN_ANCHORS: Final = 4
_URL_HINT: Final = "write https://host[:port] and nothing behind it"
_CUT_OFF: Final = (http.client.RemoteDisconnected, http.client.IncompleteRead)


class Response(NamedTuple):
    """An HTTP answer. Header names are in lower case; repeated headers are joined with commas."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class WireBytes(NamedTuple):
    """TCP payload bytes, TLS handshakes and retransmissions included, IP and TCP headers not."""

    sent: int
    received: int


class HTTPTransport:
    """
    Requests to one server.

    Thread-safe: each thread uses a connection of its own while its request runs.
    """

    def __init__(
        self,
        base_url: str,
        ssl_context: ssl.SSLContext,
        timeout_s: float = TIMEOUT_S,
        response_max_bytes: int = RESPONSE_MAX_BYTES,
    ) -> None:
        """
        Prepare; nothing is connected yet.

        Args:
            base_url: https://host[:port] and nothing behind it.
            ssl_context: any context, also one whose private key is in a chip.
            timeout_s: for the connection with its handshake, and for each wait for bytes of an answer.
            response_max_bytes: of the largest body that is read.

        Raises:
            ConfigError: the URL is not of that form.

        """
        host, port = _host_and_port(base_url)
        self.server = f"{host}:{port}"
        self._context = ssl_context
        self._response_max_bytes = response_max_bytes
        self._meter = _Meter()
        self._pool = _Pool(
            host,
            port,
            ssl_context=ssl_context,
            maxsize=KEPT_CONNECTIONS,
            timeout=Timeout(connect=timeout_s, read=timeout_s),
            retries=False,
            meter=self._meter,
        )

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """
        Send one request and return the whole answer, whatever its status.

        Raises:
            Unreachable, TLSFailed, TLSRefused, TLSUntrusted, AnswerRefused: see `net.errors`.

        """
        try:
            answer = self._pool.urlopen(
                method, path, body or None, dict(headers or {}), redirect=False, preload_content=False
            )
            return Response(answer.status, _plain_headers(answer), self._body(answer))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._failure(error) from error

    def wire_bytes(self) -> WireBytes:
        """Return what all connections have sent and received so far, those that are closed included."""
        return self._meter.total()

    def handshake_bytes(self) -> WireBytes:
        """Return the part of `wire_bytes` that opened the connections: what a connection that is kept does not cost."""
        return self._meter.handshakes

    def close(self) -> None:
        """Close the connections that wait. No request may follow."""
        self._pool.close()

    def _body(self, answer: urllib3.BaseHTTPResponse) -> bytes:
        body = bytearray()
        for part in answer.stream(READ_BYTES, decode_content=False):
            body += part
            if len(body) > self._response_max_bytes:
                answer.close()
                problem = f"{self.server} answered with more than {self._response_max_bytes} bytes"
                raise AnswerRefused(problem, finding="net.answer-too-large")
        answer.release_conn()
        return bytes(body)

    def _failure(self, error: Exception) -> NetError:
        """Return what `error` is in our tree. The innermost cause decides: urllib3 wraps several times."""
        cause = _innermost(error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return self._untrusted(cause)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return self._tls_failure(cause)
        if isinstance(cause, http.client.HTTPException) and not isinstance(cause, _CUT_OFF):
            return AnswerRefused(f"{self.server} does not answer in HTTP: {type(cause).__name__}")
        hint = "is the service running, and is the network up?"
        return Unreachable(f"{self.server} cannot be reached: {_words(cause)}", hint=hint)

    def _tls_failure(self, cause: ssl.SSLError) -> TLSFailed:
        alert = _ALERT.search(cause.reason or "")
        if alert is None:
            return TLSFailed(f"TLS with {self.server} failed: {cause.reason or cause}")
        name = alert[1].lower().replace("_", "-")
        return TLSRefused(
            f"{self.server} refused the TLS session: {name}",
            hint="does the server trust our certificate, and is it still valid?",
            finding=f"tls.{name}",
        )

    def _untrusted(self, cause: ssl.SSLCertVerificationError) -> TLSUntrusted:
        anchors = [x509.load_der_x509_certificate(der) for der in self._context.get_ca_certs(binary_form=True)]
        listed = [
            f"{each.subject.rfc4514_string()} (until {each.not_valid_after_utc:%Y-%m-%d})"
            for each in sorted(anchors, key=lambda each: each.not_valid_after_utc)[:_SHOWN_ANCHORS]
        ]
        return TLSUntrusted(
            f"the certificate of {self.server} is not trusted: {cause.verify_message}",
            hint=f"our trust anchors, first to end first: {'; '.join(listed) or 'none'}",
        )


class _Meter:
    """Counts what connections moved, from the kernel's own numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed = WireBytes(0, 0)
        self.handshakes = WireBytes(0, 0)
        self._open: dict[int, socket.socket] = {}

    def opened(self, connection: socket.socket) -> None:
        """Count this connection from now on."""
        with self._lock:
            self._open[id(connection)] = connection
            self.handshakes = _sum(self.handshakes, _wire_bytes(connection))

    def closing(self, connection: socket.socket | None) -> None:
        """Keep the numbers of a connection that will be closed next."""
        with self._lock:
            if self._open.pop(id(connection), None) is connection and connection is not None:
                self._closed = _sum(self._closed, _wire_bytes(connection))

    def total(self) -> WireBytes:
        """Return the sum over all connections."""
        with self._lock:
            # No connection is closed meanwhile: `closing` waits for the lock.
            return functools.reduce(_sum, map(_wire_bytes, self._open.values()), self._closed)


def _sum(left: WireBytes, right: WireBytes) -> WireBytes:
    return WireBytes(left.sent + right.sent, left.received + right.received)


def _wire_bytes(connection: socket.socket) -> WireBytes:
    received, sent = _TCP_INFO.unpack(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    return WireBytes(sent, received)


class _Connection(HTTPSConnection):
    """A connection that the meter counts, from a finished handshake until it is closed."""

    def __init__(self, *arguments: Any, meter: _Meter, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._meter = meter

    def connect(self) -> None:
        """Connect with TLS; the meter runs from there."""
        super().connect()
        self._meter.opened(self.sock)

    def request(self, *arguments: Any, **options: Any) -> None:
        """Send; if the server has closed already, let urllib3 go on to read what it said before it closed."""
        try:
            super().request(*arguments, **options)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

    def close(self) -> None:
        """Close; the meter keeps the numbers."""
        self._meter.closing(self.sock)
        super().close()


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


def _host_and_port(base_url: str) -> tuple[str, int]:
    try:
        url = parse_url(base_url)
    except urllib3.exceptions.LocationParseError as error:
        raise ConfigError(f"{base_url!r} is not a URL", hint=_URL_HINT) from error
    if url.scheme != "https" or not url.host or url.auth or url.query or url.fragment or url.path not in {None, "/"}:
        raise ConfigError(f"{base_url!r} is not the URL of a server", hint=_URL_HINT)
    return url.host, url.port or 443


def _plain_headers(answer: urllib3.BaseHTTPResponse) -> Mapping[str, str]:
    return MappingProxyType({name.lower(): value for name, value in answer.headers.items()})


def _innermost(error: BaseException) -> BaseException:
    inner = next((each for each in error.args if isinstance(each, BaseException)), error.__cause__)
    return error if inner is None else _innermost(inner)


def _words(cause: BaseException) -> str:
    """Return the operating system's words, without urllib3's object addresses."""
    if isinstance(cause, TimeoutError | urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause)
