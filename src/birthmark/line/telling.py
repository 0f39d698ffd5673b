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
    LineResumed,
    PanelBegun,
    PanelEnded,
    Place,
    UnitBorn,
    UnitStarted,
    UnitVerdict,
)
from birthmark.line.births import Rig
from birthmark.line.ports import Emit, Event


@dataclass(frozen=True, slots=True)
class Told:
    """A verdict as it is journalled and told."""

    verdict: str
    finding: str = ""
    reason: str = ""
    certificate_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Teller:
    """Makes the events of one panel. `mes_hold` goes into every one: the MES was behind when the panel began."""

    rig: Rig
    run: str
    transaction: str
    clock: Clock
    mes_hold: bool = False
    _holds: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def now(self) -> str:
        """Return the moment in RFC 3339, as journal, events and births have it."""
        return self.clock().isoformat(timespec="milliseconds")

    def panel_begun(self, places: Sequence[Place]) -> PanelBegun:
        """Tell that a panel has arrived."""
        return PanelBegun(**self._heading("panel.begun"), places=tuple(places))

    def panel_ended(self, *, passed: int, failed: int, skipped: int, panel_s: float) -> PanelEnded:
        """Tell that every position has its verdict."""
        heading = self._heading("panel.ended")
        return PanelEnded(**heading, passed=passed, failed=failed, skipped=skipped, panel_s=round(panel_s, 6))

    def started(self, position: int, unit: str) -> UnitStarted:
        """Tell that work on a unit has begun."""
        return UnitStarted(**self._heading(f"unit.started.{position}"), unit=unit, position=position)

    def verdict(self, position: int, unit: str, told: Told) -> UnitVerdict:
        """Tell how a unit's run ended. The first verdict of a position in a panel is the one that counts."""
        return UnitVerdict(
            **self._heading(f"unit.verdict.{position}"),
            unit=unit,
            position=position,
            verdict=told.verdict,
            finding=told.finding,
            reason=told.reason,
            certificate_sha256=told.certificate_sha256,
        )

    def born(self, position: int, birth: SignedBirth) -> UnitBorn:
        """Tell that a unit has its identity."""
        heading = self._heading("")
        heading["idempotency_key"] = birth.key
        return UnitBorn(**heading, unit=birth.unit, position=position, jws=birth.jws)

    def held(self, event: Event) -> LineHeld:
        """Tell that the line, or a position, waits."""
        return LineHeld(
            **self._heading(f"line.held.{next(self._holds)}"),
            what=str(event["what"]),
            hint=str(event["hint"]),
            finding=str(event["finding"]),
            unit=str(event["unit"]),
        )

    def resumed(self, event: Event) -> LineResumed:
        """Tell that what was held goes on."""
        heading = self._heading(f"line.resumed.{next(self._holds)}")
        return LineResumed(**heading, finding=str(event["finding"]), unit=str(event["unit"]))

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


def telling_holds(emit: Emit, teller: Teller, keep: Callable[[LineEvent], None]) -> Emit:
    """Return a listener that keeps holds and their ends as events before it passes them on to `emit`."""

    def heard(event: Event) -> None:
        match event["event"]:
            case "hold":
                keep(teller.held(event))
            case "resume":
                keep(teller.resumed(event))
        emit(event)

    return heard
