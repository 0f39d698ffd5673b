# SPDX-License-Identifier: Apache-2.0
"""`/v1/yields`, `/v1/attempts.csv`, `/v1/surroundings`: the numbers of the lead page (docs/reference/yields.md)."""

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from birthmark.core.attempts import Period
from birthmark.core.errors import DecodeError
from birthmark.core.order_wire import OrderProgress
from birthmark.line.station.overview import Overview, Surroundings
from birthmark.line.yield_forms import (
    ATTEMPT_COLUMNS,
    attempt_members,
    columns_of,
    csv_lines,
    numbers_members,
    rows_of,
)
from birthmark.line.yields import By, Trouble

LINES_AT_ONCE: Final = 500
"""Of a CSV, in one piece."""
CSV: Final = "text/csv; charset=utf-8; header=present"
_GROUPS: Final[dict[str, By | Trouble]] = {each.value: each for each in (*By, *Trouble)}


class NumberCalls:
    """What is asked about the attempts of the line, and about what the rig depends on."""

    def __init__(self, overview: Overview) -> None:
        self._overview = overview

    @property
    def routes(self) -> list[Route]:
        """Return where the calls are."""
        return [
            Route("/v1/yields", self._yields),
            Route("/v1/yields.csv", self._yields_csv),
            Route("/v1/attempts.csv", self._attempts_csv),
            Route("/v1/surroundings", self._surroundings),
        ]

    async def _yields(self, request: Request) -> Response:
        period, rig = self._period(request), request.query_params.get("rig", "")
        return JSONResponse(numbers_members(await asyncio.to_thread(self._overview.yields.numbers, period, rig)))

    async def _yields_csv(self, request: Request) -> Response:
        period, group = self._period(request), _group(request)
        numbers = await asyncio.to_thread(self._overview.yields.numbers, period, request.query_params.get("rig", ""))
        text = "".join(csv_lines(columns_of(group), rows_of(numbers, group)))
        return Response(text, media_type=CSV, headers=_attached(f"yields-by-{group.value}.csv"))

    async def _attempts_csv(self, request: Request) -> Response:
        attempts = self._overview.yields.attempts(self._period(request))
        # The first page before the answer begins: a store that is away is an error and not half a file.
        first = await asyncio.to_thread(next, attempts, None)
        rows = itertools.chain([first] if first else [], attempts)
        lines = csv_lines(ATTEMPT_COLUMNS, map(attempt_members, rows))
        return StreamingResponse(_pieces(lines), media_type=CSV, headers=_attached("attempts.csv"))

    async def _surroundings(self, _request: Request) -> Response:
        return JSONResponse(surroundings_view(await asyncio.to_thread(self._overview.surroundings)))

    def _period(self, request: Request) -> Period:
        asked = request.query_params
        return self._overview.yields.period(asked.get("since", "24h"), asked.get("until", ""))


def surroundings_view(found: Surroundings) -> dict[str, Any]:
    """Return how outbox, order and CA stand."""
    ca = {"state": found.ca.state, "detail": found.ca.detail, "at": found.ca.at.isoformat(timespec="seconds")}
    return {
        "ca": ca,
        "outbox": [asdict(each) for each in found.outbox],
        "order": {"order": found.order, "passed": found.passed, "account": _account(found.progress)},
    }


def _account(progress: OrderProgress | None) -> dict[str, Any] | None:
    return None if progress is None else msgspec.to_builtins(progress)


def _group(request: Request) -> By | Trouble:
    asked = request.query_params.get("by", By.POSITION.value)
    if asked not in _GROUPS:
        hint = f"one of {', '.join(_GROUPS)}"
        raise DecodeError(f"nothing is compared by {asked[:32]!r}", hint=hint, finding="line.yields.by")
    return _GROUPS[asked]


def _attached(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}


def _pieces(lines: Iterable[str]) -> Iterator[str]:
    rest = iter(lines)
    while piece := "".join(itertools.islice(rest, LINES_AT_ONCE)):
        yield piece
