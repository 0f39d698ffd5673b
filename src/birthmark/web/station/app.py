# SPDX-License-Identifier: Apache-2.0
"""
The station's page and REST interface as an ASGI application, for this machine alone.

`/v1` is what local programs use too (TestStand, LabVIEW, a script): JSON in, JSON out, errors as finding, message and
hint. Everything that changes something takes a small JSON body and nothing else.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from birthmark.core import ids
from birthmark.core.errors import BirthmarkError, DecodeError, StoreError
from birthmark.line.errors import CallRefused, LeadRefused, ScanRefused, UnitsAway, UnitStopped
from birthmark.line.station.lead_desk import Act
from birthmark.line.wiring import OpenStation
from birthmark.net.asgi import ending
from birthmark.net.errors import BodyRefused
from birthmark.web.guard import Guard, security_headers
from birthmark.web.json_body import read_json
from birthmark.web.station.numbers import NumberCalls
from birthmark.web.station.panels import PanelCalls
from birthmark.web.station.view import floor_view, station_view, unit_view, work_view
from birthmark.web.station.words import words
from birthmark.web.users import UsersOnly

PATIENCE_S: Final = 20.0
"""How long `GET /v1/floor?after=` waits for news."""
WATCHERS_MAX: Final = 64
"""Who waits at once; further ones wait until one of them has its answer."""
REASON_MAX_CHARACTERS: Final = 200
HEADERS: Final = security_headers("script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'")
_SLICE_S: Final = 0.5
"""How soon those who wait see that the server ends."""
_SESSION_BYTES: Final = 6
_VERSION_MAX_DIGITS: Final = 18
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER: Final = files("birthmark.web.station")
_STATUS: Final = {
    "line.scan.empty": 422,
    "line.scan.stranger": 422,
    "line.scan.too-long": 422,
    "line.scan.unknown": 422,
    "line.lead.wait": 429,
    "line.station.form": 422,
    "line.station.media-type": 415,
    "line.station.unknown": 404,
    "line.unit.reason": 422,
}
_STATUS_OF_KIND: Final[Mapping[type[BirthmarkError], int]] = {
    DecodeError: 400,
    ScanRefused: 409,
    CallRefused: 409,
    LeadRefused: 403,
    UnitStopped: 409,
    UnitsAway: 503,
    StoreError: 503,
}

_T = TypeVar("_T")


class ScanBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/scan`: what a scanner typed, as it came."""

    typed: str


class DecisionBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/units/UNIT/override` and `/rework`."""

    lead: str
    pin: str
    reason: str


def station_app(station: OpenStation, users: frozenset[int]) -> Starlette:
    """
    Return the page and the REST interface of an open station, for connections of these users (`web.users.uids`).

    Raises:
        ConfigError: an unknown language.

    """
    pages = _Pages(station)
    calls = _Calls(station)
    routes = [
        Route("/", pages.page),
        Route("/{name:str}", pages.file),
        Route("/v1/station", calls.station),
        Route("/v1/floor", calls.floor),
        Route("/v1/scan", calls.scan, methods=["POST"]),
        *PanelCalls(station).routes,
        *NumberCalls(station.overview).routes,
        Route("/v1/units/{unit:str}", calls.unit),
        *(Route(f"/v1/units/{{unit:str}}/{act}", calls.decision(act), methods=["POST"]) for act in Act),
    ]
    handlers: dict[Any, Any] = {BirthmarkError: _refused, HTTPException: _no_call}
    guards = [Middleware(Guard, HEADERS), Middleware(UsersOnly, users)]
    return Starlette(routes=routes, middleware=guards, exception_handlers=handlers)


class _Pages:
    """The page and its files, read once."""

    def __init__(self, station: OpenStation) -> None:
        self._files = {
            each.name: each.read_bytes() for each in _FOLDER.iterdir() if PurePath(each.name).suffix in _TYPES
        }
        self._files["language.json"] = msgspec.json.encode(words(station.rig.language))

    async def page(self, _request: Request) -> Response:
        return Response(self._files["station.html"], media_type=_TYPES[".html"])

    async def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        content = self._files.get(name)
        if content is None:
            raise HTTPException(404)
        return Response(content, media_type=_TYPES.get(PurePath(name).suffix, "application/json"))


class _Calls:
    """The REST interface."""

    def __init__(self, station: OpenStation) -> None:
        self._station = station
        self._session = secrets.token_hex(_SESSION_BYTES)
        self._watchers = ThreadPoolExecutor(WATCHERS_MAX, "watcher")

    async def station(self, _request: Request) -> Response:
        return JSONResponse(station_view(self._station))

    async def floor(self, request: Request) -> Response:
        desk, seen = self._station.desk, self._seen(request.query_params.get("after", ""))
        shown, left_s = desk.shown(), PATIENCE_S
        while seen is not None and shown.floor.version <= seen and left_s > 0 and not ending(request.scope):
            shown = await _in_thread(self._watchers, desk.shown_after, seen, _SLICE_S)
            left_s -= _SLICE_S
        return JSONResponse(floor_view(shown, self._session))

    async def scan(self, request: Request) -> Response:
        body = await read_json(request, ScanBody)
        await asyncio.to_thread(self._station.desk.scan, body.typed)
        return JSONResponse(floor_view(self._station.desk.shown(), self._session))

    async def unit(self, request: Request) -> Response:
        unit = ids.unit_serial(request.path_params["unit"])
        work, history = await asyncio.to_thread(self._station.leads.show, unit)
        return JSONResponse(unit_view(work, history))

    def decision(self, act: Act) -> Callable[[Request], Any]:
        """Return the call of one kind of decision."""

        async def decide(request: Request) -> Response:
            unit, body = ids.unit_serial(request.path_params["unit"]), await read_json(request, DecisionBody)
            if len(body.reason) > REASON_MAX_CHARACTERS or not body.reason.isprintable():
                raise UnitStopped(
                    "this is no reason", hint=f"up to {REASON_MAX_CHARACTERS} characters", finding="line.unit.reason"
                )
            work = await asyncio.to_thread(
                self._station.leads.decide, act, unit, body.lead, body.pin, body.reason.strip()
            )
            return JSONResponse(work_view(work))

        return decide

    def _seen(self, after: str) -> int | None:
        """Return the version that a client has seen; None when there is none, or it is another run's."""
        session, _, version = after.partition("-")
        mine = session == self._session and version.isdecimal() and len(version) <= _VERSION_MAX_DIGITS
        return int(version) if mine else None


async def _in_thread(threads: ThreadPoolExecutor, act: Callable[..., _T], *arguments: object) -> _T:
    return await asyncio.get_running_loop().run_in_executor(threads, act, *arguments)


async def _refused(_request: Request, error: BirthmarkError) -> Response:
    told = {"finding": error.finding, "message": error.message, "hint": error.hint}
    return JSONResponse(told, _status(error))


async def _no_call(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette finds no call for: an unknown path, or a method that the path does not have."""
    told = {
        "finding": "line.station.call",
        "message": f"there is no call {request.method} {request.url.path}",
        "hint": "docs/reference/line-station.md lists the calls",
    }
    return JSONResponse(told, error.status_code, error.headers)


def _status(error: BirthmarkError) -> int:
    if isinstance(error, BodyRefused):
        return error.status
    if error.finding in _STATUS:
        return _STATUS[error.finding]
    return next((status for kind, status in _STATUS_OF_KIND.items() if isinstance(error, kind)), 500)
