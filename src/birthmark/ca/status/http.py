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
from birthmark.ca.lanes import Lane
from birthmark.ca.status.publishing import Kept, Signed, cache_headers, matches
from birthmark.ca.watch.observation import note
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.revocation import WAIT_MAX_S, RevocationPage, encode_page
from birthmark.net.asgi import Peer, Receive, Scope, Send, ending, peer, read_body
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
LIST_THREADS: Final = 1
OCSP_THREADS: Final = 2
PIECE_BYTES: Final = 65_536
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

    def kept_list(self, issuer: str, part: tuple[int, int] | None) -> Kept | None:
        """Return a list, or one partition of it (count, index), as it was found right last; None when it never was."""
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


class Pieces(Response):
    """A long body, sent in pieces: the next one when the client has taken the last one."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 as ASGI calls it
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for begin in range(0, len(body), PIECE_BYTES):
            piece = bytes(body[begin : begin + PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": begin + PIECE_BYTES < len(body)})


class _FeedQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=WAIT_MAX_S)] = 0.0


class StatusHTTP:
    """The endpoints of one authority. `max_age_s` bounds how long caches keep what they fetched."""

    def __init__(self, desk: StatusDesk, clock: Clock, max_age_s: int) -> None:
        self._desk = desk
        self._clock = clock
        self._max_age_s = max_age_s
        self._lists = Lane("lists", LIST_THREADS)
        self._responses = Lane("ocsp", OCSP_THREADS)

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
        return await self._list(request, None)

    async def _partition(self, request: Request) -> Response:
        return await self._list(request, (_number(request, "count"), _number(request, "index")))

    async def _list(self, request: Request, part: tuple[int, int] | None) -> Response:
        signed = await self._found(_issuer(request), part)
        headers = cache_headers(signed, self._clock(), self._max_age_s)
        if matches(request.headers.get("if-none-match", ""), signed):
            return Response(status_code=304, headers=headers)
        return Pieces(signed.body, headers=headers, media_type=CRL_MEDIA_TYPE)

    async def _found(self, issuer: str, part: tuple[int, int] | None) -> Signed:
        """Return the list; the one that was found right last, where the ledger or the key does not answer in time."""
        kept = self._desk.kept_list(issuer, part)
        if kept is not None and kept.fresh:
            return kept.signed
        try:
            return await self._lists.run((issuer, part), lambda: self._read(issuer, part))
        except NotNow:
            if kept is None:
                raise
            return kept.signed

    def _read(self, issuer: str, part: tuple[int, int] | None) -> Signed:
        if part is None:
            return self._desk.full_list(issuer)
        found = self._desk.partition_list(*part, issuer)
        if found is None:
            raise _no_partition()
        return found

    async def _ocsp_post(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != REQUEST_MEDIA_TYPE:
            raise Refused(415, "ca.ocsp.media-type", f"an OCSP request is sent as {REQUEST_MEDIA_TYPE}")
        return await self._responded(await read_body(request.receive, REQUEST_MAX_BYTES))

    async def _ocsp_get(self, request: Request) -> Response:
        try:
            asked = read_request_path(request.path_params["request"])
        except DecodeError:
            return _ocsp_error(ErrorStatus.MALFORMED_REQUEST)
        return await self._responded(asked)

    async def _responded(self, asked: bytes) -> Response:
        try:
            return await self._responses.run(asked, lambda: self._ocsp(asked))
        except NotNow as error:
            _LOG.error("ocsp finding=%s: %s", error.finding, error.message)
            return _ocsp_error(ErrorStatus.TRY_LATER)

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


def _number(request: Request, name: str) -> int:
    """Return a count or an index in its one form: a list has one URL, which is its name."""
    text = str(request.path_params[name])
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
