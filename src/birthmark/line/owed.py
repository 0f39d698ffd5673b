# SPDX-License-Identifier: Apache-2.0
"""
What the units' store has still to be told of how attempts ended.

A verdict does not wait for that store: it is on the rig's disk, and shown. When the store is away just then, the end is
kept beside it and told as soon as the store is back, by this process of the rig or by the next.
"""

from birthmark.line.attempts import ending_of
from birthmark.line.leases import reached
from birthmark.line.ports import LineStore, UnitStore
from birthmark.line.units import UnitLimits


def tell_owed(store: LineStore, units: UnitStore, limits: UnitLimits) -> int:
    """Tell the units' store what it is owed; return how many ends that were. Raises UnitsAway, StoreError."""
    owed = store.owed()
    for end in owed:
        with reached():
            units.end(end.attempt.unit, ending_of(end, limits))
        store.settled(end)
    return len(owed)
