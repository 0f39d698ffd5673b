# SPDX-License-Identifier: Apache-2.0
"""
What leads decide about units, told to the factory.

A decision is a change in the units' store, which rigs share; its event is in one rig's store. The rig at which it was
made tells it, once: how far the history of the units was told stands in the rig's store, in the transaction of the
events. What a crash in between has left untold is told before the rig's next panel.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from birthmark.core.errors import BirthmarkError
from birthmark.core.line_events import Heading, LineEvent, UnitOverridden, UnitReworked
from birthmark.core.work import UnitChange, UnitWork, WorkState
from birthmark.line.births import Rig
from birthmark.line.ports import LineStore, UnitStore

AT_ONCE: Final = 500
"""Changes that are looked at in one go."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Tells what was decided at this rig."""

    rig: Rig
    units: UnitStore
    store: LineStore

    def tell(self) -> None:
        """Tell what was decided since the last look. What cannot be told now is told the next time."""
        try:
            self._tell()
        except BirthmarkError as error:
            _log.warning("what leads decided is not told yet: %s: %s", error.finding, error)

    def _tell(self) -> None:
        number = self.store.decisions_told()
        if number is None:
            # A rig that is new here was at none of what happened before.
            self.store.tell_decisions(self._newest(), ())
            return
        while changes := self.units.history(number, AT_ONCE):
            number = changes[-1].number
            self.store.tell_decisions(number, tuple(self._decided(changes)))

    def _newest(self) -> int:
        number = 0
        while changes := self.units.history(number, AT_ONCE):
            number = changes[-1].number
        return number

    def _decided(self, changes: Sequence[UnitChange]) -> Iterator[LineEvent]:
        for change in changes:
            work = change.work
            if work.state is WorkState.OPEN and work.by and work.holder.rig == self.rig.name:
                event = self._decision(change)
                if event is not None:
                    yield event

    def _decision(self, change: UnitChange) -> LineEvent | None:
        before = [each for each in self.units.history_of(change.work.unit) if each.number < change.number]
        return _event(self.rig, before[-1].work, change.work) if before else None


def _event(rig: Rig, before: UnitWork, work: UnitWork) -> LineEvent | None:
    """Return what was decided, or None: a run that has decided nothing leaves the unit open, too."""
    if work.reworks == before.reworks + 1:
        heading = _heading(rig, "unit.reworked", work)
        return UnitReworked(**heading, unit=work.unit, by=work.by, reason=work.reason, reworks=work.reworks)
    if before.state is WorkState.QUARANTINED:
        heading = _heading(rig, "unit.overridden", work)
        return UnitOverridden(**heading, unit=work.unit, by=work.by, reason=work.reason)
    return None


def _heading(rig: Rig, kind: str, work: UnitWork) -> Heading:
    at = work.changed_at.isoformat(timespec="milliseconds")
    return Heading(
        idempotency_key=f"{kind}:{work.unit}:{work.changed_at.isoformat()}",
        rig=rig.name,
        run="",
        transaction="",
        at=at,
        operator=rig.operator,
        product=rig.product,
        order=rig.order,
        mes_hold=False,
    )
