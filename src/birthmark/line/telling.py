# SPDX-License-Identifier: Apache-2.0
"""
What the rig tells the factory: makes the events of one panel, each under the key by which everyone takes it once.

A key is made of the panel's transaction and of what happened in it, so that what is told twice is one event. The key
of a birth is that of its record: the certificate's fingerprint, whichever rig tells it.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from birthmark.core.clock import Clock
from birthmark.core.delivery import SignedBirth
from birthmark.core.line_events import (
    Heading,
    LineEvent,
    LineHeld,
    Outcome,
    PanelBegun,
    PanelEnded,
    Place,
    RigState,
    UnitBorn,
    UnitStarted,
    UnitVerdict,
    WorkStarted,
)
from birthmark.line.births import Rig
from birthmark.line.ports import Emit, Event
from birthmark.line.standing import Standing, released, resumed


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict as it is journalled and told."""

    verdict: str
    finding: str = ""
    reason: str = ""
    certificate_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Teller:
    """
    Makes the events of one panel. `mes_hold` goes into every one: the MES was behind when the panel began.

    What changes the rig's state is told with the change, and is given how the rig stands.
    """

    rig: Rig
    run: str
    transaction: str
    clock: Clock
    recipe_sha256: str = ""
    mes_hold: bool = False
    _holds: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def now(self) -> str:
        """Return the moment in RFC 3339, as journal, events and births have it."""
        return self.clock().isoformat(timespec="milliseconds")

    def panel_begun(self, places: Sequence[Place]) -> PanelBegun:
        """Tell that a panel has arrived."""
        return PanelBegun(**self._heading("panel.begun"), places=tuple(places))

    def work_started(self, places: Sequence[Place], assumed: str, standing: Standing) -> WorkStarted:
        """Tell that the panel is worked on from now on."""
        heading = self._heading("work.started")
        return WorkStarted(
            **heading,
            places=tuple(places),
            recipe_sha256=self.recipe_sha256,
            assumed=assumed,
            change=standing.change(RigState.WORK, heading["at"]),
        )

    def panel_ended(
        self, outcomes: Sequence[Outcome], counts: tuple[int, int, int], panel_s: float, standing: Standing
    ) -> tuple[LineEvent, ...]:
        """Tell that every position has its verdict, after the ends of the holds that some have ended in."""
        heading, (passed, failed, skipped) = self._heading("panel.ended"), counts
        over, standing = released(standing, heading["at"])
        ended = PanelEnded(
            **heading,
            passed=passed,
            failed=failed,
            skipped=skipped,
            panel_s=round(panel_s, 6),
            outcomes=tuple(outcomes),
            worked=standing.worked,
            change=standing.ending(RigState.IDLE, heading["at"]),
        )
        return (*over, ended)

    def started(self, position: int, unit: str) -> UnitStarted:
        """Tell that work on a unit has begun."""
        return UnitStarted(**self._heading(f"unit.started.{position}"), unit=unit, position=position)

    def verdict(self, position: int, unit: str, told: Told, started: str = "") -> UnitVerdict:
        """Tell how a unit's run ended. The first verdict of a position in a panel is the one that counts."""
        return UnitVerdict(
            **self._heading(f"unit.verdict.{position}"),
            unit=unit,
            position=position,
            verdict=told.verdict,
            finding=told.finding,
            reason=told.reason,
            certificate_sha256=told.certificate_sha256,
            started=started,
            recipe_sha256=self.recipe_sha256,
        )

    def born(self, position: int, birth: SignedBirth) -> UnitBorn:
        """Tell that a unit has its identity."""
        heading = self._heading("")
        heading["idempotency_key"] = birth.key
        return UnitBorn(**heading, unit=birth.unit, position=position, jws=birth.jws)

    def held(self, event: Event, standing: Standing) -> LineHeld:
        """Tell that the line, or a position, waits. A position holds up no line."""
        heading, unit = self._heading(f"line.held.{next(self._holds)}"), str(event["unit"])
        return LineHeld(
            **heading,
            what=str(event["what"]),
            hint=str(event["hint"]),
            finding=str(event["finding"]),
            unit=unit,
            change=None if unit else standing.change(RigState.HELD, heading["at"]),
        )

    def resumed(self, event: Event, standing: Standing) -> tuple[LineEvent, ...]:
        """Tell that what was held goes on; nothing, where no hold was told."""
        held = standing.hold_of(str(event["unit"]))
        return (resumed(standing, held, self.now()),) if held is not None else ()

    def _heading(self, what: str) -> Heading:
        return Heading(
            idempotency_key=f"{self.transaction}:{what}",
            rig=self.rig.name,
            run=self.run,
            transaction=self.transaction,
            at=self.now(),
            operator=self.rig.operator,
            product=self.rig.product,
            order=self.rig.order,
            mes_hold=self.mes_hold,
        )


def telling_holds(
    emit: Emit, teller: Teller, standing: Callable[[], Standing], keep: Callable[[tuple[LineEvent, ...]], None]
) -> Emit:
    """Return a listener that keeps holds and their ends as events before it passes them on to `emit`."""

    def heard(event: Event) -> None:
        match event["event"]:
            case "hold":
                keep((teller.held(event, standing()),))
            case "resume":
                keep(teller.resumed(event, standing()))
        emit(event)

    return heard
