# SPDX-License-Identifier: Apache-2.0
"""
The administration over HTTP: the rows of `admin_routes`, as an ASGI application's routes.

Each call goes the same way: who is the client, may its role do this, is the body what it must be, do it. A refusal is
JSON with its finding; when the client showed a certificate, the refusal is in the log before it is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from birthmark.ca.admin import openapi
from birthmark.ca.admin.answers import MEDIA_TYPE, STORE_RETRY_S, explained, json_body, refused, told
from birthmark.ca.admin.calls import AdminRoute, Call, Services
from birthmark.ca.admin.ledger_types import ReadyView
from birthmark.ca.admin.openapi import HEALTH_PATH, OPENAPI_PATH, PATH_VALUE_MAX
from birthmark.ca.admin.routes import ROUTES
from birthmark.ca.demands import MALFORMED, UNKNOWN, Client
from birthmark.ca.edge import client_of
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.people.roles import demand_officer, demand_one_of
from birthmark.ca.ports import CAStore
from birthmark.ca.refusals import RefusalShares
from birthmark.ca.trail import Trail
from birthmark.ca.watch.health import ANSWER_WITHIN_S, Health, HealthDesk
from birthmark.ca.watch.observation import note
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.net.asgi import read_body
from birthmark.pki.paths import TrustAnchors

ADMIN_MAX_BODY_BYTES: Final = 65_536
_Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class AdminHTTP:
    """The administration's edge. `trust` is under what officers' certificates stand; refusals go into `store`."""

    services: Services
    store: CAStore
    trust: TrustAnchors
    clock: Clock
    shares: RefusalShares = field(default_factory=RefusalShares)

    def routes(self, table: Sequence[AdminRoute] = ROUTES) -> list[Route]:
        """Return the routes for an application."""
        paths: dict[str, dict[str, _Endpoint]] = {}
        for row in table:
            paths.setdefault(row.path, {})[row.method] = self._endpoint(row)
        return [
            *(_route(path, endpoints) for path, endpoints in paths.items()),
            Route(HEALTH_PATH, self._ready, methods=["GET"]),
            Route(OPENAPI_PATH, _openapi, methods=["GET"]),
        ]

    async def _ready(self, request: Request) -> Response:
        """Answer anybody, and say nothing but whether; what is wrong is for officers (/v1/health/details)."""
        found = await _found(self.services.health)
        if found.ready:
            return told(200, ReadyView(sound=found.sound))
        refusal = NotNow("ca.health", "no certificate can be issued now", retry_after_s=STORE_RETRY_S)
        note(request.scope, refusal)
        return refused(refusal)

    def _endpoint(self, row: AdminRoute) -> _Endpoint:
        async def endpoint(request: Request) -> Response:
            try:
                # Read before anything is decided: a client that is refused at once would not hear why.
                body = await read_body(request.receive, ADMIN_MAX_BODY_BYTES)
                client = client_of(request)
                content_type = request.headers.get("content-type", "")
                answer = await run_in_threadpool(self._answer, row, request, client, (content_type, body))
            except BirthmarkError as error:
                refusal = explained(error)
                note(request.scope, refusal)
                return refused(refusal)
            return told(200, answer)

        return endpoint

    def _answer(
        self, row: AdminRoute, request: Request, client: Client | None, sent: tuple[str, bytes]
    ) -> msgspec.Struct:
        trail = Trail.of(row.name, self.clock(), client)
        self.shares.demand(trail.fingerprint, trail.at)
        try:
            officer = demand_officer(client, self.trust, trail.at)
            trail.who = officer.holder
            demand_one_of(officer, row.roles)
            path, query = _path(request), _query(row, request)
            call = Call(officer, trail.at, path, _body(row, *sent), query)
            return row.function(self.services, call)
        except Refused as refusal:
            if client is not None:
                self._audit(trail, refusal)
            raise

    def _audit(self, trail: Trail, refusal: Refused) -> None:
        with self.store.writing() as ledger:
            ledger.append([trail.row(finding=refusal.finding, detail=refusal.message)])
        self.shares.spend(trail.fingerprint, trail.at)


async def _found(desk: HealthDesk) -> Health:
    """Return what an examination found, without a thread that waits for it: anybody may ask, as often as they like."""
    if desk.is_late:
        return desk.unfinished()
    try:
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(desk.asked())), ANSWER_WITHIN_S)
    except TimeoutError:
        return desk.unfinished()


def _route(path: str, endpoints: Mapping[str, _Endpoint]) -> Route:
    """Return one route for all methods of a path, so that a 405 names all of them."""

    async def endpoint(request: Request) -> Response:
        return await endpoints["GET" if request.method == "HEAD" else request.method](request)

    return Route(path, endpoint, methods=[*endpoints])


def _body(row: AdminRoute, content_type: str, body: bytes) -> msgspec.Struct | None:
    """Return the body, of the type that the route wants. Refused: ca.admin.media-type, ca.admin.body."""
    if row.request is None:
        if body:
            raise Refused(MALFORMED, "ca.admin.body", "this call has no body")
        return None
    return json_body(content_type, body, row.request)


def _path(request: Request) -> dict[str, str]:
    """Return the values in the path. Refused: ca.admin.path, for what can be the name of nothing."""
    for value in request.path_params.values():
        if not 1 <= len(value) <= PATH_VALUE_MAX or not value.isprintable():
            raise Refused(UNKNOWN, "ca.admin.path", "there is nothing of such a name")
    return dict(request.path_params)


def _query(row: AdminRoute, request: Request) -> msgspec.Struct | None:
    """Return the query, of the type that the route wants. Refused: ca.admin.query."""
    sent = request.query_params.multi_items()
    if row.query is None:
        if sent:
            raise Refused(MALFORMED, "ca.admin.query", "this call has no query")
        return None
    if len({name for name, _ in sent}) != len(sent):
        raise Refused(MALFORMED, "ca.admin.query", "the query says something twice")
    try:
        return msgspec.convert(dict(sent), row.query, strict=False)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Refused(MALFORMED, "ca.admin.query", f"the query is not what this call wants: {error}") from error


async def _openapi(_request: Request) -> Response:
    return Response(openapi.encoded(), media_type=MEDIA_TYPE)
