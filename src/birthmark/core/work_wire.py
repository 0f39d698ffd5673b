# SPDX-License-Identifier: Apache-2.0
"""
What the rigs know of their units, as it goes between a rig and a CA that keeps it: JSON, read strictly.

A change is made against a version. The rig reads the record, applies what it wants to it, and sends the record as it
is to become, with the version that it saw and the moment that it was given. When somebody else was faster, or the
moment is too old, nothing is changed and the answer has what it takes for the next try.
"""

from datetime import datetime
from typing import Annotated, Final

import msgspec

from birthmark.core.ids import fingerprint
from birthmark.core.work import Holder, UnitChange, UnitWork, WorkState

UNITS_MAX: Final = 64
"""Units that are asked for at a time: the largest panel."""
CHANGES_MAX: Final = 500
"""Changes of a history that are asked for at a time."""
COUNT_MAX: Final = 1_000_000
REASON_MAX: Final = 1_024
NAME_MAX: Final = 128

_UNIT: Final = r"[A-Z0-9][A-Z0-9-]{2,31}"
UnitSerial = Annotated[str, msgspec.Meta(pattern=rf"\A{_UNIT}\Z")]
UnitSerials = Annotated[str, msgspec.Meta(pattern=rf"\A{_UNIT}(?:,{_UNIT}){{0,{UNITS_MAX - 1}}}\Z")]
ChipSerial = Annotated[str, msgspec.Meta(pattern=r"\A[0-9A-Za-z:-]{0,64}\Z")]
KeyDigest = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")]
Version = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]*\Z", max_length=NAME_MAX)]
_Reason = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00]*\Z", max_length=REASON_MAX)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)]
Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]


class WorkRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of one unit (`core.work.UnitWork`). Moments have microseconds."""

    unit: UnitSerial
    state: WorkState
    rig: Name
    run: Name
    lease_until: Moment
    changed_at: Moment
    finding: Name
    chip_serial: ChipSerial
    key_sha256: KeyDigest
    failures: _Count
    faults: _Count
    interruptions: _Count
    reworks: _Count
    tries: _Count
    passes: _Count
    by: Name
    reason: _Reason


class WorkList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Records, and the moment of the store at which they were read."""

    at: Moment
    units: Annotated[tuple[WorkRecord, ...], msgspec.Meta(max_length=UNITS_MAX)]


class NewWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a record shall become: of which version it was made, and with which moment."""

    version: Version
    at: Moment
    work: WorkRecord


class WorkAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whether the record was changed; the record as it stands now; and the moment of the store."""

    changed: bool
    at: Moment
    work: WorkRecord


class SharingList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Units that were seen with a chip or a key; of those of foreign orders not who decided on them, nor why."""

    units: tuple[WorkRecord, ...]


class NumberedWork(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One change: its number, and what the unit became."""

    number: Number
    work: WorkRecord


class WorkHistory(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Changes in their order; `next` is the number after which to go on, none at the end."""

    changes: Annotated[tuple[NumberedWork, ...], msgspec.Meta(max_length=CHANGES_MAX)]
    next: Number | None


def record_of(work: UnitWork) -> WorkRecord:
    """Return a record as it goes over the wire."""
    return WorkRecord(
        unit=work.unit,
        state=work.state,
        rig=work.holder.rig,
        run=work.holder.run,
        lease_until=work.lease_until,
        changed_at=work.changed_at,
        finding=work.finding,
        chip_serial=work.chip_serial,
        key_sha256=work.key_sha256,
        failures=work.failures,
        faults=work.faults,
        interruptions=work.interruptions,
        reworks=work.reworks,
        tries=work.tries,
        passes=work.passes,
        by=work.by,
        reason=work.reason,
    )


def work_of(record: WorkRecord) -> UnitWork:
    """Return a record as the line has it."""
    return UnitWork(
        unit=record.unit,
        state=record.state,
        holder=Holder(record.rig, record.run),
        lease_until=record.lease_until,
        changed_at=record.changed_at,
        finding=record.finding,
        chip_serial=record.chip_serial,
        key_sha256=record.key_sha256,
        failures=record.failures,
        faults=record.faults,
        interruptions=record.interruptions,
        reworks=record.reworks,
        tries=record.tries,
        passes=record.passes,
        by=record.by,
        reason=record.reason,
    )


def change_of(numbered: NumberedWork) -> UnitChange:
    """Return a change as the line has it."""
    return UnitChange(numbered.number, work_of(numbered.work))


def version_of(work: UnitWork) -> str:
    """
    Return what names a record as it stands: the SHA-256 of its canonical JSON, in lower-case hexadecimal.

    Two records with one version are equal, so that what was made of the one is right for the other.
    """
    return fingerprint(msgspec.json.encode(record_of(work)))
