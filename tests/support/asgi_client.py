# SPDX-License-Identifier: Apache-2.0
"""Asks an ASGI application in process, as its server would."""

import asyncio
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from birthmark.net.asgi import ASGIApp


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


HOST = "127.0.0.1:8000"


def get(app: ASGIApp, target: str, *, host: str = HOST, method: str = "GET") -> Answer:
    """Return the answer to one request. `target` is path and query."""
    return ask(app, method, target, {"host": host})


def ask(app: ASGIApp, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
    """Return the answer to one request with these headers; without a host among them, it is this machine."""
    return asyncio.run(_ask(app, method, target, {"host": HOST, **headers}, body))


async def _ask(app: ASGIApp, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
    sent: list[MutableMapping[str, Any]] = []

    request = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if not request:
            await asyncio.Event().wait()  # the client stays until it has its answer
        return request.pop()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    url = urlsplit(target)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": url.path,
        "raw_path": url.path.encode(),
        "query_string": url.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8_000),
        "extensions": {"neighbour": {"uid": os.geteuid()}},
    }
    await app(scope, receive, send)
    start, *bodies = sent
    answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], answered, b"".join(part["body"] for part in bodies).decode())
