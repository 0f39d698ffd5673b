# SPDX-License-Identifier: Apache-2.0
"""
The units of a line as rows: the schema and the statements that SQLite and PostgreSQL share.

`unit_work` has the present record of each unit, `unit_change` what it was before, in the order of the changes.
Moments are microseconds since 1970. The statements use `?`; psycopg gets `%s`.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from birthmark.core.work import NEVER, Holder, UnitChange, UnitWork, WorkState

_RECORD: Final = """
    unit text not null,
    state text not null,
    rig text not null,
    run text not null,
    lease_until_us bigint not null,
    changed_at_us bigint not null,
    finding text not null,
    chip_serial text not null,
    key_sha256 text not null,
    failures bigint not null,
    faults bigint not null,
    interruptions bigint not null,
    reworks bigint not null,
    by_whom text not null,
    reason text not null"""
_LATER: Final = ("tries", "passes")
COLUMNS: Final = (*(line.split()[0] for line in _RECORD.strip().splitlines()), *_LATER)
_NAMES: Final = ", ".join(COLUMNS)
_MARKS: Final = ", ".join("?" for _ in COLUMNS)

UNIT_WORK: Final = f"create table unit_work ({_RECORD},\n    primary key (unit)\n)"
UNIT_CHANGE: Final = f"create table unit_change (\n    number {{number}},{_RECORD}\n)"
INDEXES: Final = (
    "create index unit_work_chip on unit_work (chip_serial) where chip_serial <> ''",
    "create index unit_work_key on unit_work (key_sha256) where key_sha256 <> ''",
    "create index unit_change_unit on unit_change (unit)",
)
COUNTED: Final = (
    *(
        f"alter table {table} add column {name} bigint not null default 0"
        for table in ("unit_work", "unit_change")
        for name in _LATER
    ),
    # Of the attempts before there were any rows of them, the record tells only these.
    "update unit_work set tries = failures + 1, passes = 1 where state = 'done'",
    "update unit_work set tries = failures where state <> 'done'",
    "create index unit_work_done on unit_work (changed_at_us) where state = 'done'",
)
"""The second version: what a unit's attempts were counted to."""

SELECT: Final = f"select {_NAMES} from unit_work"  # noqa: S608 constant text
BLANK: Final = f"insert into unit_work ({_NAMES}) values ({_MARKS}) on conflict (unit) do nothing"  # noqa: S608 constant text
_RENEW: Final = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
SAVE: Final = f"insert into unit_work ({_NAMES}) values ({_MARKS}) on conflict (unit) do update set {_RENEW}"  # noqa: S608 constant text
REMEMBER: Final = f"insert into unit_change ({_NAMES}) values ({_MARKS})"  # noqa: S608 constant text
SHARING: Final = (
    f"{SELECT} where chip_serial = ? and chip_serial <> '' union {SELECT} where key_sha256 = ? and key_sha256 <> ''"
    " order by unit"
)
HISTORY: Final = f"select number, {_NAMES} from unit_change where number > ? order by number limit ?"  # noqa: S608 constant text
HISTORY_OF: Final = f"select number, {_NAMES} from unit_change where unit = ? order by number"  # noqa: S608 constant text
_MICROSECOND: Final = timedelta(microseconds=1)


def row_of(work: UnitWork) -> tuple[str | int, ...]:
    """Return a record as the values of COLUMNS."""
    return (
        work.unit,
        work.state.value,
        work.holder.rig,
        work.holder.run,
        us(work.lease_until),
        us(work.changed_at),
        work.finding,
        work.chip_serial,
        work.key_sha256,
        work.failures,
        work.faults,
        work.interruptions,
        work.reworks,
        work.by,
        work.reason,
        work.tries,
        work.passes,
    )


def work_of(row: tuple[Any, ...]) -> UnitWork:
    """Return the record of a row."""
    unit, state, rig, run, lease_us, changed_us, *others = row
    return UnitWork(unit, WorkState(state), Holder(rig, run), moment(lease_us), moment(changed_us), *others)


def change_of(row: tuple[Any, ...]) -> UnitChange:
    """Return the change of a row of HISTORY."""
    return UnitChange(row[0], work_of(row[1:]))


def lease_alone(before: UnitWork, after: UnitWork) -> bool:
    """Say whether nothing but the end of the lease has changed."""
    return replace(before, lease_until=after.lease_until) == after


def us(at: datetime) -> int:
    """Return a moment as microseconds since 1970."""
    return (at - NEVER) // _MICROSECOND


def moment(at_us: int) -> datetime:
    """Return the moment that so many microseconds since 1970 are."""
    return NEVER + at_us * _MICROSECOND
