# SPDX-License-Identifier: Apache-2.0
"""
Which trust anchors a device names as its own (docs/reference/formats.md, "Anchors"): it, and nobody else, can say so.

A root is named by the SHA-256 of its DER, in lower-case hexadecimal.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

import msgspec

from birthmark.core.errors import DecodeError

ANCHORS_PATH: Final = "/v1/anchors"
ANCHORS_MEDIA_TYPE: Final = "application/json"
ANCHORS_MAX: Final = 16
ANCHORS_MAX_BYTES: Final = 2_048

Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class AnchorsNamed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device sends: each of its anchors, once."""

    anchors: Annotated[tuple[Digest, ...], msgspec.Meta(min_length=1, max_length=ANCHORS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorsContact:
    """What a unit said of its anchors, with which certificate (its serial), and when."""

    unit_serial: str
    certificate: str
    anchors: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitAnchors:
    """
    A unit that is not retired: the certificate that it uses, by serial, that one's issuer, and what the unit said last.

    `certificate` is "" when none of its certificates lives. One that is held counts as living: it may come back.
    """

    unit_serial: str
    certificate: str
    issuer: str
    contact: AnchorsContact | None


def encode_anchors(digests: frozenset[str]) -> bytes:
    """Return the body that names these anchors. Raises DecodeError (ca.anchors.malformed) when none or too many."""
    if not 1 <= len(digests) <= ANCHORS_MAX:
        raise DecodeError(f"{len(digests)} anchors; 1 to {ANCHORS_MAX} are named", finding="ca.anchors.malformed")
    return msgspec.json.encode(AnchorsNamed(tuple(sorted(digests))))


def decode_anchors(body: bytes) -> frozenset[str]:
    """Return the anchors that a body names. Raises DecodeError (ca.anchors.malformed)."""
    try:
        named = msgspec.json.decode(body, type=AnchorsNamed).anchors
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(f"no list of anchors: {error}", finding="ca.anchors.malformed") from error
    if len(set(named)) != len(named):
        raise DecodeError("an anchor is named twice", finding="ca.anchors.malformed")
    return frozenset(named)
