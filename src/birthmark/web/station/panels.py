# SPDX-License-Identifier: Apache-2.0
"""`/v1/panels`: a program runs a panel with one call, and reads how far it is (docs/reference/line-station.md)."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from birthmark.core import ids
from birthmark.core.errors import DecodeError
from birthmark.line import results
from birthmark.line.errors import ScanRefused
from birthmark.line.junit import junit_xml
from birthmark.line.station.calls import CalledPanel, PanelCall
from birthmark.line.wiring import OpenStation
from birthmark.net.asgi import ending
from birthmark.web.json_body import read_json

WAIT_MAX_S: Final = 120.0
"""The longest that a program may wait in one call."""
PROGRAMS_MAX: Final = 16
"""Who waits at once; further ones wait until one of them has its answer."""
_SLICE_S: Final = 0.5
"""How soon those who wait see that the server ends."""
_SECONDS: Final = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3})?")


class PanelBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`POST /v1/panels`: see `line.station.calls.PanelCall`."""

    key: str
    units: tuple[str | None, ...]
    operator: str = ""

    def call(self) -> PanelCall:
        """Return what is asked for. Raises DecodeError: a unit that is no unit's serial."""
        units = tuple(unit if unit is None else ids.unit_serial(unit) for unit in self.units)
        return PanelCall(self.key, units, self.operator)


class PanelCalls:
    """What programs ask about panels."""

    def __init__(self, station: OpenStation) -> None:
        self._station = station
        self._waiting = ThreadPoolExecutor(PROGRAMS_MAX, "program")

    @property
    def routes(self) -> list[Route]:
        """Return where the calls are."""
        return [
            Route("/v1/panels", self._begin, methods=["POST"]),
            Route("/v1/panels/{key:str}", self._panel),
            Route("/v1/panels/{key:str}/junit", self._junit),
        ]

    async def _begin(self, request: Request) -> Response:
        wait_s, body = _wait_s(request), await read_json(request, PanelBody)
        called = await asyncio.to_thread(self._station.desk.call, body.call())
        called = await self._awaited(request, called, wait_s)
        return JSONResponse(panel_view(called), 202 if called.running else 200)

    async def _panel(self, request: Request) -> Response:
        called = self._station.desk.panel(request.path_params["key"])
        return JSONResponse(panel_view(await self._awaited(request, called, _wait_s(request))))

    async def _junit(self, request: Request) -> Response:
        called = self._station.desk.panel(request.path_params["key"])
        if called.running:
            raise ScanRefused("the panel is running", hint="wait for its verdicts", finding="line.scan.running")
        return Response(junit_xml(called.result, called.began), media_type="application/xml")

    async def _awaited(self, request: Request, called: CalledPanel, wait_s: float) -> CalledPanel:
        """Return the panel once it has ended, or after so long, or when the server ends."""
        key, look = called.call.key, self._station.desk.panel
        while called.running and wait_s > 0 and not ending(request.scope):
            now_s = min(wait_s, _SLICE_S)
            called = await asyncio.get_running_loop().run_in_executor(self._waiting, look, key, now_s)
            wait_s -= now_s
        return called


def panel_view(called: CalledPanel) -> dict[str, Any]:
    """Return a program's panel as JSON has it."""
    began = called.began.isoformat(timespec="milliseconds")
    return {"panel": called.call.key, "operator": called.call.operator, "began": began} | results.members(called.result)


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait_s", "0")
    if _SECONDS.fullmatch(text) is None or float(text) > WAIT_MAX_S:
        raise DecodeError(f"wait_s={text[:16]!r}", hint=f"0 to {WAIT_MAX_S:g} seconds")
    return float(text)
