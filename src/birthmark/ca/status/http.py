# SPDX-License-Identifier: Apache-2.0
"""
Where relying parties learn what is revoked: lists, OCSP, and the feed (docs/reference/revocation.md).

Lists and OCSP are for everyone and signed, so they may be served without TLS and kept by caches. The feed is not
signed: it goes over mutual TLS, to whom the authority's own rules let read it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Protocol

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from birthmark.ca.errors import CAError, NotNow, Refused
from birthmark.ca.issuing.signers import DEFAULT_ISSUER
from birthmark.ca.status.publishing import Signed, cache_headers, matches
from birthmark.ca.watch.observation import note
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.revocation import WAIT_MAX_S, RevocationPage, encode_page
from birthmark.net.asgi import Peer, ending, peer, read_body
from birthmark.net.errors import BodyRefused
from birthmark.pki.ocsp import (
    REQUEST_MAX_BYTES,
    REQUEST_MEDIA_TYPE,
    RESPONSE_MEDIA_TYPE,
    CertID,
    ErrorStatus,
    error_response,
    read_request,
    read_request_path,
)

CRL_MEDIA_TYPE: Final = "application/pkix-crl"
CRL_PATH: Final = "/v1/crl"
ISSUERS_CRL_PATH: Final = "/v1/issuers/{issuer}/crl"
"""The lists of the other issuing CAs."""
OCSP_PATH: Final = "/v1/ocsp"
FEED_PATH: Final = "/v1/revocations"
FEED_POLL_S: Final = 0.5
"""Changes are written by other processes too, so the ledger is looked at this often for each follower that waits."""
_INDEX_MAX_DIGITS: Final = 5

_LOG = logging.getLogger(__name__)
_Endpoint = Callable[[Request], Awaitable[Response]]


class StatusDesk(Protocol):
    """What the endpoints need from the service. Everything may raise NotNow."""

    def full_list(self, issuer: str = DEFAULT_ISSUER) -> Signed:
        """Return an issuer's current list of everything that is revoked. Raises Refused 404 for an unknown one."""
        ...

    def partition_list(self, count: int, index: int, issuer: str = DEFAULT_ISSUER) -> Signed | None:
        """Return the current list of one partition; None when the authority does not divide its lists so."""
        ...

    def ocsp(self, asked: tuple[CertID, ...]) -> Signed | ErrorStatus:
        """
        Return a response that answers for all certificates asked about.

        UNAUTHORIZED when one of them is another authority's, TRY_LATER when a signature would be needed that the
        budget does not hold.
        """
        ...

    def changes(self, client: Peer, after: int) -> RevocationPage:
        """Return the changes after a number. Raises Refused 403 for a client that may not read the feed."""
        ...


class _FeedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=WAIT_MAX_S)] = 0.0


class StatusHTTP:
    """The endpoints of one authority. `max_age_s` bounds how long caches keep what they fetched."""

    def __init__(self, desk: StatusDesk, clock: Clock, max_age_s: int) -> None:
        self._desk = desk
        self._clock = clock
        self._max_age_s = max_age_s

    def public_routes(self) -> list[Route]:
        """Return what anybody may call, with or without TLS."""
        return [
            Route(CRL_PATH, _answered(self._full_list), methods=["GET"]),
            Route(f"{CRL_PATH}/{{count}}/{{index}}", _answered(self._partition), methods=["GET"]),
            Route(ISSUERS_CRL_PATH, _answered(self._full_list), methods=["GET"]),
            Route(f"{ISSUERS_CRL_PATH}/{{count}}/{{index}}", _answered(self._partition), methods=["GET"]),
            Route(OCSP_PATH, _answered(self._ocsp_post), methods=["POST"]),
            Route(f"{OCSP_PATH}/{{request:path}}", _answered(self._ocsp_get), methods=["GET"]),
        ]

    def routes(self) -> list[Route]:
        """Return what a listener with mutual TLS serves: the feed too."""
        return [*self.public_routes(), Route(FEED_PATH, _answered(self._feed), methods=["GET"])]

    def public_app(self) -> Starlette:
        """Return an application for a listener without TLS."""
        return Starlette(routes=self.public_routes())

    async def _full_list(self, request: Request) -> Response:
        return self._list(request, await run_in_threadpool(self._desk.full_list, _issuer(request)))

    async def _partition(self, request: Request) -> Response:
        count, index = (_number(request.path_params[name]) for name in ("count", "index"))
        found = await run_in_threadpool(self._desk.partition_list, count, index, _issuer(request))
        if found is None:
            raise _no_partition()
        return self._list(request, found)

    def _list(self, request: Request, signed: Signed) -> Response:
        headers = cache_headers(signed, self._clock(), self._max_age_s)
        if matches(request.headers.get("if-none-match", ""), signed.body):
            return Response(status_code=304, headers=headers)
        return Response(signed.body, headers=headers, media_type=CRL_MEDIA_TYPE)

    async def _ocsp_post(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != REQUEST_MEDIA_TYPE:
            raise Refused(415, "ca.ocsp.media-type", f"an OCSP request is sent as {REQUEST_MEDIA_TYPE}")
        return await run_in_threadpool(self._ocsp, await read_body(request.receive, REQUEST_MAX_BYTES))

    async def _ocsp_get(self, request: Request) -> Response:
        try:
            return await run_in_threadpool(self._ocsp, read_request_path(request.path_params["request"]))
        except DecodeError:
            return _ocsp_error(ErrorStatus.MALFORMED_REQUEST)

    def _ocsp(self, request: bytes) -> Response:
        """Answer in OCSP's own terms: whatever goes wrong has HTTP status 200 and is said inside (RFC 6960 §4.2.1)."""
        try:
            answer = self._desk.ocsp(read_request(request))
        except DecodeError as error:
            _LOG.info("ocsp finding=%s %s", error.finding, error.message)
            return _ocsp_error(ErrorStatus.MALFORMED_REQUEST)
        except NotNow as error:
            _LOG.error("ocsp finding=%s: %s", error.finding, error.__cause__)
            return _ocsp_error(ErrorStatus.TRY_LATER)
        if isinstance(answer, ErrorStatus):
            return _ocsp_error(answer)
        headers = cache_headers(answer, self._clock(), self._max_age_s)
        return Response(answer.body, headers=headers, media_type=RESPONSE_MEDIA_TYPE)

    async def _feed(self, request: Request) -> Response:
        query = _feed_query(request)
        ends = time.monotonic() + query.wait_s
        while True:
            # Asked again after each wait: a client that may no longer read the feed gets nothing.
            page = await run_in_threadpool(self._desk.changes, peer(request.scope), query.after)
            left_s = ends - time.monotonic()
            if page.changes or page.head < query.after or left_s <= 0 or ending(request.scope):
                headers = {"Cache-Control": "no-store"}
                return Response(encode_page(page), headers=headers, media_type="application/json")
            await asyncio.sleep(min(left_s, FEED_POLL_S))


def _issuer(request: Request) -> str:
    """Return whose list is asked for: the path of the first issuer's names none."""
    return str(request.path_params.get("issuer", DEFAULT_ISSUER))


def _number(text: str) -> int:
    """Return a count or an index in its one form: a list has one URL, which is its name."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _INDEX_MAX_DIGITS) or str(int(text)) != text:
        raise _no_partition()
    return int(text)


def _no_partition() -> Refused:
    return Refused(404, "ca.crl.no-partition", "there is no such partition; /v1/crl is the full list")


def _feed_query(request: Request) -> _FeedQuery:
    try:
        return msgspec.convert(dict(request.query_params), _FeedQuery, strict=False)
    except msgspec.ValidationError as error:
        raise Refused(400, "ca.feed.query", f"the query: {error}") from error


def _ocsp_error(status: ErrorStatus) -> Response:
    headers = {"Cache-Control": "no-store"}
    return Response(error_response(status), headers=headers, media_type=RESPONSE_MEDIA_TYPE)


def _answered(endpoint: _Endpoint) -> _Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except BirthmarkError as error:
            note(request.scope, error)
            return _refusal(error)

    return answered


def _refusal(error: BirthmarkError) -> Response:
    status = error.status if isinstance(error, CAError | BodyRefused) else 500
    wait_s = error.retry_after_s if isinstance(error, CAError) else 0
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(wait_s)} if wait_s else {})
    return PlainTextResponse(f"{error.finding}: {error.message}\n", status, headers)
