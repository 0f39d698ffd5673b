# SPDX-License-Identifier: Apache-2.0
"""
A rig's time on duty, from the start of its process to the end, as the factory hears of it.

A process that was killed tells nothing. The next one does it in its place, with the moment of its last sign of life,
the last event on the rig's disk.
"""

import uuid
from dataclasses import dataclass

from birthmark.core.clock import Clock
from birthmark.core.line_events import Heading, LineEvent, RigEnded, RigStarted, RigState
from birthmark.line.births import Rig
from birthmark.line.standing import Standing, closed


@dataclass(frozen=True, slots=True)
class Duty:
    """Makes the events at the start and at the end of a rig's process."""

    rig: Rig
    clock: Clock

    def begins(self, standing: Standing) -> tuple[LineEvent, ...]:
        """Return what ends all that an earlier process has left open, and the start of this one."""
        left: tuple[LineEvent, ...] = ()
        if standing.last:
            left, standing = self._ended(standing, standing.last)
        heading = self._heading("rig.started", self._now())
        return (*left, RigStarted(**heading, change=standing.ending(RigState.IDLE, heading["at"])))

    def breaks_off(self, standing: Standing) -> tuple[LineEvent, ...]:
        """Return what ends a panel that was broken off, and its holds."""
        return closed(standing, self._now())[0]

    def ends(self, standing: Standing) -> tuple[LineEvent, ...]:
        """Return what ends all that is open, and the process."""
        return self._ended(standing, self._now())[0]

    def _ended(self, standing: Standing, at: str) -> tuple[tuple[LineEvent, ...], Standing]:
        told, standing = closed(standing, at)
        if standing.state is RigState.DOWN:
            return told, standing
        ended = RigEnded(**self._heading("rig.ended", at), change=standing.ending(RigState.DOWN, at))
        return (*told, ended), Standing(since=at)

    def _now(self) -> str:
        return self.clock().isoformat(timespec="milliseconds")

    def _heading(self, what: str, at: str) -> Heading:
        return Heading(
            idempotency_key=f"{uuid.uuid4()}:{what}",
            rig=self.rig.name,
            run="",
            transaction="",
            at=at,
            operator=self.rig.operator,
            product=self.rig.product,
            order=self.rig.order,
            mes_hold=False,
        )
