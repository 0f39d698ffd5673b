# SPDX-License-Identifier: Apache-2.0
"""Where devices name their trust anchors (docs/reference/formats.md, "Anchors"), over their own mutual TLS."""

from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from birthmark.ca.anchors import AnchorDesk
from birthmark.ca.edge import client_of, refusal
from birthmark.ca.errors import Refused
from birthmark.ca.watch.observation import note
from birthmark.core.anchors import ANCHORS_MAX_BYTES, ANCHORS_MEDIA_TYPE, ANCHORS_PATH
from birthmark.core.errors import BirthmarkError
from birthmark.net.asgi import read_body


@dataclass(frozen=True, slots=True)
class AnchorsHTTP:
    """The call of one authority."""

    desk: AnchorDesk

    def routes(self) -> list[Route]:
        """Return the route for an application."""
        return [Route(ANCHORS_PATH, self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        try:
            body = await read_body(request.receive, ANCHORS_MAX_BYTES)
            if request.headers.get("content-type", "").split(";")[0].strip().lower() != ANCHORS_MEDIA_TYPE:
                raise Refused(415, "ca.anchors.media-type", f"anchors are named as {ANCHORS_MEDIA_TYPE}")
            await run_in_threadpool(self.desk.take, client_of(request), body)
        except BirthmarkError as error:
            note(request.scope, error)
            answer = refusal(error)
            return Response(answer.body, answer.status, dict(answer.headers))
        return Response(status_code=204)
