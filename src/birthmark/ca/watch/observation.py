# SPDX-License-Identifier: Apache-2.0
"""
One decision per request, told to whoever wants to know: the line in the log, and the metrics.

Every request gets an id, which the answer carries too (`X-Request-ID`): the client's own when it is a plain one, else
ours. What is told holds no header, no body, no query and no nonce.
"""

import itertools
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from birthmark.ca.errors import NotNow
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.est.messages import EST_PREFIX, Operation
from birthmark.net.asgi import ASGIApp, Receive, Scope, Send

REQUEST_ID: Final = b"x-request-id"
OTHER: Final = "other"
"""The operation of a path that nothing is served at."""
_FINDING: Final = "birthmark.finding"
_CAUSE: Final = "birthmark.cause"
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_EST_OPERATIONS: Final = frozenset(operation.value for operation in Operation)
_NO_STATUS: Final = 500
"""What the server answers for an application that ended without an answer."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked, and what came of it. `cause` is for whoever runs the CA and never goes to the client."""

    at: str
    """RFC 3339, UTC, milliseconds."""
    request: str
    method: str
    path: str
    operation: str
    status: int
    ms: float
    finding: str = ""
    cause: str = ""


Sink: TypeAlias = Callable[[Decision], None]
"""Takes a decision, at once: it runs on the event loop."""


def note(scope: Scope, error: BirthmarkError) -> None:
    """Say why a request is not granted. The client of a NotNow learns only that it may come again; the log more."""
    scope[_FINDING] = error.finding
    if isinstance(error, NotNow) and error.__cause__ is not None:
        scope[_CAUSE] = str(error.__cause__)


class Observed:
    """An application whose every answer is told to the sinks."""

    def __init__(self, app: ASGIApp, clock: Clock, sinks: Sequence[Sink]) -> None:
        self._app = app
        self._clock = clock
        self._sinks = tuple(sinks)
        self._prefix = f"{os.urandom(6).hex()}-"
        self._numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, give its answer the id, and tell what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        request_id = _sent_id(scope) or f"{self._prefix}{next(self._numbers)}".encode()
        status = _NO_STATUS

        async def answering(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, answering)
        finally:
            self._tell(scope, request_id, status, time.perf_counter() - begin)

    def _tell(self, scope: Scope, request_id: bytes, status: int, seconds: float) -> None:
        path = scope["path"]
        decision = Decision(
            at=self._clock().isoformat(timespec="milliseconds"),
            request=request_id.decode("ascii"),
            method=scope["method"],
            path=path,
            operation=operation_of(path),
            status=status,
            ms=round(seconds * 1_000, 3),
            finding=scope.get(_FINDING, ""),
            cause=scope.get(_CAUSE, ""),
        )
        for sink in self._sinks:
            sink(decision)


def operation_of(path: str) -> str:
    """Return what a path asks for, out of a small set: an EST operation, or the first word below /v1/."""
    if path.startswith(EST_PREFIX):
        last = path.rpartition("/")[2]
        return last if last in _EST_OPERATIONS else OTHER
    if path.startswith("/v1/"):
        first = path.split("/", 3)[2]
        return first if first in KNOWN else OTHER
    return OTHER


KNOWN: Final = frozenset(
    (
        "attestation-keys",
        "authority",
        "births",
        "certificates",
        "chips",
        "crl",
        "denied-clients",
        "health",
        "issuers",
        "log",
        "models",
        "ocsp",
        "openapi.json",
        "orders",
        "proposals",
        "revocations",
        "rigs",
        "units",
    )
)
"""The first words of our own paths."""


def _sent_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == REQUEST_ID:
            return bytes(value) if _PLAIN_ID.fullmatch(value) else b""
    return b""
