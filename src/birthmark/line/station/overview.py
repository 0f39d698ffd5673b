# SPDX-License-Identifier: Apache-2.0
"""What a station can say of more than its own floor: yields of all rigs, the outbox, the order, the CA."""

from dataclasses import dataclass

from birthmark.core.delivery import Backlog
from birthmark.core.order_wire import OrderProgress
from birthmark.line.outbox_office import OutboxOffice
from birthmark.line.station.ca_watch import CAHealth, CAWatch
from birthmark.line.station.order_watch import OrderWatch
from birthmark.line.yield_office import YieldOffice


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rig depends on, and how far its order is: `passed` is what the rigs say, `progress` the CA's account."""

    ca: CAHealth
    outbox: tuple[Backlog, ...]
    order: str
    passed: int
    progress: OrderProgress | None


class Overview:
    """For the lead page. Calls may come from any thread; they raise UnitsAway, StoreError."""

    def __init__(
        self, yields: YieldOffice, outbox: OutboxOffice, ca: CAWatch, order: str, progress: OrderWatch
    ) -> None:
        self.yields = yields
        self._outbox = outbox
        self._ca = ca
        self._order = order
        self._progress = progress

    def surroundings(self) -> Surroundings:
        """Return how outbox, order and CA stand."""
        return Surroundings(
            ca=self._ca.now(),
            outbox=self._outbox.standings(),
            order=self._order,
            passed=self.yields.passed(self._order),
            progress=self._progress.now(),
        )
