# SPDX-License-Identifier: Apache-2.0
"""
The yields of a period, compared by rig, place, operator, fixture and hour, and what failed most. Pure.

| yield | is | of |
|---|---|---|
| first-pass | units whose first attempt passed | units whose first attempt ended in the period |
| final | units that are good now, whatever it took | the same units |
| throughput | attempts that passed | attempts that passed or failed in the period |

Attempts that were untried or repeated (`core.attempts.Outcome`) are in none of them. What each comparison shows of the
first-pass and the final yield belongs to where the unit was *first* tried. docs/reference/yields.md has the sources.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from typing import Final

from birthmark.core.attempts import Cell, Outcome

FEW: Final = 30
"""Below so many units a share says little: it is marked where it is shown."""
_Z: Final = 1.96
"""Of a 95 % interval."""
_TROUBLE: Final = frozenset({Outcome.FAILED, Outcome.UNTRIED})


class By(StrEnum):
    """What yields are compared by."""

    RIG = "rig"
    POSITION = "position"
    OPERATOR = "operator"
    FIXTURE = "fixture"
    HOUR = "hour"
    ORDER = "order"


class Trouble(StrEnum):
    """What failures are counted by."""

    STEP = "step"
    FINDING = "finding"


COLUMNS: Final[Mapping[By, tuple[str, ...]]] = {
    By.RIG: ("rig",),
    # A place is one of a fixture at a rig: the same number elsewhere is another pair of contacts.
    By.POSITION: ("rig", "fixture", "position"),
    By.OPERATOR: ("operator",),
    By.FIXTURE: ("fixture",),
    By.HOUR: ("hour",),
    By.ORDER: ("order",),
}
"""What names a group, in the order of its `key`."""
_NAMES: Final[Mapping[By, Callable[[Cell], tuple[str, ...]]]] = {
    By.RIG: lambda cell: (cell.rig,),
    By.POSITION: lambda cell: (cell.rig, cell.fixture, str(cell.position)),
    By.OPERATOR: lambda cell: (cell.operator,),
    By.FIXTURE: lambda cell: (cell.fixture,),
    By.HOUR: lambda cell: (cell.hour.isoformat(timespec="minutes"),),
    By.ORDER: lambda cell: (cell.order,),
}


@dataclass(frozen=True, slots=True)
class Yields:
    """
    The numbers that the three yields are made of, and those that are in none of them.

    `units` had their first attempt in the period, `first_passed` passed in it, `good` are good now. `passed` of
    `attempts` are attempts. `faults` of communication were retried within attempts.
    """

    units: int = 0
    first_passed: int = 0
    good: int = 0
    attempts: int = 0
    passed: int = 0
    untried: int = 0
    repeated: int = 0
    faults: int = 0

    @property
    def first_pass(self) -> float | None:
        """Return the first-pass yield, 0 to 1; None without a unit."""
        return _share(self.first_passed, self.units)

    @property
    def final(self) -> float | None:
        """Return the final yield, 0 to 1; None without a unit."""
        return _share(self.good, self.units)

    @property
    def throughput(self) -> float | None:
        """Return the throughput yield, 0 to 1; None without an attempt."""
        return _share(self.passed, self.attempts)


@dataclass(frozen=True, slots=True)
class Group:
    """
    The yields of one rig, place, operator, fixture or hour.

    `stands_out`: its first-pass yield is worse than that of all others together, by more than chance explains
    (their 95 % intervals, Wilson's, do not touch).
    """

    key: tuple[str, ...]
    yields: Yields
    stands_out: bool = False


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a Pareto: attempts that ended alike, their share, and the share of all bars up to this one."""

    name: str
    attempts: int
    untried: int
    share: float
    cumulative: float


def yields(cells: Iterable[Cell], unfinished: Iterable[Cell]) -> Yields:
    """Return the yields of a period's cells; `unfinished` are the first attempts of units that are not good now."""
    counts: Counter[str] = Counter()
    for cell in cells:
        counts["faults"] += cell.faults
        counts[cell.outcome] += cell.attempts
        if cell.first:
            counts["units"] += cell.attempts
            counts["first_passed"] += cell.attempts * (cell.outcome is Outcome.PASSED)
    return Yields(
        units=counts["units"],
        first_passed=counts["first_passed"],
        good=counts["units"] - sum(cell.attempts for cell in unfinished),
        attempts=counts[Outcome.PASSED] + counts[Outcome.FAILED],
        passed=counts[Outcome.PASSED],
        untried=counts[Outcome.UNTRIED],
        repeated=counts[Outcome.REPEATED],
        faults=counts["faults"],
    )


def compared(cells: Sequence[Cell], unfinished: Sequence[Cell], by: By) -> tuple[Group, ...]:
    """Return the groups of a period in the order of their names; hours in their order, positions by number."""
    grouped, left = _grouped(cells, by), _grouped(unfinished, by)
    each = {key: yields(those, left[key]) for key, those in grouped.items()}
    units, passed = (sum(getattr(those, name) for those in each.values()) for name in ("units", "first_passed"))
    return tuple(
        Group(key, those, _worse(those, passed - those.first_passed, units - those.units))
        for key, those in sorted(each.items(), key=lambda item: _natural(item[0]))
    )


def pareto(cells: Iterable[Cell], by: Trouble) -> tuple[Bar, ...]:
    """Return what ended attempts without a pass, the most frequent first; untried ones are among them, and counted."""
    attempts: Counter[str] = Counter()
    untried: Counter[str] = Counter()
    for cell in cells:
        if cell.outcome in _TROUBLE:
            name = cell.step if by is Trouble.STEP else cell.finding
            attempts[name] += cell.attempts
            untried[name] += cell.attempts * (cell.outcome is Outcome.UNTRIED)
    whole, so_far, bars = attempts.total(), 0, []
    for name, count in sorted(attempts.items(), key=lambda item: (-item[1], item[0])):
        so_far += count
        bars.append(Bar(name, count, untried[name], count / whole, so_far / whole))
    return tuple(bars)


def interval(passed: int, of: int) -> tuple[float, float]:
    """Return between which shares the true one lies with 95 % (Wilson's score interval); 0 and 1 without a sample."""
    if not of:
        return 0.0, 1.0
    share, z2 = passed / of, _Z * _Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = _Z * sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return middle - half, middle + half


def _worse(those: Yields, others_passed: int, others: int) -> bool:
    return interval(those.first_passed, those.units)[1] < interval(others_passed, others)[0]


def _grouped(cells: Iterable[Cell], by: By) -> Mapping[tuple[str, ...], list[Cell]]:
    groups: defaultdict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        groups[_NAMES[by](cell)].append(cell)
    return groups


def _natural(key: tuple[str, ...]) -> tuple[tuple[int, str], ...]:
    """Return a key by which numbers are sorted as numbers."""
    return tuple((int(part) if part.isdecimal() else 0, part) for part in key)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
