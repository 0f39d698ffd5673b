# SPDX-License-Identifier: Apache-2.0
"""How long a rig keeps what is done with: what was delivered, the journal, attempts, and records of finished units."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from birthmark.core.attempts import KeepUnits
from birthmark.core.delivery import Keep


@dataclass(frozen=True, slots=True)
class Retention:
    """The policy of one rig. What is not delivered yet, or parked, is kept however old it is."""

    events: int
    events_days: float
    journal_days: float

    def at(self, moment: datetime) -> Keep:
        """Return what this means at a moment."""
        events, journal = (moment - timedelta(days=days) for days in (self.events_days, self.journal_days))
        return Keep(events.isoformat(), self.events, journal.isoformat())


@dataclass(frozen=True, slots=True)
class UnitRetention:
    """The policy for the units' store. A unit that is not done is kept, however old its record is."""

    attempts_days: float
    units_days: float

    def at(self, moment: datetime) -> KeepUnits:
        """Return what this means at a moment."""
        attempts, units = (moment - timedelta(days=days) for days in (self.attempts_days, self.units_days))
        return KeepUnits(attempts, units)
