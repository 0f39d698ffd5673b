# SPDX-License-Identifier: Apache-2.0
"""
How fast a station works: times of steps and panels, boards in the last hour, the last boards. No I/O and no clock.

It is of bounded size however long the station runs. What the rig did before the station was switched on is read back
from the attempts in the units' store (`Pace.recall`), but for the times of whole panels, which begin anew.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from math import floor
from typing import Any, Final

from birthmark.core.attempts import Attempt

RECALLED: Final = 15_000
"""Attempts that are read back: more than a rig makes in an hour at four boards a second."""
LAST_BOARDS: Final = 50
SAMPLES: Final = 400
"""Of each step, and of panels: the newest so many make p50 and p95."""
HOUR_S: Final = 3600.0
_SLICES: Final = 60
"""Boards are counted by the minute."""
_PASSED: Final = frozenset({"PASS", "PASS-ALREADY", "RESUMED"})


@dataclass(frozen=True, slots=True)
class Spread:
    """Half of the samples took at most `p50` seconds, 95 of 100 at most `p95`."""

    count: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class Board:
    """A board with its verdict."""

    at: datetime
    position: int
    unit: str
    verdict: str
    finding: str
    board_s: float


@dataclass(frozen=True, slots=True)
class PaceNow:
    """How fast the station is at a moment. `running_s` is how long the panel has been running, None between panels."""

    running_s: float | None
    panel: Spread
    steps: Mapping[str, Spread]
    units_last_hour: int
    last: tuple[Board, ...]


class Pace:
    """Gathers the times of one station. Used under the station's lock."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._panels: deque[float] = deque(maxlen=SAMPLES)
        self._steps: dict[str, deque[float]] = {}
        self._minutes: deque[tuple[int, int]] = deque(maxlen=_SLICES + 1)
        self._last: deque[Board] = deque(maxlen=LAST_BOARDS)

    def began(self, at_s: float) -> None:
        """Note that a panel begins."""
        self._began_s = at_s

    def ended(self) -> None:
        """Note that no panel runs."""
        self._began_s = None

    def heard(self, event: Mapping[str, Any], at: datetime, at_s: float) -> None:
        """Take an event of the run, with the time of day and the stopwatch's seconds."""
        match event["event"]:
            case "step":
                self._steps.setdefault(event["step"], deque(maxlen=SAMPLES)).append(event["ms"] / 1000)
            case "verdict" if event["verdict"] != "SKIP":
                self._last.append(_board(event, at))
                if event["verdict"] in _PASSED:
                    self._count(_minute(at_s))
            case "panel.end":
                self._panels.append(event["panel_s"])

    def recall(self, attempts: Iterable[Attempt], at: datetime, at_s: float) -> None:
        """Take what the rig did before, oldest first; `at` and `at_s` are now."""
        for attempt in attempts:
            self._last.append(
                Board(
                    attempt.ended_at,
                    attempt.position,
                    attempt.unit,
                    attempt.verdict,
                    attempt.finding,
                    attempt.board_s,
                )
            )
            for step, ms in attempt.step_ms.items():
                self._steps.setdefault(step, deque(maxlen=SAMPLES)).append(ms / 1000)
            if attempt.verdict in _PASSED:
                self._count(_minute(at_s - (at - attempt.ended_at).total_seconds()))

    def now(self, at_s: float) -> PaceNow:
        """Return how fast the station is."""
        oldest = _minute(at_s) - _SLICES
        return PaceNow(
            running_s=None if self._began_s is None else at_s - self._began_s,
            panel=spread(self._panels),
            steps={step: spread(times) for step, times in self._steps.items()},
            units_last_hour=sum(count for minute, count in self._minutes if minute > oldest),
            last=tuple(islice(reversed(self._last), LAST_BOARDS)),
        )

    def _count(self, minute: int) -> None:
        if self._minutes and self._minutes[-1][0] == minute:
            self._minutes[-1] = (minute, self._minutes[-1][1] + 1)
        else:
            self._minutes.append((minute, 1))


def _minute(at_s: float) -> int:
    # Downwards also below zero: a moment before the stopwatch began to count.
    return floor(at_s * _SLICES / HOUR_S)


def spread(samples: Iterable[float]) -> Spread:
    """Return p50 and p95 as samples that were measured (nearest rank); zeros when there are none."""
    ordered = sorted(samples)
    if not ordered:
        return Spread(0, 0.0, 0.0)
    return Spread(len(ordered), _rank(ordered, 50), _rank(ordered, 95))


def _rank(ordered: list[float], percent: int) -> float:
    return ordered[-(-len(ordered) * percent // 100) - 1]


def _board(event: Mapping[str, Any], at: datetime) -> Board:
    return Board(at, event["position"], event["unit"], event["verdict"], event["finding"], event["board_s"])
