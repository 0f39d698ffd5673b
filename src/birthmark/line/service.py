# SPDX-License-Identifier: Apache-2.0
"""The line's use cases: personalise a panel, and deliver what earlier panels have left."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from birthmark.core.errors import BirthmarkError
from birthmark.line.config import Position
from birthmark.line.outbox import Outbox
from birthmark.line.panel import Panel, Verdict
from birthmark.line.ports import LineStore
from birthmark.line.sequence import Station

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PanelReport:
    """A finished panel. `outbox` counts the births that still wait for a destination, `parked` the refused ones."""

    verdicts: tuple[Verdict, ...]
    panel_s: float
    outbox: int
    parked: int

    @property
    def passed(self) -> int:
        """Return how many boards may go on."""
        return sum(verdict.passed for verdict in self.verdicts)

    @property
    def failed(self) -> int:
        """Return how many boards may not go on; skipped positions are not among them."""
        return sum(verdict.failed for verdict in self.verdicts)


def personalise(
    panel: Panel, positions: Sequence[Position], station: Station, outbox: Outbox, deliver_wait_s: float
) -> PanelReport:
    """
    Return the report of a panel, after its births have had `deliver_wait_s` seconds to be delivered.

    Births are delivered in the background meanwhile; a destination that is away holds up no board.
    """
    outbox.start()
    verdicts, panel_s = panel.run(positions)
    waiting = outbox.finish(deliver_wait_s)
    report = PanelReport(verdicts, panel_s, waiting, station.desk.store.parked_count())
    station.desk.events.emit(
        event="panel.end",
        panel_s=round(panel_s, 6),
        passed=report.passed,
        failed=report.failed,
        outbox=report.outbox,
        parked=report.parked,
    )
    return report


def deliver(store: LineStore, outbox: Outbox, destinations: Sequence[str]) -> int:
    """
    Offer every waiting parcel once, and the parked ones again; return how many still wait.

    Parked parcels are offered again because a person who calls this may have mended what they were refused for.
    """
    for destination in destinations:
        store.unpark(destination)
        try:
            outbox.drain(destination)
        except BirthmarkError as error:
            _log.warning("%s waits: %s: %s", destination, error.finding, error)
    return store.waiting()
