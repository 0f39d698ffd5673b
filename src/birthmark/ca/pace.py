# SPDX-License-Identifier: Apache-2.0
"""
How often those may ask who show no certificate: lists, OCSP, csrattrs, cacerts and health are for everybody.

They share a processor with those who issue, and an answer that says no costs as much as one that says what was asked.
So nobody is turned away at once: beyond the pace an answer comes later, which slows down whoever waits for it. Each
kind of request has a pace of its own, so that a flood of one of them does not keep a balancer from asking for health.
Clients with a certificate are not slowed down.
"""

import time
from asyncio import sleep
from collections.abc import Callable
from typing import Final

from birthmark.ca.edge import refusal
from birthmark.ca.errors import NotNow
from birthmark.ca.watch.observation import note, operation_of
from birthmark.net.asgi import ASGIApp, Receive, Scope, Send, peer

PER_S: Final = 100.0
BURST: Final = 100
"""Of each kind, in each worker."""
WAIT_MAX_S: Final = 2.0
"""Who would wait longer is told to come again, after this time."""
RETRY_S: Final = 5


class Pace:
    """When the next one has its turn. One event loop's."""

    def __init__(self, per_s: float, burst: int) -> None:
        self._gap_s = 1 / per_s
        self._ahead_s = burst / per_s
        self._due_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Return how long one who comes now has to wait; more than WAIT_MAX_S, and it takes nobody's turn."""
        due_s = max(self._due_s, now_s - self._ahead_s)
        wait_s = max(0.0, due_s + self._gap_s - now_s)
        if wait_s <= WAIT_MAX_S:
            self._due_s = due_s + self._gap_s
        return wait_s


class Paced:
    """An application whose anonymous clients are slowed down."""

    def __init__(self, app: ASGIApp, now_s: Callable[[], float] = time.monotonic) -> None:
        """`now_s` never goes back."""
        self._app = app
        self._now_s = now_s
        self._paces: dict[str, Pace] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, in its turn."""
        if scope["type"] == "http" and peer(scope).leaf is None:
            pace = self._paces.setdefault(operation_of(scope["path"]), Pace(PER_S, BURST))
            wait_s = pace.wait_s(self._now_s())
            if wait_s:
                await sleep(min(wait_s, WAIT_MAX_S))
            if wait_s > WAIT_MAX_S:
                await _put_off(scope, send)
                return
        await self._app(scope, receive, send)


async def _put_off(scope: Scope, send: Send) -> None:
    error = NotNow("ca.overload", "too many requests at once", retry_after_s=RETRY_S)
    note(scope, error)
    answer = refusal(error)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
