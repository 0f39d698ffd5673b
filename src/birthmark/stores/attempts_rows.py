# SPDX-License-Identifier: Apache-2.0
"""
The attempts at a line's units as rows: the schema and the statements that SQLite and PostgreSQL share.

`unit_attempt` has a row for each verdict on a board. `attempt_tally` has what they come to by the hour, written in the
same transaction: numbers of a month are read from thousands of rows, not from hundreds of thousands. What a period
has at its ends beside whole hours is counted from the rows themselves. The statements use `?`; psycopg gets `%s`.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from birthmark.core.attempts import Attempt, Cell, Grain, KeepUnits, Outcome, Period
from birthmark.stores.units_rows import moment, us

HOUR_US: Final = 3_600_000_000
PRUNED_AT_ONCE: Final = 5_000
"""Rows of each kind that one call of `prune` takes away at most."""
_ATTEMPT: Final = """
    unit text not null,
    rig text not null,
    run text not null,
    position bigint not null,
    operator text not null,
    product text not null,
    ordered text not null,
    verdict text not null,
    site text not null,
    line text not null,
    station text not null,
    fixture text not null,
    finding text not null,
    step text not null,
    board_us bigint not null,
    step_ms text not null,
    faults bigint not null,
    outcome text not null,
    nth bigint not null,
    ended_at_us bigint not null"""
_NAMES: Final = ", ".join(line.split()[0] for line in _ATTEMPT.strip().splitlines())
_MARKS: Final = ", ".join("?" for _ in _NAMES.split())
_KEY: Final = "hour_us, rig, position, operator, fixture, ordered, step, finding, outcome, first"
_UNFINISHED: Final = "tries > 0 and (passes = 0 or state in ('failed', 'spent', 'quarantined'))"

SCHEMA: Final = (
    f"create table unit_attempt (\n    number {{number}},{_ATTEMPT},\n    unique (rig, run, position)\n)",
    f"""create table attempt_tally (
    hour_us bigint not null,
    rig text not null,
    position bigint not null,
    operator text not null,
    fixture text not null,
    ordered text not null,
    step text not null,
    finding text not null,
    outcome text not null,
    first bigint not null,
    attempts bigint not null,
    faults bigint not null,
    primary key ({_KEY})
)""",
    "create index unit_attempt_ended on unit_attempt (ended_at_us)",
    "create index unit_attempt_rig on unit_attempt (rig, number)",
    "create index unit_attempt_first on unit_attempt (unit) where nth = 1",
    f"create index unit_work_unfinished on unit_work (unit) where {_UNFINISHED}",
)
"""Beside the tables of `units_rows`. `{number}` is the store's kind of key."""

_SELECT: Final = f"select number, {_NAMES} from unit_attempt"  # noqa: S608 constant text
_WITHIN: Final = "ended_at_us >= ? and ended_at_us < ?"
# What an attempt is tallied under: a success has no step and no finding, so that all of an hour's are one row.
_CELL: Final = f"""
    ended_at_us / {HOUR_US} * {HOUR_US} as hour_us, rig, position, operator, fixture, ordered,
    case when outcome in ('failed', 'untried') then step else '' end as step,
    case when outcome in ('failed', 'untried') then finding else '' end as finding,
    outcome, case when nth = 1 then 1 else 0 end as first"""
INSERT: Final = f"insert into unit_attempt ({_NAMES}) values ({_MARKS}) on conflict do nothing"  # noqa: S608 constant text
COUNT: Final = (
    f"insert into attempt_tally ({_KEY}, attempts, faults) select {_CELL}, 1, faults from unit_attempt"  # noqa: S608 constant text
    " where rig = ? and run = ? and position = ?"
    f" on conflict ({_KEY}) do update set attempts = attempt_tally.attempts + 1,"
    " faults = attempt_tally.faults + excluded.faults"
)
FIND: Final = f"{_SELECT} where rig = ? and run = ? and position = ?"
# What cells are made of: hours as they were tallied, and the attempts at the ends of a period.
_COUNTED: Final = f"""
    select {_KEY}, attempts, faults from attempt_tally where hour_us >= ? and hour_us < ?
    union all select {_CELL}, 1, faults from unit_attempt where {_WITHIN}
    union all select {_CELL}, 1, faults from unit_attempt where {_WITHIN}"""  # noqa: S608 constant text
_FIRST: Final = f"""
    select {_CELL}, 1 as attempts, faults from unit_attempt
    where nth = 1 and {_WITHIN} and unit in (select unit from unit_work where {_UNFINISHED})"""  # noqa: S608 constant text
_SPANS: Final = "(hour_us - ?) / ? * ? + ?, rig, 0, '', '', ordered, '', '', outcome, first"
_GROUPS: Final = ", ".join(str(number) for number in range(1, len(_KEY.split()) + 1))
PASSED: Final = "select coalesce(sum(attempts), 0) from attempt_tally where ordered = ? and outcome = 'passed'"
LAST: Final = f"{_SELECT} where rig = ? order by number desc limit ?"
PAGE: Final = f"{_SELECT} where {_WITHIN} and (ended_at_us, number) > (?, ?) order by ended_at_us, number limit ?"

PRUNE_UNITS: Final = (
    "delete from unit_work where state = 'done' and changed_at_us < ? and unit in (select unit from unit_work"  # noqa: S608 constant text
    f" where state = 'done' and changed_at_us < ? order by changed_at_us limit {PRUNED_AT_ONCE}) returning unit"
)
"""Both are the same moment: a rig may have taken a unit while the deletion waited for it."""
PRUNE_CHANGES: Final = "delete from unit_change where unit = ?"
PRUNE_ATTEMPTS: Final = (
    "delete from unit_attempt where number in (select number from unit_attempt where ended_at_us < ?"  # noqa: S608 constant text
    f" order by ended_at_us limit {PRUNED_AT_ONCE})"
)
PRUNE_TALLY: Final = "delete from attempt_tally where hour_us < ?"
"""Hours of which no part is kept any more; the key of the tally begins with the hour."""

# Runs a query with its arguments and returns all rows.
Read = Callable[..., Sequence[tuple[Any, ...]]]


def row_of(attempt: Attempt) -> tuple[str | int, ...]:
    """Return an attempt as the values of INSERT."""
    return (
        attempt.unit,
        attempt.rig,
        attempt.run,
        attempt.position,
        attempt.operator,
        attempt.product,
        attempt.order,
        attempt.verdict,
        attempt.site,
        attempt.line,
        attempt.station,
        attempt.fixture,
        attempt.finding,
        attempt.step,
        round(attempt.board_s * 1_000_000),
        json.dumps(dict(attempt.step_ms), separators=(",", ":")),
        attempt.faults,
        attempt.outcome.value,
        attempt.nth,
        us(attempt.ended_at),
    )


def key_of(attempt: Attempt) -> tuple[str, str, int]:
    """Return what no two attempts share: a run has each of its positions once."""
    return attempt.rig, attempt.run, attempt.position


def attempt_of(row: tuple[Any, ...]) -> Attempt:
    """Return the attempt of a row of FIND, LAST or PAGE."""
    number, *names, board_us, step_ms, faults, outcome, nth, ended_us = row
    unit, rig, run, position, operator, product, order, verdict, site, line, station, fixture, finding, step = names
    return Attempt(
        unit=unit,
        rig=rig,
        run=run,
        position=position,
        operator=operator,
        product=product,
        order=order,
        verdict=verdict,
        site=site,
        line=line,
        station=station,
        fixture=fixture,
        finding=finding,
        step=step,
        board_s=board_us / 1_000_000,
        step_ms=json.loads(step_ms),
        faults=faults,
        outcome=Outcome(outcome),
        nth=nth,
        ended_at=moment(ended_us),
        number=number,
    )


def cells(read: Read, period: Period, grain: Grain) -> tuple[Cell, ...]:
    """Return what a period came to: whole hours from the tally, what is left at its ends from the attempts."""
    since, until = us(period.since), us(period.until)
    first, last = -(-since // HOUR_US) * HOUR_US, until // HOUR_US * HOUR_US
    ranges = (first, last, since, first, last, until) if first < last else (0, 0, since, until, 0, 0)
    return _cells(read, _COUNTED, ranges, since, grain)


def unfinished(read: Read, period: Period, grain: Grain) -> tuple[Cell, ...]:
    """Return the first attempts of a period whose units are not good now."""
    since, until = us(period.since), us(period.until)
    return _cells(read, _FIRST, (since, until), since, grain)


def _cells(read: Read, source: str, ranges: Sequence[int], since_us: int, grain: Grain) -> tuple[Cell, ...]:
    places = grain is Grain.PLACES
    columns = f"0, {_KEY.removeprefix('hour_us, ')}" if places else _SPANS
    begin_us, span_us = since_us // HOUR_US * HOUR_US, grain * HOUR_US
    spans = () if places else (begin_us, span_us, span_us, begin_us)
    query = f"select {columns}, sum(attempts), sum(faults) from ({source}) as told group by {_GROUPS}"  # noqa: S608 constant text
    return tuple(map(_cell_of, read(query, *spans, *ranges)))


def page(read: Read, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
    """Return at most so many attempts of a period in the order of their ends, behind `after`."""
    behind = (us(after.ended_at), after.number) if after else (-1, 0)
    return tuple(map(attempt_of, read(PAGE, us(period.since), us(period.until), *behind, limit)))


def whole_hours_before(keep: KeepUnits) -> int:
    """Return before which hour nothing is kept, as the argument of PRUNE_TALLY."""
    return us(keep.attempts_since) // HOUR_US * HOUR_US


def _cell_of(row: tuple[Any, ...]) -> Cell:
    hour_us, rig, position, operator, fixture, order, step, finding, outcome, first, attempts, faults = row
    return Cell(
        hour=moment(hour_us),
        rig=rig,
        position=position,
        operator=operator,
        fixture=fixture,
        order=order,
        step=step,
        finding=finding,
        outcome=Outcome(outcome),
        first=bool(first),
        attempts=int(attempts),  # PostgreSQL adds up to its decimal type
        faults=int(faults),
    )
