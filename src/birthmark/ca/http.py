# SPDX-License-Identifier: Apache-2.0
"""
The edge: EST and the CA's own calls, as an ASGI application.

A handler judges its request as far as that needs no ledger, and lets the rest be settled in a batch. A refusal is
text/plain, "<finding>: reason"; one log line per decision, without secrets (`ca.observation`).
"""

from collections.abc import Awaitable, Callable, Sequence

from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from birthmark.ca.batches import Batches
from birthmark.ca.demands import Client
from birthmark.ca.edge import client_of
from birthmark.ca.errors import CAError, Pending, Refused
from birthmark.ca.observation import note
from birthmark.ca.service import CA
from birthmark.ca.status_http import CRL_MEDIA_TYPE
from birthmark.core.birth import BIRTH_MAX_BYTES
from birthmark.core.errors import BirthmarkError
from birthmark.est import server
from birthmark.est.errors import ESTRefusal
from birthmark.est.messages import EST_MAX_BODY_BYTES, EST_PREFIX, NonceRequest, Operation
from birthmark.est.server import ESTAnswer, ESTRequest
from birthmark.net.asgi import read_body
from birthmark.net.errors import BodyRefused

BIRTH_MEDIA_TYPE = "application/jose"
ANY_METHOD = ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"]
"""EST says itself which methods an operation has (405 with Allow)."""

_Endpoint = Callable[[Request], Awaitable[Response]]


class CAHTTP:
    """The endpoints of one CA."""

    def __init__(self, ca: CA, seen: Callable[[int, int], None] | None = None) -> None:
        self._ca = ca
        self._batches = Batches(ca.settle, seen)

    def app(self, more: Sequence[BaseRoute] = ()) -> Starlette:
        """Return the ASGI application, with what others serve beside it."""
        return Starlette(
            routes=[
                Route(f"{EST_PREFIX}/{{rest:path}}", _answered(self._est), methods=ANY_METHOD),
                Route("/v1/births", _answered(self._birth), methods=["POST"]),
                Route("/v1/certificates/{sha256}", _answered(self._certificate), methods=["GET"]),
                Route("/v1/issuers/{issuer}/crl", _answered(self._issuers_crl), methods=["GET"]),
                *more,
            ]
        )

    async def _est(self, request: Request) -> Response:
        body = await read_body(request.receive, EST_MAX_BODY_BYTES)
        path, content_type = request.scope["path"], request.headers.get("content-type")
        asked = server.read_request(request.method, path, content_type, body)
        return _response(await self._est_answer(asked, client_of(request)))

    async def _est_answer(self, asked: ESTRequest, client: Client | None) -> ESTAnswer:
        match asked.operation, asked.payload:
            case Operation.CACERTS, _:
                return server.cacerts_answer(self._ca.ca_certificates())
            case Operation.CSRATTRS, _:
                return server.csrattrs_answer(self._ca.wanted_attributes(client, asked.label))
            case Operation.NONCE, NonceRequest() as wanted:
                nonce = await self._batches.run(self._ca.nonce_wish(client, asked.label, wanted))
                return server.nonce_answer(self._ca.nonce_response(nonce))
            case Operation.SIMPLEENROLL, bytes() as csr:
                return _issued(await self._batches.run(self._ca.enrolment(client, asked.label, csr)))
            case Operation.SIMPLEREENROLL, bytes() as csr:
                return _issued(await self._batches.run(self._ca.renewal(client, csr)))
        raise ESTRefusal(501, "est.not-offered", "this operation is not offered")

    async def _birth(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != BIRTH_MEDIA_TYPE:
            raise Refused(415, "ca.birth.media-type", f"a birth record is sent as {BIRTH_MEDIA_TYPE}")
        token = await read_body(request.receive, BIRTH_MAX_BYTES)
        await self._batches.run(self._ca.birth_report(client_of(request), token))
        return Response(status_code=204)

    async def _certificate(self, request: Request) -> Response:
        return JSONResponse(self._ca.certificate_state(client_of(request), request.path_params["sha256"]))

    async def _issuers_crl(self, request: Request) -> Response:
        return Response(self._ca.revocation_list(request.path_params["issuer"]), media_type=CRL_MEDIA_TYPE)


def _issued(certificate: bytes) -> ESTAnswer:
    return server.certificate_answer(x509.load_der_x509_certificate(certificate))


def _response(answer: ESTAnswer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))


def _answered(endpoint: _Endpoint) -> _Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BirthmarkError as error:
            note(request.scope, error)
            return _response(_refusal(error))

    return answered


def _refusal(error: BirthmarkError) -> ESTAnswer:
    match error:
        case Pending():
            return server.pending_answer(error, error.retry_after_s)
        case CAError():
            return server.refusal_answer(error.status, error, error.retry_after_s or None)
        case ESTRefusal() | BodyRefused():
            return server.refusal_answer(error.status, error)
    return server.refusal_answer(500, error)
