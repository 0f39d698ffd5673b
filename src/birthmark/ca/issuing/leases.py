# SPDX-License-Identifier: Apache-2.0
"""
Which rig may work on a unit: the lease that a nonce is (docs/adr/0007-nonce-is-a-lease.md). Pure: no store, no clock.

While a rig holds the lease, others that ask are put off and queue up. It may renew the lease as long as nobody queues;
from then on it waits behind those who do. When the lease is over each of them has a turn, in the order in which they
first asked; who misses a turn asks anew. So a rig that comes back when it was told to waits for those before it once,
however often they ask.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from birthmark.core.issuance import NonceGrant

TURN: Final = timedelta(seconds=10)
"""For so long a unit is kept for the one whose turn it is."""
QUEUE_MAX: Final = 16
"""Rigs that queue up for one unit; further ones are put off and not noted."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The rig may have the unit; `waiting` go on queueing behind it."""

    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PutOff:
    """The rig may come again after `wait`; `waiting` is the queue as it is now."""

    waiting: tuple[str, ...]
    wait: timedelta


def ask(last: NonceGrant | None, rig: str, at: datetime) -> Granted | PutOff:
    """
    Decide what a rig is told that asks for a unit.

    Args:
        last: the nonce that a rig was given last for this unit, used or not; None when there is none, or when it is
            over and nobody queues.
        rig: the holder's name of the one who asks.
        at: now.

    """
    if last is None or (not last.waiting and (last.used_by is not None or last.holder == rig)):
        return Granted()
    queue = last.waiting
    place = queue.index(rig) if rig in queue else len(queue)
    begins = last.expires_at + place * TURN
    if at >= begins or (last.used_by is not None and queue[:1] == (rig,)):
        return Granted(queue[place + 1 :])
    noted = queue if rig in queue or len(queue) >= QUEUE_MAX else (*queue, rig)
    return PutOff(noted, begins - at)
