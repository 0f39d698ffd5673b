# SPDX-License-Identifier: Apache-2.0
"""The numbers of a period as JSON and as CSV (docs/reference/yields.md): the same for the command and for the page."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from birthmark.core.attempts import Attempt
from birthmark.line.journal import Step
from birthmark.line.yield_office import Numbers
from birthmark.line.yields import COLUMNS, FEW, Bar, By, Group, Trouble, Yields

DIGITS: Final = 6
"""Of shares and seconds."""
ATTEMPT_COLUMNS: Final = (
    *("ended_at", "began_at", "unit", "nth", "outcome", "verdict", "finding", "step", "rig", "fixture", "position"),
    *("operator", "order", "product", "site", "line", "station", "run", "board_s", "faults"),
    *(f"{step.value}_ms" for step in Step),
)


def numbers_members(numbers: Numbers) -> dict[str, Any]:
    """Return all numbers of a period."""
    return {
        "since": _moment(numbers.period.since),
        "until": _moment(numbers.period.until),
        "rig": numbers.rig,
        "yields": yields_members(numbers.whole),
        "by": {by.value: [group_members(group, by) for group in groups] for by, groups in numbers.groups.items()},
        "pareto": {by.value: [bar_members(bar, by) for bar in bars] for by, bars in numbers.bars.items()},
    }


def yields_members(those: Yields) -> dict[str, Any]:
    """Return the three yields, and the numbers that they are made of."""
    return {
        "first_pass": _share(those.first_pass),
        "final": _share(those.final),
        "throughput": _share(those.throughput),
        "units": those.units,
        "first_passed": those.first_passed,
        "good": those.good,
        "attempts": those.attempts,
        "passed": those.passed,
        "untried": those.untried,
        "repeated": those.repeated,
        "faults": those.faults,
    }


def group_members(group: Group, by: By) -> dict[str, Any]:
    """Return one row of a comparison."""
    names = dict(zip(COLUMNS[by], group.key, strict=True))
    few = group.yields.units < FEW
    return {**names, **yields_members(group.yields), "few": few, "stands_out": group.stands_out}


def bar_members(bar: Bar, by: Trouble) -> dict[str, Any]:
    """Return one row of a Pareto."""
    shares = {"share": _share(bar.share), "cumulative": _share(bar.cumulative)}
    return {by.value: bar.name, "attempts": bar.attempts, "untried": bar.untried, **shares}


def rows_of(numbers: Numbers, by: By | Trouble) -> list[dict[str, Any]]:
    """Return a comparison or a Pareto as rows with the same names."""
    if isinstance(by, By):
        return [group_members(group, by) for group in numbers.groups[by]]
    return [bar_members(bar, by) for bar in numbers.bars[by]]


def columns_of(by: By | Trouble) -> tuple[str, ...]:
    """Return the names of the columns that `rows_of` gives."""
    if isinstance(by, By):
        return tuple(group_members(Group(COLUMNS[by], Yields()), by))
    return tuple(bar_members(Bar("", 0, 0, 0.0, 0.0), by))


def attempt_members(attempt: Attempt) -> dict[str, Any]:
    """Return one attempt under ATTEMPT_COLUMNS; a step that it did not come to is None."""
    moments = {"ended_at": _moment(attempt.ended_at), "began_at": _moment(attempt.began_at)}
    steps = {f"{step.value}_ms": attempt.step_ms.get(step.value) for step in Step}
    known = {**moments, **steps, "board_s": round(attempt.board_s, DIGITS)}
    return {name: known[name] if name in known else getattr(attempt, name) for name in ATTEMPT_COLUMNS}


def csv_lines(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Return a CSV (RFC 4180) line by line, the names first; what is None is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\r\n")
    writer.writeheader()
    yield _taken(buffer)
    for row in rows:
        writer.writerow(row)
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")


def _share(share: float | None) -> float | None:
    return None if share is None else round(share, DIGITS)
