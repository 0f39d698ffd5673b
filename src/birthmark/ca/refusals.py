# SPDX-License-Identifier: Apache-2.0
"""
How many refusals of one client the log takes: whoever has a good certificate could fill the disk with bad requests.

Every refusal is an entry of the log. A client that has used up its share is turned away at the door, without an entry,
until some of the share has come back. Each worker counts for itself, from its start on.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from birthmark.ca.errors import Refused

TOO_MANY = 429
REFUSALS_MAX = 20_000
"""Refusals in a row that are kept for one client: some 5 MB of log."""
REFUSAL_EVERY = timedelta(seconds=10)
"""How long it takes until there is room for one more."""
CLIENTS_MAX = 100_000
"""Clients that are remembered; beyond it those are forgotten that were refused first."""


@dataclass(frozen=True, slots=True)
class _Share:
    used: int
    since: datetime

    def at(self, moment: datetime) -> "_Share":
        """Return the share as it is at that moment, what has come back deducted."""
        back = max(0, (moment - self.since) // REFUSAL_EVERY)
        return _Share(max(0, self.used - back), self.since + back * REFUSAL_EVERY)


class RefusalShares:
    """One per edge of a worker. Calls may come from several threads; a count that is one too low does no harm."""

    def __init__(self, refusals_max: int = REFUSALS_MAX) -> None:
        self._max = refusals_max
        self._shares: dict[str, _Share] = {}

    def demand(self, fingerprint: str, at: datetime) -> None:
        """1. Pass a client that has some of its share left. Refused: ca.1.refusals."""
        known = self._shares.get(fingerprint)
        if known is not None and known.at(at).used >= self._max:
            raise Refused(
                TOO_MANY,
                "ca.1.refusals",
                "too many requests of this client were refused",
                hint="mend what asks; the log has the reasons",
                retry_after_s=int(REFUSAL_EVERY.total_seconds()),
            )

    def spend(self, fingerprint: str, at: datetime) -> None:
        """Count one refusal that the log has taken."""
        known = self._shares.pop(fingerprint, _Share(0, at)).at(at)
        self._shares[fingerprint] = _Share(known.used + 1, known.since if known.used else at)
        if len(self._shares) > CLIENTS_MAX:
            del self._shares[next(iter(self._shares))]
