# SPDX-License-Identifier: Apache-2.0
"""
The revocation feed: what the issuing authority says, in order, about the ends of certificates, and who follows it.

A page is the compact JSON of all changes after a number, in their one form:

    {"after":41,"changes":[{"at":"2026-11-23T09:30:00Z","ending":"revoked","number":42,"serial":"5c0f…"}],"head":42}

Changes are numbered from 1 without a gap, in the order in which they were committed: a follower that has seen number n
knows all that was revoked up to n, and notices at once when something was left out. `head` is the number of the last
change that there is; more than the page holds, when the page was full.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from birthmark.core.errors import DecodeError

PAGE_MAX_CHANGES: Final = 5_000
PAGE_MAX_BYTES: Final = 1 << 20
"""5,000 changes have at most 150 bytes each."""
WAIT_MAX_S: Final = 30
"""The longest time for which a page without changes is held back."""
RELEASED: Final = "released"
"""The ending that is none: the certificate counts again, from the next revocation list on."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Serial = Annotated[str, msgspec.Meta(pattern=r"\A[1-9a-f][0-9a-f]{0,39}\Z")]
_Ending = Annotated[str, msgspec.Meta(pattern=r"\A[a-z-]{1,32}\Z")]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class RevocationChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One change. A later change to the same serial replaces it.

    `at` is when the certificate begins to count as revoked, which may lie ahead.
    `ending` says why, in the authority's words; a follower acts on RELEASED alone and takes every other for the end.
    """

    number: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
    serial: _Serial
    ending: _Ending
    at: _Moment


class RevocationPage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All changes after a number, as many as a page holds. `head` below `after`: the authority has lost changes."""

    after: _Count
    head: _Count
    changes: Annotated[tuple[RevocationChange, ...], msgspec.Meta(max_length=PAGE_MAX_CHANGES)]


@dataclass(frozen=True, slots=True)
class SignedStatus:
    """
    A revocation list or an OCSP response (DER) as it is kept, to be handed out by every worker.

    `digest` stands for what it says, `number` grows from one to the next under one name, and from `refresh_at` on it
    is signed anew although it would say the same.
    """

    digest: bytes
    number: int
    this_update: datetime
    next_update: datetime
    refresh_at: datetime
    body: bytes


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(RevocationPage)


def encode_page(page: RevocationPage) -> bytes:
    """Return the bytes of a page. Raises DecodeError for one whose numbers do not follow each other."""
    _check_order(page)
    return _ENCODER.encode(page)


def decode_page(data: bytes, after: int) -> RevocationPage:
    """
    Return the page that was asked for.

    Raises:
        DecodeError: `feed.page`: another page, a gap in the numbers, or bytes that are not its one form.

    """
    if len(data) > PAGE_MAX_BYTES:
        raise _refused(f"{len(data)} bytes; at most {PAGE_MAX_BYTES} make a page")
    try:
        page = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refused(f"not a page: {error}") from error
    if page.after != after:
        raise _refused(f"the page after {page.after} instead of {after}")
    _check_order(page)
    if any(change.at.utcoffset() != UTC.utcoffset(None) for change in page.changes) or _ENCODER.encode(page) != data:
        raise _refused("a page that is not in its one form")
    return page


def _check_order(page: RevocationPage) -> None:
    numbers = [change.number for change in page.changes]
    if numbers != list(range(page.after + 1, page.after + 1 + len(numbers))):
        raise _refused(f"the changes after {page.after} are not numbered one by one")
    last = page.after + len(numbers)
    if numbers and page.head < last:
        raise _refused(f"change {last} lies behind the head {page.head}")
    if not numbers and page.head > page.after:
        raise _refused(f"no change after {page.after}, but a head of {page.head}")


def _refused(message: str) -> DecodeError:
    return DecodeError(f"the revocation feed: {message}", finding="feed.page")
