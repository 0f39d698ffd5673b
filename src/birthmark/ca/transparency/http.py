# SPDX-License-Identifier: Apache-2.0
"""
The log over HTTP, as C2SP tlog-tiles says: `/v1/log/checkpoint` and `/v1/log/tile/...`.

For auditors and security officers: the log holds volumes and the names of operators.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from birthmark.ca.demands import UNKNOWN
from birthmark.ca.edge import client_of
from birthmark.ca.errors import CAError, Refused
from birthmark.ca.people.roles import demand_role
from birthmark.ca.transparency.log import Log
from birthmark.ca.watch.observation import note
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.roles import Role
from birthmark.pki.paths import TrustAnchors
from birthmark.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, read_path

LOG_PATH: Final = "/v1/log"
READERS: Final = frozenset({Role.AUDITOR, Role.SECURITY_OFFICER})
NOTE_MEDIA_TYPE: Final = "text/plain; charset=utf-8"
TILE_MEDIA_TYPE: Final = "application/octet-stream"
_NEWEST: Final = {"Cache-Control": "no-cache"}
# What a tile or bundle of a given width holds never changes. Private: it was given to one reader.
_FOR_GOOD: Final = {"Cache-Control": "private, max-age=31536000, immutable"}

_Endpoint = Callable[[Request], Awaitable[Response]]


class LogHTTP:
    """The endpoints of one log."""

    def __init__(self, log: Log, trust: TrustAnchors, clock: Clock) -> None:
        self._log = log
        self._trust = trust
        self._clock = clock

    def routes(self) -> list[Route]:
        """Return what a listener with mutual TLS serves."""
        return [
            Route(f"{LOG_PATH}/checkpoint", _answered(self._checkpoint), methods=["GET"]),
            Route(f"{LOG_PATH}/{{path:path}}", _answered(self._tile), methods=["GET"]),
        ]

    async def _checkpoint(self, request: Request) -> Response:
        self._demand_reader(request)
        return Response(self._log.checkpoint(), headers=_NEWEST, media_type=NOTE_MEDIA_TYPE)

    async def _tile(self, request: Request) -> Response:
        self._demand_reader(request)
        found = self._content(request.path_params["path"])
        if found is None:
            raise _nothing_there()
        return Response(found, headers=_FOR_GOOD, media_type=TILE_MEDIA_TYPE)

    def _content(self, path: str) -> bytes | None:
        try:
            wanted = read_path(path)
        except DecodeError as error:
            raise _nothing_there() from error
        match wanted:
            case Tile():
                return self._log.tile(wanted)
            case EntryBundle():
                return self._log.bundle(wanted, wanted.index * TILE_WIDTH)

    def _demand_reader(self, request: Request) -> None:
        demand_role(client_of(request), READERS, self._trust, self._clock())


def _nothing_there() -> Refused:
    return Refused(
        UNKNOWN, "ca.log.no-tile", "the log has no such tile or bundle", hint="see the checkpoint for its size"
    )


def _answered(endpoint: _Endpoint) -> _Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BirthmarkError as error:
            status, wait_s = (error.status, error.retry_after_s) if isinstance(error, CAError) else (500, 0)
            headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(wait_s)} if wait_s else {})
            note(request.scope, error)
            return PlainTextResponse(f"{error.finding}: {error.message}\n", status, headers)

    return answered
