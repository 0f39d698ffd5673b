# SPDX-License-Identifier: Apache-2.0
"""
One decision of the issuing authority, and the bytes that stand for it in the transparency log.

The bytes are compact JSON with sorted keys and without what is empty: the same decision always gives the same bytes,
and only they are accepted. docs/reference/ledger-format.md describes every key.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from birthmark.core.errors import DecodeError

AUDIT_MAX_BYTES = 16_384
"""Less than the 65,535 bytes that an entry of the log may have."""
DETAIL_MAX = 2_000

_LEAF = b"\x00"

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One decision: who asked for what, about which unit, and the finding ("" when it was granted).

    `about` is the SHA-256 of what the act is about: certificate, birth record, order document, policy.
    `previous` is the link to the entry about the same unit before this one; "" for the first one about a unit, and for
    what is about no unit. The ledger sets it.
    """

    at: _Moment
    who: str
    act: str
    fingerprint: str = ""
    order: str = ""
    unit_serial: str = ""
    chip_serial: str = ""
    certificate: str = ""
    about: str = ""
    finding: str = ""
    detail: str = ""
    previous: str = ""


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(AuditRow)


def encode_row(row: AuditRow) -> bytes:
    """Return the bytes of a decision. Raises DecodeError for one that is too long."""
    data = _ENCODER.encode(msgspec.structs.replace(row, detail=row.detail[:DETAIL_MAX]))
    if len(data) > AUDIT_MAX_BYTES:
        raise DecodeError(f"an audit row of {len(data)} bytes", hint=f"at most {AUDIT_MAX_BYTES}", finding="audit.row")
    return data


def decode_row(data: bytes) -> AuditRow:
    """Return the decision that the bytes stand for. Raises DecodeError for all other bytes."""
    try:
        row = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DecodeError(f"not an audit row: {error}", finding="audit.row") from error
    if row.at.utcoffset() != UTC.utcoffset(None) or encode_row(row) != data:
        raise DecodeError("an audit row that is not in its one form", finding="audit.row")
    return row


def link(number: int, entry: bytes) -> str:
    """Return what the unit's next entry says of this one: its number, and its leaf hash in the log (RFC 6962 §2.1)."""
    return f"{number}:{hashlib.sha256(_LEAF + entry).hexdigest()}"


def linked(rows: Sequence[AuditRow], first: int, last_by_unit: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """
    Return the units and bytes of rows that get the numbers from `first` on.

    Each one about a unit is linked to the one before it; `last_by_unit` has the links to those that are in the log.
    Raises DecodeError for a row that is too long.
    """
    last, entries = dict(last_by_unit), []
    for number, row in enumerate(rows, first):
        unit = row.unit_serial
        entry = encode_row(msgspec.structs.replace(row, previous=last.get(unit, "") if unit else ""))
        last[unit] = link(number, entry)
        entries.append((unit, entry))
    return entries
