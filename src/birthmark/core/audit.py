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
FIRMWARE_MAX = 128
"""Characters of what a chip says of its firmware: the chip chooses them, and the log must be able to hold them."""
POLICY_ACT = "policy.in-force"
TRUST_ACT = "trust.in-force"
CONFIGURATION_ACT = "configuration.changed"
BELIEVED_ACTS = (POLICY_ACT, TRUST_ACT, CONFIGURATION_ACT)
"""What was in force from then on: each is a thread of its own."""

_LEAF = b"\x00"

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Grounds(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    On what a certificate was issued: what the appraisal of its evidence found, under which policy, and by which CA.

    Digests are SHA-256 in lower-case hexadecimal: `issuer` of the issuing CA's certificate, `policy` as
    `Endorsements.digest`, `document` of the order's signed document ("" for a renewal: the order was for the birth),
    `ak` of the attestation key, `evidence` of the bundle, `result_key` of the key that signed the attestation result
    ("" where the certificate carries the evidence itself).
    """

    issuer: str
    policy: str
    profile: str
    maker: str
    model: str
    firmware: str
    statement: str
    """Type of the chip's statement, an object identifier with dots."""
    ak: str
    evidence: str
    document: str = ""
    result_key: str = ""


class AuditRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    One decision: who asked for what, about which unit, and the finding ("" when it was granted).

    `about` is the SHA-256 of what the act is about: certificate, birth record, order document, policy.
    `grounds` are there where a certificate was issued. `previous` is the link to the entry before this one of the same
    thread; "" for the first one of a thread, and for what belongs to none. The ledger sets it.

    What the tables must say from then on: `state` has the digests of the rows that the act wrote (`core.ledger_rows`);
    `dies` and `ending` say when and why the certificate counts as revoked (of one that is issued: when nobody confirms
    it); `nonce` is the SHA-256 of the nonce that it consumed. `configuration` is the number of the entry of the
    configuration that a certificate was signed by.
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
    grounds: Grounds | None = None
    dies: _Moment | None = None
    ending: str = ""
    nonce: str = ""
    configuration: int | None = None
    state: dict[str, str] = {}
    previous: str = ""

    @property
    def thread(self) -> str:
        """
        The thread of entries that it is linked to, "" where it belongs to none.

        That of its unit; of its order, where it is about no unit and was granted; of the policies, the trust anchors,
        or the configurations, that were in force.
        """
        if self.unit_serial:
            return unit_thread(self.unit_serial)
        if self.act in BELIEVED_ACTS:
            return self.act
        return order_thread(self.order) if self.order and not self.finding else ""


def unit_thread(unit_serial: str) -> str:
    """Return the name of the thread of a unit."""
    return f"unit:{unit_serial}"


def order_thread(order: str) -> str:
    """Return the name of the thread of what was decided about an order itself."""
    return f"order:{order}"


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
    moments = (row.at,) if row.dies is None else (row.at, row.dies)
    if any(each.utcoffset() != UTC.utcoffset(None) for each in moments) or encode_row(row) != data:
        raise DecodeError("an audit row that is not in its one form", finding="audit.row")
    return row


def link(number: int, entry: bytes) -> str:
    """Return what the unit's next entry says of this one: its number, and its leaf hash in the log (RFC 6962 §2.1)."""
    return f"{number}:{hashlib.sha256(_LEAF + entry).hexdigest()}"


def linked(rows: Sequence[AuditRow], first: int, last_by_thread: Mapping[str, str]) -> list[bytes]:
    """
    Return the bytes of rows that get the numbers from `first` on.

    Each one is linked to the one before it of its thread; `last_by_thread` has the links to those that are in the log.
    Raises DecodeError for a row that is too long.
    """
    last, entries = dict(last_by_thread), []
    for number, row in enumerate(rows, first):
        thread = row.thread
        entry = encode_row(msgspec.structs.replace(row, previous=last.get(thread, "") if thread else ""))
        last[thread] = link(number, entry)
        entries.append(entry)
    return entries
