# SPDX-License-Identifier: Apache-2.0
"""
The edge: EST and the CA's own calls, as an ASGI application.

A handler judges its request as far as that needs no ledger, and lets the rest be settled in a batch. A refusal is
text/plain, "<finding>: reason"; one log line per decision, without secrets (`ca.observation`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from birthmark.ca.edge import client_of, refusal
from birthmark.ca.errors import Refused
from birthmark.ca.est_http import ESTHTTP
from birthmark.ca.issuing.attributes import AttributeDesk
from birthmark.ca.issuing.batches import Batches
from birthmark.ca.service import CA
from birthmark.ca.watch.observation import note
from birthmark.core.birth import BIRTH_MAX_BYTES
from birthmark.core.errors import BirthmarkError
from birthmark.est.messages import EST_PREFIX
from birthmark.est.server import ESTAnswer
from birthmark.net.asgi import ASGIApp, Receive, Scope, Send, read_body

BIRTH_MEDIA_TYPE = "application/jose"

_Endpoint = Callable[[Request], Awaitable[Response]]


class CAHTTP:
    """The endpoints of one CA."""

    def __init__(self, ca: CA, attributes: AttributeDesk, seen: Callable[[int, int], None] | None = None) -> None:
        self._ca = ca
        self._attributes = attributes
        self._batches = Batches(ca.settle, seen)

    def app(self, more: Sequence[BaseRoute] = ()) -> ASGIApp:
        """Return the ASGI application, with what others serve beside it."""
        est = ESTHTTP(self._ca, self._batches, self._attributes)
        others = Starlette(
            routes=[
                Route("/v1/births", _answered(self._birth), methods=["POST"]),
                Route("/v1/certificates/{sha256}", _answered(self._certificate), methods=["GET"]),
                *more,
            ]
        )

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            below_est = scope["type"] == "http" and scope["path"].startswith(EST_PREFIX)
            await (est if below_est else others)(scope, receive, send)

        return app

    async def _birth(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != BIRTH_MEDIA_TYPE:
            raise Refused(415, "ca.birth.media-type", f"a birth record is sent as {BIRTH_MEDIA_TYPE}")
        token = await read_body(request.receive, BIRTH_MAX_BYTES)
        await self._batches.run(self._ca.birth_report(client_of(request), token))
        return Response(status_code=204)

    async def _certificate(self, request: Request) -> Response:
        client, sha256 = client_of(request), request.path_params["sha256"]
        return JSONResponse(await asyncio.to_thread(self._ca.certificate_state, client, sha256))


def _response(answer: ESTAnswer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _answered(endpoint: _Endpoint) -> _Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BirthmarkError as error:
            note(request.scope, error)
            return _response(refusal(error))

    return answered
