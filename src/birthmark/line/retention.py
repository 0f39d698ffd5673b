# SPDX-License-Identifier: Apache-2.0
"""How long a rig keeps what is done with: what was delivered, and the journal."""

from dataclasses import dataclass
from datetime import datetime, timedelta

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
