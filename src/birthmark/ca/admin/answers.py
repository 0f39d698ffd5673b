# SPDX-License-Identifier: Apache-2.0
"""How the calls in JSON are read and answered: those of people, of rigs, and the one that is for everybody."""

from typing import Final, TypeVar

import msgspec
from starlette.responses import Response

from birthmark.ca.admin.types import Refusal
from birthmark.ca.demands import MALFORMED
from birthmark.ca.errors import CAError, NotNow, Refused
from birthmark.core import strict_json
from birthmark.core.errors import BirthmarkError, DecodeError, StoreError
from birthmark.net.errors import BodyRefused

MEDIA_TYPE: Final = "application/json"
STORE_RETRY_S: Final = 2

_T = TypeVar("_T", bound=msgspec.Struct)


def json_body(content_type: str, body: bytes, form: type[_T]) -> _T:
    """Return the body, of the type that the call wants. Refused: ca.admin.media-type, ca.admin.body."""
    if content_type.split(";", maxsplit=1)[0].strip().lower() != MEDIA_TYPE:
        raise Refused(415, "ca.admin.media-type", f"the body is sent as {MEDIA_TYPE}")
    try:
        return strict_json.decode(body, form)
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.admin.body", f"the body is not what this call wants: {error}") from error


def explained(error: BirthmarkError) -> BirthmarkError:
    """Return what the client is told. Why the ledger fails is for the log alone."""
    if not isinstance(error, StoreError):
        return error
    told = NotNow("ca.store", "the ledger cannot be written or read now", retry_after_s=STORE_RETRY_S)
    told.__cause__ = error
    return told


def refused(error: BirthmarkError) -> Response:
    """Return the answer that says no, and why."""
    status = error.status if isinstance(error, CAError | BodyRefused) else 500
    refusal = Refusal(finding=error.finding, message=error.message, hint=error.hint)
    return told(status, refusal, error.retry_after_s if isinstance(error, CAError) else 0)


def told(status: int, what: msgspec.Struct, retry_after_s: int = 0) -> Response:
    """Return an answer in JSON, which no cache keeps."""
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": str(retry_after_s)} if retry_after_s else {})
    return Response(msgspec.json.encode(what), status, headers, MEDIA_TYPE)
