# SPDX-License-Identifier: Apache-2.0
"""
What every page of a machine's own browser stands behind: the host's name, the security headers, the request's origin.

A page on loopback is reached by every web site that the browser visits, if nobody looks: under a name that the site
points at 127.0.0.1 (DNS rebinding), or by requests that a foreign page sends. Both are refused here, whatever is asked.
"""

from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response

from birthmark.net.asgi import ASGIApp, Receive, Scope, Send

HOSTS: Final = frozenset({"127.0.0.1", "localhost"})
READING: Final = frozenset({"GET", "HEAD"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})
"""Sec-Fetch-Site of our own page, and of an address that a person typed (W3C Fetch Metadata)."""


def security_headers(policy: str) -> Mapping[str, str]:
    """Return the headers of every answer, with what the page may load (Content-Security-Policy)."""
    return {
        "content-security-policy": f"default-src 'none'; {policy}; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
        "cache-control": "no-store",
    }


class Guard:
    """Refuses foreign host names and foreign pages; puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = _refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive, send_guarded)


def _refusal(method: str, headers: Headers) -> Response | None:
    host = headers.get("host", "")
    if host.partition(":")[0] not in HOSTS:
        return PlainTextResponse("this page is for the browser of its own machine\n", 421)
    if headers.get("sec-fetch-site", "none") not in _OWN_SITES:
        return PlainTextResponse("another site's page may ask nothing here\n", 403)
    # A browser names the origin of everything that can change something; programs without pages name none.
    if method not in READING and headers.get("origin", f"http://{host}") != f"http://{host}":
        return PlainTextResponse("another site's page may change nothing here\n", 403)
    return None
