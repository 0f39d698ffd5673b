# SPDX-License-Identifier: Apache-2.0
"""EST as an ASGI application without a router: nothing else of the authority is asked as often."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from birthmark.ca.demands import Client
from birthmark.ca.edge import client_in, refusal
from birthmark.ca.issuing.batches import Batches
from birthmark.ca.issuing.jobs import Job
from birthmark.ca.service import CA
from birthmark.ca.watch.observation import note
from birthmark.core.errors import BirthmarkError
from birthmark.est import server
from birthmark.est.errors import ESTRefusal
from birthmark.est.messages import EST_MAX_BODY_BYTES, NonceRequest, Operation
from birthmark.est.server import ESTAnswer, ESTRequest
from birthmark.net.asgi import Receive, Scope, Send, read_body

CONTENT_TYPE = b"content-type"
_Asked = TypeVar("_Asked")


class ESTHTTP:
    """All that lies below EST's prefix. EST says itself which methods an operation has (405 with Allow)."""

    def __init__(self, ca: CA, batches: Batches) -> None:
        self._ca = ca
        self._batches = batches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await read_body(receive, EST_MAX_BODY_BYTES)
            asked = server.read_request(scope["method"], scope["path"], _content_type(scope), body)
            answer = await self._answer(asked, client_in(scope))
        except BirthmarkError as error:
            note(scope, error)
            answer = refusal(error)
        await _send(answer, send)

    async def _answer(self, asked: ESTRequest, client: Client | None) -> ESTAnswer:
        # What reads the ledger goes to a thread: whoever holds the ledger must not hold up the other requests.
        match asked.operation, asked.payload:
            case Operation.SIMPLEENROLL, bytes() as csr:
                job = await self._judged(self._ca.enrolment, client, asked.label, csr)
                return server.certificate_answer(await self._batches.run(job))
            case Operation.SIMPLEREENROLL, bytes() as csr:
                return server.certificate_answer(await self._renewed(client, csr))
            case Operation.NONCE, NonceRequest() as wanted:
                nonce = await self._batches.run(await self._judged(self._ca.nonce_wish, client, asked.label, wanted))
                return server.nonce_answer(self._ca.nonce_response(nonce))
            case Operation.CACERTS, _:
                return server.cacerts_answer(self._ca.ca_certificates())
            case Operation.CSRATTRS, _:
                return server.csrattrs_answer(await asyncio.to_thread(self._ca.wanted_attributes, client, asked.label))
        raise ESTRefusal(501, "est.not-offered", "this operation is not offered")

    async def _renewed(self, client: Client | None, csr: bytes) -> bytes:
        return await self._batches.run(await asyncio.to_thread(self._ca.renewal, client, csr))

    async def _judged(
        self,
        judge: Callable[[Client | None, str | None, _Asked], Job],
        client: Client | None,
        label: str | None,
        asked: _Asked,
    ) -> Job:
        """Judge a request here when its order is known, because a thread would cost more than that."""
        if self._ca.remembers(label):
            return judge(client, label, asked)
        return await asyncio.to_thread(judge, client, label, asked)


def _content_type(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == CONTENT_TYPE:
            return str(value, "latin-1")
    return None


async def _send(answer: ESTAnswer, send: Send) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
