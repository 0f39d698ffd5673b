# SPDX-License-Identifier: Apache-2.0
"""
A panel as its events tell it: what programs read, of `line run` and of a station alike (docs/reference/fit-in.md).

Pure: no I/O and no clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from birthmark.line.journal import Result
from birthmark.line.outcomes import blames_board
from birthmark.line.ports import Emit, Event

PASSED: Final = frozenset({Result.PASS, Result.PASS_ALREADY, Result.RESUMED})
FAILED: Final = frozenset({Result.FAIL, Result.QUARANTINE})
_MEASURED: Final = ("board_s", "chip_s", "certificate_sha256")


class PanelState(StrEnum):
    """How far a panel is."""

    RUNNING = "running"
    DONE = "done"
    """Every position has its verdict."""
    STOPPED = "stopped"
    """It ended without all verdicts: `finding` and `reason` say why. Run it again: it goes on from where it is."""


@dataclass(frozen=True, slots=True)
class PlaceResult:
    """One position, numbered from 1. `step_ms` has the milliseconds of each step, all tries of it together."""

    position: int
    unit: str = ""
    verdict: str = ""
    finding: str = ""
    reason: str = ""
    board_s: float = 0.0
    chip_s: float = 0.0
    certificate_sha256: str = ""
    step_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the board may go on: it has its identity and a birth record."""
        return self.verdict in PASSED

    @property
    def skipped(self) -> bool:
        """Whether nothing was to be worked on here."""
        return self.verdict == Result.SKIP

    @property
    def to_blame(self) -> bool:
        """Whether the board did not pass, and may itself be why."""
        return self.verdict in FAILED and blames_board(Result(self.verdict), self.finding)


@dataclass(frozen=True, slots=True)
class PanelResult:
    """One panel. `held` is why it waits now, "" when it does not; `outbox` and `parked` count events at its end."""

    places: tuple[PlaceResult, ...] = ()
    state: PanelState = PanelState.RUNNING
    finding: str = ""
    reason: str = ""
    held: str = ""
    panel_s: float = 0.0
    outbox: int = 0
    parked: int = 0

    @property
    def verdict(self) -> str:
        """Return the panel's own verdict: PASS when all went well, else FAIL; "" while it runs."""
        if self.state is PanelState.RUNNING:
            return ""
        return "PASS" if self.state is PanelState.DONE and not self.count(FAILED) else "FAIL"

    def count(self, verdicts: frozenset[Result]) -> int:
        """Return how many positions have one of these verdicts."""
        return sum(place.verdict in verdicts for place in self.places)


def begun(units: Sequence[str]) -> PanelResult:
    """Return a panel that has just begun, with the unit of each position; "" where there is none."""
    return PanelResult(tuple(PlaceResult(number, unit) for number, unit in enumerate(units, 1)))


def heard(panel: PanelResult, event: Mapping[str, Any]) -> PanelResult:
    """Return the panel after an event of its run (docs/reference/line.md, Events); other events change nothing."""
    match event["event"]:
        case "step":
            return _moved(panel, event["position"], step_ms=_summed(panel, event))
        case "verdict":
            told = {name: event[name] for name in ("verdict", "finding", "reason", *_MEASURED)}
            return _moved(panel, event["position"], **told)
        case "hold":
            return replace(panel, held=event["finding"])
        case "resume":
            return replace(panel, held="")
        case "panel.end":
            numbers = {name: event[name] for name in ("panel_s", "outbox", "parked")}
            return replace(panel, state=PanelState.DONE, held="", **numbers)
    return panel


def stopped(panel: PanelResult, finding: str, reason: str) -> PanelResult:
    """Return the panel as one whose run ended without all verdicts."""
    return replace(panel, state=PanelState.STOPPED, finding=finding, reason=reason, held="")


def members(panel: PanelResult) -> dict[str, Any]:
    """Return the panel as programs read it: one flat JSON object, and one for each position."""
    counts = {
        "passed": panel.count(PASSED),
        "failed": panel.count(FAILED),
        "skipped": panel.count(frozenset({Result.SKIP})),
    }
    told = asdict(panel)
    places = list(told.pop("places"))
    return {"state": told.pop("state").value, "verdict": panel.verdict, **counts, **told, "places": places}


def _summed(panel: PanelResult, event: Mapping[str, Any]) -> dict[str, float]:
    so_far = panel.places[event["position"] - 1].step_ms
    return {**so_far, event["step"]: round(so_far.get(event["step"], 0.0) + event["ms"], 3)}


def _moved(panel: PanelResult, position: int, **changes: Any) -> PanelResult:
    places = tuple(replace(place, **changes) if place.position == position else place for place in panel.places)
    return replace(panel, places=places)


class Follower:
    """Passes a run's events on, and makes its result of them. Used by one thread at a time, as `line.events` does."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.result = PanelResult()

    def begin(self, units: Sequence[str]) -> None:
        """Take what is on the panel."""
        self.result = begun(units)

    def heard(self, event: Event) -> None:
        """Take an event of the run."""
        self.result = heard(self.result, event)
        self._emit(event)

    def stop(self, finding: str, reason: str) -> None:
        """Take what ended the run before all verdicts were there."""
        self.result = stopped(self.result, finding, reason)
