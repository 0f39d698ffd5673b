# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests that change something: small JSON objects, read strictly, and nothing else."""

from typing import Final, TypeVar

from starlette.requests import Request

from birthmark.core import strict_json
from birthmark.core.errors import BirthmarkError
from birthmark.net.asgi import read_body

BODY_MAX_BYTES: Final = 4_096
_T = TypeVar("_T")


class BodyNotJSON(BirthmarkError):
    """A body of another type than JSON: a form of a foreign page could send it."""

    default_finding = "line.station.media-type"


async def read_json(request: Request, form: type[_T]) -> _T:
    """Return the body. Raises BodyNotJSON, BodyRefused (`net.asgi.read_body`), DecodeError."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BodyNotJSON("the body is to be JSON", hint="say content-type: application/json")
    return strict_json.decode(await read_body(request.receive, BODY_MAX_BYTES), form)
