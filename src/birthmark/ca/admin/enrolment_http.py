# SPDX-License-Identifier: Apache-2.0
"""
A rig's first certificate over HTTP: the one call in JSON whose client shows no certificate, but a ticket.

It is as slow for a flood as every call that is for everybody (`ca.pace`). A ticket stands in no log.
"""

from dataclasses import dataclass
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from birthmark.ca.admin.answers import explained, json_body, refused, told
from birthmark.ca.admin.rig_types import NewRig, RigCertificate, certificate_view
from birthmark.ca.rigs.desk import RigDesk
from birthmark.ca.watch.observation import note
from birthmark.core.errors import BirthmarkError
from birthmark.net.asgi import read_body

ENROLMENT_PATH: Final = "/v1/rigs/enrolment"
ENROLMENT_MAX_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class EnrolmentHTTP:
    """The endpoint, over a desk."""

    desk: RigDesk

    def routes(self) -> list[Route]:
        """Return the route for an application."""
        return [Route(ENROLMENT_PATH, self._enrol, methods=["POST"])]

    async def _enrol(self, request: Request) -> Response:
        try:
            body = await read_body(request.receive, ENROLMENT_MAX_BYTES)
            asked = json_body(request.headers.get("content-type", ""), body, NewRig)
            return told(200, await run_in_threadpool(self._answer, asked))
        except BirthmarkError as error:
            refusal = explained(error)
            note(request.scope, refusal)
            return refused(refusal)

    def _answer(self, asked: NewRig) -> RigCertificate:
        return certificate_view(self.desk.enrol(asked.ticket, asked.request))
