# SPDX-License-Identifier: Apache-2.0
"""
What a rig is doing, as its own events have told the factory: a pure fold over those on its disk.

| state | |
|---|---|
| down | no process of the rig takes panels |
| idle | ready, no work on a panel |
| work | a panel in work |
| held | the whole line waits |

What a process that died has left open, a panel and holds, is known from here too, and ended by `closed`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Final

from birthmark.core.line_events import (
    Heading,
    LineEvent,
    LineHeld,
    LineResumed,
    Outcome,
    PanelBegun,
    PanelBroken,
    PanelEnded,
    RigEnded,
    RigStarted,
    RigState,
    StateChange,
    UnitVerdict,
    WorkStarted,
)

ENDS: Final = ("rig.started", "rig.ended", "panel.ended", "panel.broken")
"""Kinds of events after which no panel and no hold is open: what is told from the last of them on is enough to know."""


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How the rig stands. `since` and `last` are RFC 3339: the state's beginning, and the last event.

    `panel` is the one that is open, `worked` whether work on it has started, `verdicts` what was decided in it.
    """

    state: RigState = RigState.DOWN
    since: str = ""
    last: str = ""
    panel: PanelBegun | None = None
    worked: bool = False
    verdicts: tuple[UnitVerdict, ...] = ()
    holds: tuple[LineHeld, ...] = ()

    def change(self, now: RigState, at: str) -> StateChange | None:
        """Return what it is to be in another state from a moment on; None when it is in that state."""
        return None if now is self.state else self.ending(now, at)

    def ending(self, now: RigState, at: str) -> StateChange:
        """Return the state and its change as each of ENDS has it, also where nothing changes."""
        return StateChange(was=self.state, was_s=_seconds(self.since or at, at), now=now)

    def hold_of(self, unit: str) -> LineHeld | None:
        """Return the hold that is open for a unit, or for the line where no unit is named."""
        return next((held for held in self.holds if held.unit == unit), None)

    def without(self, held: LineHeld) -> RigState:
        """Return the state once a hold is over: a position that waits holds up no line."""
        if self.state is not RigState.HELD or any(not each.unit for each in self.holds if each is not held):
            return self.state
        return RigState.WORK if self.worked else RigState.IDLE


def standing_of(events: Iterable[LineEvent]) -> Standing:
    """Return how the rig stands after these events, which begin with one of ENDS or with the rig's first one."""
    return reduce(_after, events, Standing())


def resumed(standing: Standing, held: LineHeld, at: str) -> LineResumed:
    """Return the end of a hold."""
    heading = _beside(held, f"{held.idempotency_key}:over", at)
    change = standing.change(standing.without(held), at)
    return LineResumed(**heading, finding=held.finding, unit=held.unit, hold=held.idempotency_key, change=change)


def released(standing: Standing, at: str) -> tuple[tuple[LineEvent, ...], Standing]:
    """Return the ends of all holds that are open, and how the rig stands then."""
    told: list[LineEvent] = []
    for held in standing.holds:
        told.append(resumed(standing, held, at))
        standing = _after(standing, told[-1])
    return tuple(told), standing


def closed(standing: Standing, at: str) -> tuple[tuple[LineEvent, ...], Standing]:
    """Return what ends all that is open, the panel as one that was broken off, and how the rig stands then."""
    told, standing = released(standing, at)
    if standing.panel is None:
        return told, standing
    broken = PanelBroken(
        **_beside(standing.panel, f"{standing.panel.transaction}:panel.broken", at),
        outcomes=_outcomes(standing.panel, standing.verdicts),
        worked=standing.worked,
        change=standing.ending(RigState.IDLE, at),
    )
    return (*told, broken), _after(standing, broken)


def _outcomes(panel: PanelBegun, verdicts: tuple[UnitVerdict, ...]) -> tuple[Outcome, ...]:
    decided = {each.position: each.verdict for each in verdicts}
    bad = {place.position: "SKIP" for place in panel.places if place.bad}
    known = bad | decided
    return tuple(
        Outcome(position=place.position, unit=place.unit, verdict=known.get(place.position, ""))
        for place in panel.places
    )


def _after(standing: Standing, event: LineEvent) -> Standing:
    # A lead's decision may be told later than what came after it.
    standing = replace(standing, last=max(standing.last, event.at))
    change: StateChange | None = getattr(event, "change", None)
    if change is not None:
        standing = replace(standing, state=change.now, since=_since(change, event.at))
    changes: dict[str, Any] = {}
    match event:
        case RigStarted() | RigEnded() | PanelEnded() | PanelBroken():
            changes = {"panel": None, "worked": False, "verdicts": (), "holds": ()}
        case PanelBegun():
            changes = {"panel": event, "worked": False, "verdicts": ()}
        case WorkStarted():
            changes = {"worked": True}
        case UnitVerdict():
            changes = {"verdicts": (*standing.verdicts, event)}
        case LineHeld():
            changes = {"holds": (*standing.holds, event)}
        case LineResumed():
            left = tuple(held for held in standing.holds if held.idempotency_key != event.hold)
            changes = {"holds": left}
    return replace(standing, **changes)


def _beside(event: LineEvent, key: str, at: str) -> Heading:
    """Return the heading of an event of the same run as another one."""
    return Heading(
        idempotency_key=key,
        rig=event.rig,
        run=event.run,
        transaction=event.transaction,
        at=at,
        operator=event.operator,
        product=event.product,
        order=event.order,
        mes_hold=event.mes_hold,
    )


def _since(change: StateChange, at: str) -> str:
    """Return since when the rig is in its state, once it is told so."""
    if change.was is not change.now:
        return at
    return (datetime.fromisoformat(at) - timedelta(seconds=change.was_s)).isoformat(timespec="milliseconds")


def _seconds(since: str, until: str) -> float:
    """Return how long that was; a clock that was set back in between counts as nothing."""
    return max(0.0, (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds())
