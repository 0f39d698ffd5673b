# SPDX-License-Identifier: Apache-2.0
"""
What a station's screen shows: a state without I/O and without a clock, and what each scan and each event makes of it.

| phase | a unit's label | START | CLEAR | an event of the run |
|---|---|---|---|---|
| READY: places are being filled | fills the next place | RUNNING, when one is filled | empties all | - |
| RUNNING | refused | refused | refused | moves the places |
| SHOWN: verdicts stand until the next scan | a new panel begins with it | refused | READY, empty | - |

A panel of which every place is filled or marked bad starts by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from birthmark.core.errors import BirthmarkError
from birthmark.line.errors import CallRefused, ScanRefused
from birthmark.line.station.scan import BadgeScan, Command, CommandScan, Scan, UnitScan


class Phase(StrEnum):
    """What the station is doing."""

    READY = "ready"
    RUNNING = "running"
    SHOWN = "shown"


class Look(StrEnum):
    """How a place looks: each has a colour, an icon, a word and a sound of its own on the screen."""

    EMPTY = "empty"
    SCANNED = "scanned"
    WORKING = "working"
    PASS = "pass"  # noqa: S105 a verdict, not a password
    FAIL = "fail"
    QUARANTINE = "quarantine"
    SKIP = "skip"


_OF_A_PLACE = frozenset({"step.begin", "verdict"})
_LOOKS = {
    "PASS": Look.PASS,
    "PASS-ALREADY": Look.PASS,
    "RESUMED": Look.PASS,
    "FAIL": Look.FAIL,
    "QUARANTINE": Look.QUARANTINE,
    "SKIP": Look.SKIP,
}


@dataclass(frozen=True, slots=True)
class Place:
    """One position of the fixture, numbered from 1. `word` is the verdict or the step that goes on."""

    number: int
    look: Look = Look.EMPTY
    unit: str = ""
    word: str = ""
    finding: str = ""
    reason: str = ""
    board_s: float = 0.0
    decided: str = ""
    """What a lead has decided about the unit since its verdict, and who."""

    @property
    def taken(self) -> bool:
        """Whether somebody has said what lies here."""
        return self.look in {Look.SCANNED, Look.SKIP}


@dataclass(frozen=True, slots=True)
class Told:
    """
    What the operator is told: a finding, for which the screen has words of its language, and the program's own text.

    `scanned` is what was scanned when that is what was refused; `number` tells a second refusal from the first.
    """

    text: str = ""
    finding: str = ""
    scanned: str = ""
    number: int = 0


NOTHING: Final = Told()


@dataclass(frozen=True, slots=True)
class Floor:
    """
    All that a screen shows. `version` grows with every change.

    `held` is why the line waits, `behind` what a destination has not taken for too long (this panel's births carry a
    hold flag), `assumed` why the factory did not clear this panel, which is worked on all the same, `reader` what is
    wrong with the rig's own scanner.
    """

    places: tuple[Place, ...]
    version: int = 0
    phase: Phase = Phase.READY
    operator: str = ""
    panel: int = 0
    told: Told = NOTHING
    held: Told = NOTHING
    behind: str = ""
    assumed: str = ""
    reader: str = ""
    panel_s: float = 0.0
    outbox: int = 0
    parked: int = 0

    @property
    def complete(self) -> bool:
        """Whether every place is filled or marked bad, and one at least is filled."""
        return all(place.taken for place in self.places) and self.workable

    @property
    def workable(self) -> bool:
        """Whether there is a board to work on."""
        return any(place.look is Look.SCANNED for place in self.places)


def empty(positions: int) -> Floor:
    """Return the floor of a station that has just been switched on."""
    return Floor(tuple(Place(number) for number in range(1, positions + 1)))


def scanned(floor: Floor, scan: Scan) -> Floor:
    """
    Return the floor after a scan; its phase is RUNNING when a panel is to be run now.

    Raises:
        ScanRefused: line.scan.running, .nobody, .twice, .full, .nothing.

    """
    match scan:
        case BadgeScan(name):
            return _changed(floor, operator=name, told=NOTHING)
        case CommandScan(Command.LOGOUT):
            _demand_idle(floor)
            return _changed(floor, operator="", told=NOTHING)
        case CommandScan(Command.CLEAR):
            _demand_idle(floor)
            return _cleared(floor)
        case CommandScan(Command.START):
            _demand_ready(floor)
            return _started(floor)
        case CommandScan():
            return _with_place(_fresh(floor), Look.SKIP, "")
        case UnitScan(unit):
            return _with_place(_fresh(floor), Look.SCANNED, unit)


def offered(floor: Floor, operator: str, units: Sequence[str | None]) -> Floor:
    """
    Return the floor, running, with a panel that a program offers: as if somebody had scanned all of it at once.

    Raises:
        CallRefused: line.station.taken: a person is filling the places.
        ScanRefused: as `scanned`; nothing has changed.

    """
    _demand_idle(floor)
    if floor.phase is Phase.READY and any(place.taken for place in floor.places):
        raise CallRefused(
            "boards were scanned at the screen",
            hint=f"run them, or {Command.CLEAR.value}",
            finding="line.station.taken",
        )
    if len(units) > len(floor.places):
        raise ScanRefused(f"{len(units)} units for {len(floor.places)} places", finding="line.scan.full")
    floor = scanned(floor, BadgeScan(operator)) if operator else floor
    for unit in units:
        floor = scanned(floor, UnitScan(unit) if unit is not None else CommandScan(Command.BAD))
    return floor if floor.phase is Phase.RUNNING else scanned(floor, CommandScan(Command.START))


def happened(floor: Floor, event: Mapping[str, Any]) -> Floor:
    """Return the floor after an event of a run (docs/reference/line.md, Events); unknown ones change nothing."""
    changes = _changes(event)
    if changes is None:
        return floor
    return _moved(floor, event["position"], **changes) if event["event"] in _OF_A_PLACE else _changed(floor, **changes)


def _changes(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what an event changes: of its place, or of the floor."""
    changes: dict[str, Any] | None = None
    match event["event"]:
        case "step.begin":
            changes = {"look": Look.WORKING, "word": event["step"]}
        case "verdict":
            told = {name: event[name] for name in ("finding", "reason", "board_s")}
            changes = {"look": _LOOKS[event["verdict"]], "word": event["verdict"], **told}
        case "hold":
            changes = {"held": Told(f"{event['what']}; {event['hint']}", event["finding"])}
        case "mes.behind":
            changes = {"behind": event["what"]}
        case "interlock.assumed":
            changes = {"assumed": event["what"]}
        case "resume":
            changes = {"held": NOTHING}
        case "panel.end":
            numbers = {name: event[name] for name in ("panel_s", "outbox", "parked")}
            changes = {"phase": Phase.SHOWN, "held": NOTHING, **numbers}
    return changes


def stopped(floor: Floor, text: str, finding: str) -> Floor:
    """Return the floor after a run that ended without verdicts: what is wrong, and the places as they were scanned."""
    places = tuple(
        replace(place, look=Look.SCANNED, word="") if place.look is Look.WORKING else place for place in floor.places
    )
    return _changed(floor, phase=Phase.SHOWN, places=places, told=Told(text, finding), held=NOTHING)


def refused(floor: Floor, error: BirthmarkError, scanned_text: str) -> Floor:
    """Return the floor with what was scanned and why it was refused. Nothing else changes."""
    return _changed(floor, told=Told(str(error), error.finding, scanned_text, floor.version + 1))


def decided(floor: Floor, unit: str, words: str) -> Floor:
    """Return the floor with a lead's decision at the places of a unit."""
    places = tuple(replace(place, decided=words) if place.unit == unit else place for place in floor.places)
    return _changed(floor, places=places)


def backlog_is(floor: Floor, outbox: int, parked: int) -> Floor:
    """Return the floor with how many births wait to be delivered, and how many were refused; itself when it knows."""
    known = (floor.outbox, floor.parked) == (outbox, parked)
    return floor if known else _changed(floor, outbox=outbox, parked=parked)


def reader_is(floor: Floor, trouble: str) -> Floor:
    """Return the floor with what is wrong with the rig's own scanner; "" when it is well."""
    return _changed(floor, reader=trouble)


def _fresh(floor: Floor) -> Floor:
    """Return the floor as one that takes boards: verdicts that are shown make way. Raises ScanRefused."""
    _demand_idle(floor)
    _demand_somebody(floor)
    return _cleared(floor) if floor.phase is Phase.SHOWN else floor


def _with_place(floor: Floor, look: Look, unit: str) -> Floor:
    for place in floor.places:
        if unit and place.unit == unit:
            raise ScanRefused(f"{unit} is in place {place.number} already", finding="line.scan.twice")
    free = next((place for place in floor.places if not place.taken), None)
    if free is None:
        raise ScanRefused("all places are taken", hint=f"scan {Command.START.value}", finding="line.scan.full")
    filled = _moved(floor, free.number, look=look, unit=unit, word="SKIP" if look is Look.SKIP else "")
    return _started(filled) if filled.complete else replace(filled, told=NOTHING)


def _started(floor: Floor) -> Floor:
    if not floor.workable:
        raise ScanRefused("no board was scanned", hint="scan the boards' labels", finding="line.scan.nothing")
    places = tuple(place if place.taken else replace(place, look=Look.SKIP, word="SKIP") for place in floor.places)
    return _changed(
        floor,
        phase=Phase.RUNNING,
        places=places,
        panel=floor.panel + 1,
        told=NOTHING,
        behind="",
        assumed="",
        panel_s=0.0,
    )


def _cleared(floor: Floor) -> Floor:
    places = empty(len(floor.places)).places
    return _changed(floor, phase=Phase.READY, places=places, told=NOTHING, panel_s=0.0)


def _demand_idle(floor: Floor) -> None:
    if floor.phase is Phase.RUNNING:
        raise ScanRefused("a panel is running", hint="wait for its verdicts", finding="line.scan.running")


def _demand_ready(floor: Floor) -> None:
    _demand_idle(floor)
    if floor.phase is Phase.SHOWN:
        raise ScanRefused("these boards have their verdicts", hint="scan the next ones", finding="line.scan.nothing")
    _demand_somebody(floor)


def _demand_somebody(floor: Floor) -> None:
    if not floor.operator:
        raise ScanRefused("nobody is logged in", hint="scan your badge first", finding="line.scan.nobody")


def _moved(floor: Floor, number: int, **changes: Any) -> Floor:
    places = tuple(replace(place, **changes) if place.number == number else place for place in floor.places)
    return _changed(floor, places=places)


def _changed(floor: Floor, **changes: Any) -> Floor:
    return replace(floor, version=floor.version + 1, **changes)
