# SPDX-License-Identifier: Apache-2.0
"""
The local page of births: what the MES received, for people who stand at the line.

`/` shows the newest births and the counts and renews itself; `/find` looks for a unit and stands still, so that nobody
loses what they are typing. Its box is always empty and has the focus: a scanner can go on to the next unit.

Rendered here, without JavaScript. It is for the browser of this machine alone: a request under another host name than
this machine's is refused, so no web site can read it by pointing its name at us.
"""

import os
from collections.abc import Callable
from datetime import datetime
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from birthmark.core.birth import BirthRecord
from birthmark.core.clock import Clock, system_clock
from birthmark.core.errors import ConfigError
from birthmark.net.asgi import serve_loopback
from birthmark.web.birth_file import BirthFile, Births
from birthmark.web.guard import Guard, security_headers

NEWEST = 50
REFRESH_S = 5
UNIT_MAX_CHARACTERS = 32
HEADERS: Final = security_headers("style-src 'self'; form-action 'self'")

_FOLDER = files("birthmark.web")
_PAGE = (_FOLDER / "births.html").read_text()
_STYLE = (_FOLDER / "births.css").read_text()
_REFRESH = '<meta http-equiv="refresh" content="$seconds">\n'
_WARNING = '<p class="warning">WARNING: $text</p>\n'
_BAND = """<section class="band" aria-label="the newest birth">
<span class="unit">$unit</span>
<span class="word $outcome">$outcome</span>
<span>$rig, position $position<br>$finished UTC</span>
</section>
"""
_TILE = '<div><b>$count</b> <span class="$kind">$what</span></div>\n'
_ROW = """<tr><td class="unit">$unit</td><td><span class="word $outcome">$outcome</span></td><td>$finished</td>
<td>$rig</td><td class="number">$seconds</td><td class="chip">$chip</td></tr>
"""
_TABLE = """<table>
<caption>$caption</caption>
<thead><tr><th scope="col">Unit</th><th scope="col">Result</th><th scope="col">Finished (UTC)</th>
<th scope="col">Rig</th><th scope="col" class="number">Seconds</th><th scope="col">Chip</th></tr></thead>
<tbody>
$rows</tbody>
</table>
"""
_FORM = """<form action="/find" method="get" role="search">
<label for="unit">Unit serial, or a part of it</label>
<input id="unit" name="unit" maxlength="$longest" autocomplete="off" spellcheck="false" autofocus>
<button>Find</button>
</form>
"""
_DETAIL = """<h2><span class="unit">$unit</span> <span class="word $outcome">$outcome</span></h2>
<dl>
$facts</dl>
"""
_FACT = "<dt>$name</dt><dd>$value</dd>\n"


def births_app(mes_file: Path, clock: Clock) -> Starlette:
    """Return the page over one MES file as an ASGI application. The file need not be there yet."""
    births = BirthFile(mes_file)
    name = os.fsencode(mes_file).decode(errors="replace")

    async def newest(_request: Request) -> Response:
        at = clock()
        return HTMLResponse(_newest_page(births.look(at, NEWEST), name, at))

    async def find(request: Request) -> Response:
        at, unit = clock(), searched_unit(request.query_params.get("unit", ""))
        return HTMLResponse(_find_page(births.look(at, NEWEST, unit) if unit else None, unit, name, at))

    async def style(_request: Request) -> Response:
        return Response(_STYLE, media_type="text/css")

    routes = [Route("/", newest), Route("/find", find), Route("/births.css", style)]
    return Starlette(routes=routes, middleware=[Middleware(Guard, HEADERS)])


def serve_births(mes_file: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """
    Serve the page on loopback until SIGTERM or SIGINT. The file may come later.

    Raises:
        ListenFailed: the port is occupied.
        ConfigError: the file cannot be one.

    """
    if mes_file.is_dir() or not mes_file.parent.is_dir():
        raise ConfigError(f"{mes_file} is no file", hint="name the rigs' mes_file")
    serve_loopback(births_app(mes_file, system_clock), port, on_ready)


def searched_unit(typed: str) -> str:
    """Return what a keyboard or a scanner typed, as unit serials are written: capitals, and nothing unprintable."""
    return "".join(character for character in typed if character.isprintable()).strip().upper()[:UNIT_MAX_CHARACTERS]


# --- rendering -------------------------------------------------------------------------------------------------


class _HTML(str):
    """Text that is HTML already: `_fill` takes it as it is and escapes everything else."""

    __slots__ = ()


def _fill(template: str, **values: object) -> _HTML:
    texts = {name: value if isinstance(value, _HTML) else escape(str(value)) for name, value in values.items()}
    return _HTML(Template(template).substitute(texts))


def _joined(parts: list[_HTML]) -> _HTML:
    return _HTML("".join(parts))


def _newest_page(births: Births, file: str, at: datetime) -> str:
    band = [_band(record) for record in births.newest[:1]]
    table = [_table(births)] if births.newest else []
    return _fill(
        _PAGE,
        title="Births",
        refresh=_fill(_REFRESH, seconds=REFRESH_S),
        other="Find a unit",
        other_path="/find",
        moment=f"{at:%Y-%m-%d %H:%M:%S}",
        content=_joined([*_warnings(births), *band, _tiles(births), *table]),
        file=file,
    )


def _find_page(births: Births | None, unit: str, file: str, at: datetime) -> str:
    form = _fill(_FORM, longest=UNIT_MAX_CHARACTERS)
    found = [] if births is None else [*_warnings(births), _found(births, unit), *map(_detail, births.newest)]
    return _fill(
        _PAGE,
        title="Find a unit",
        refresh=_HTML(),
        other="Births",
        other_path="/",
        moment=f"{at:%Y-%m-%d %H:%M:%S}",
        content=_joined([form, *found]),
        file=file,
    )


def _warnings(births: Births) -> list[_HTML]:
    texts = [births.problem] if births.problem else []
    if births.unreadable:
        texts.append(f"lines in the file that are no birth records: {births.unreadable}")
    if births.unfinished:
        texts.append("the last line of the file has no end; the rig writes such a birth anew")
    return [_fill(_WARNING, text=text) for text in texts]


def _band(record: BirthRecord) -> _HTML:
    return _fill(_BAND, position=record.position, **_cells(record))


def _tiles(births: Births) -> _HTML:
    counts = [("births", births.total, ""), ("today (UTC)", births.today, "")]
    counts += [(outcome, count, f"word {outcome}") for outcome, count in births.by_outcome]
    counts += [(rig, count, "") for rig, count in births.by_rig]
    tiles = _joined([_fill(_TILE, count=f"{count:,}", what=what, kind=kind) for what, count, kind in counts])
    return _fill('<section class="tiles" aria-label="counts">\n$tiles</section>\n', tiles=tiles)


def _table(births: Births) -> _HTML:
    shown = len(births.newest)
    caption = f"The newest {shown} of {births.found:,}" if shown < births.found else "All births, the newest first"
    return _fill(_TABLE, caption=caption, rows=_joined([_fill(_ROW, **_cells(record)) for record in births.newest]))


def _cells(record: BirthRecord) -> dict[str, object]:
    return {
        "unit": record.unit_serial,
        "outcome": record.outcome,
        "finished": _moment(record.finished),
        "rig": record.rig,
        "seconds": f"{sum(record.step_ms.values()) / 1000:.2f}",
        "chip": record.chip_serial,
    }


def _found(births: Births, unit: str) -> _HTML:
    if births.found > len(births.newest):
        text = f"{births.found:,} births match {unit}; the newest {len(births.newest)} are shown."
    else:
        text = f"{births.found} of {births.total:,} births match {unit}."
    return _fill("<p><strong>$text</strong></p>\n", text=text)


def _detail(record: BirthRecord) -> _HTML:
    facts = {name.replace("_", " "): value for name, value in msgspec.structs.asdict(record).items()}
    facts["step ms"] = ", ".join(f"{step} {ms:.1f}" for step, ms in record.step_ms.items())
    rendered = _joined([_fill(_FACT, name=name, value=value) for name, value in facts.items()])
    return _fill(_DETAIL, unit=record.unit_serial, outcome=record.outcome, facts=rendered)


def _moment(text: str) -> str:
    """Return an RFC 3339 time in UTC as people read it, to the second."""
    return text[:19].replace("T", " ")
