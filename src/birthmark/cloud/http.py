# SPDX-License-Identifier: Apache-2.0
"""
The edge: HTTP over mutual TLS (docs/reference/cloud-verification.md lists calls and answers).

Every request is admitted anew; a refusal is text/plain, its first line "<finding>: reason". One log line per decision.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from birthmark.cloud.admission import Admission
from birthmark.cloud.errors import CloudRefused, CommandUnknown, RevocationUnknown, TelemetryRefused, TelemetryTooLarge
from birthmark.cloud.service import TELEMETRY_MAX_BYTES, Cloud
from birthmark.core.errors import BirthmarkError, DecodeError, StoreError
from birthmark.net.asgi import peer, read_body
from birthmark.net.errors import BodyRefused

COMMAND_WAIT_MAX_S = 30.0
COMMAND_POLL_S = 0.2
"""Commands are queued by other processes too, so a waiting device's queue is looked at this often."""
COMMAND_ID_MAX_DIGITS = 18
"""What a 64-bit integer holds for certain."""
RETRY_AFTER_S = 5

_LOG = logging.getLogger(__name__)
_STATUS: tuple[tuple[type[BirthmarkError], int], ...] = (
    (CloudRefused, 403),
    (RevocationUnknown, 503),
    (StoreError, 503),
    (CommandUnknown, 404),
    (TelemetryTooLarge, 413),
    (TelemetryRefused, 400),
    (DecodeError, 400),
)
_Endpoint = Callable[[Request], Awaitable[Response]]


class _CommandQuery(msgspec.Struct, frozen=True):
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=COMMAND_WAIT_MAX_S)] = 0.0


class CloudHTTP:
    """The endpoints of one service."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def app(self) -> Starlette:
        """Return the ASGI application."""
        device = "/v1/devices/{unit}"
        return Starlette(
            routes=[
                Route("/v1/me", _answered(self._me), methods=["GET"]),
                Route(f"{device}/telemetry", _answered(self._telemetry), methods=["POST"]),
                Route(f"{device}/commands", _answered(self._command), methods=["GET"]),
                Route(f"{device}/commands/{{id}}/done", _answered(self._done), methods=["POST"]),
            ]
        )

    def _admit(self, request: Request) -> Admission:
        presented = peer(request.scope)
        return self._cloud.admit(presented.leaf, presented.chain)

    async def _me(self, request: Request) -> Response:
        return JSONResponse(self._cloud.me(self._admit(request)))

    async def _telemetry(self, request: Request) -> Response:
        admission = self._admit(request)
        body = await read_body(request.receive, TELEMETRY_MAX_BYTES)
        self._cloud.take_telemetry(admission, request.path_params["unit"], body)
        return Response(status_code=202)

    async def _command(self, request: Request) -> Response:
        ends = time.monotonic() + _wait_s(request)
        while True:
            # Admitted again after each wait: a unit that was revoked meanwhile gets nothing.
            command = self._cloud.next_command(self._admit(request), request.path_params["unit"])
            if command is not None:
                payload = msgspec.Raw(command.payload.encode())
                content = msgspec.json.encode({"id": command.id, "name": command.name, "payload": payload})
                return Response(content, media_type="application/json")
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return Response(status_code=204)
            await asyncio.sleep(min(left_s, COMMAND_POLL_S))

    async def _done(self, request: Request) -> Response:
        admission = self._admit(request)
        self._cloud.finish_command(admission, request.path_params["unit"], _command_id(request))
        return Response(status_code=204)


def _command_id(request: Request) -> int:
    text: str = request.path_params["id"]
    if not (text.isascii() and text.isdecimal() and len(text) <= COMMAND_ID_MAX_DIGITS):
        raise CommandUnknown("that is no command's id")
    return int(text)


def _wait_s(request: Request) -> float:
    try:
        return msgspec.convert(dict(request.query_params), _CommandQuery, strict=False).wait_s
    except msgspec.ValidationError as error:
        raise DecodeError(f"query: {error}", finding="cloud.query") from error


def _answered(endpoint: _Endpoint) -> _Endpoint:
    async def answered(request: Request) -> Response:
        try:
            response = await endpoint(request)
        except BirthmarkError as error:
            response = _refusal(error)
            _LOG.info("%s %r %d finding=%s", request.method, request.url.path, response.status_code, error.finding)
        else:
            _LOG.info("%s %r %d", request.method, request.url.path, response.status_code)
        return response

    return answered


def _refusal(error: BirthmarkError) -> Response:
    status = error.status if isinstance(error, BodyRefused) else _status(error)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}  # noqa: PLR2004 RFC 9110's own number
    return PlainTextResponse(f"{error.finding}: {error.message}\n", status, headers)


def _status(error: BirthmarkError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
