# SPDX-License-Identifier: Apache-2.0
"""EST as an ASGI application without a router: nothing else of the authority is asked as often."""

import asyncio
import functools
from collections.abc import Callable
from typing import TypeVar

from birthmark.ca.demands import Client
from birthmark.ca.edge import client_in, refusal
from birthmark.ca.errors import NotNow
from birthmark.ca.issuing.attributes import AttributeDesk, Items, key_of
from birthmark.ca.issuing.batches import Batches
from birthmark.ca.issuing.jobs import Job
from birthmark.ca.lanes import Lane
from birthmark.ca.service import CA
from birthmark.ca.watch.observation import note
from birthmark.core.errors import BirthmarkError
from birthmark.est import server
from birthmark.est.errors import ESTRefusal
from birthmark.est.messages import EST_MAX_BODY_BYTES, NonceRequest, Operation
from birthmark.est.server import ESTAnswer, ESTRequest
from birthmark.net.asgi import Receive, Scope, Send, read_body

CONTENT_TYPE = b"content-type"
LANE_THREADS = 1
_Asked = TypeVar("_Asked")
_csrattrs_answer = functools.lru_cache(64)(server.csrattrs_answer)


class ESTHTTP:
    """All that lies below EST's prefix. EST says itself which methods an operation has (405 with Allow)."""

    def __init__(self, ca: CA, batches: Batches, attributes: AttributeDesk) -> None:
        self._ca = ca
        self._batches = batches
        self._attributes = attributes
        self._lane = Lane("csrattrs", LANE_THREADS)

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
                return _csrattrs_answer(await self._wanted(client, asked.label))
        raise ESTRefusal(501, "est.not-offered", "this operation is not offered")

    async def _wanted(self, client: Client | None, label: str | None) -> Items:
        """Return what a CSR should hold. Strangers ask: none of them comes near the threads that requests need."""
        known = self._attributes.known(client, label)
        if known is not None:
            return known
        try:
            return await self._lane.run(key_of(client, label), lambda: self._attributes.wanted(client, label))
        except NotNow:
            remembered = self._attributes.remembered(client, label)
            if remembered is None:
                raise
            return remembered

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
