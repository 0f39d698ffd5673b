# SPDX-License-Identifier: Apache-2.0
"""What keeping the rigs' records needs: a store of them, which several workers may share."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from birthmark.core.attempts import Attempt, Cell, Ending, Grain, KeepUnits, Period
from birthmark.core.work import Transition, UnitChange, UnitWork


class UnitStore(Protocol):
    """The records of units. Thread-safe, shared by processes. Every call raises StoreError when it cannot."""

    def now(self) -> datetime:
        """Return the store's moment: the same clock as that of `change`."""
        ...

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        ...

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """Return the record as `transition` makes it; nobody else changes it in between. What it raises passes."""
        ...

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        ...

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order."""
        ...

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        ...

    def end(self, serial: str, ending: Ending) -> Attempt:
        """Return the attempt as it is kept, with what becomes of its unit. What `ending` raises passes."""
        ...

    def cells(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to."""
        ...

    def unfinished(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now."""
        ...

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        ...

    def attempts(self, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
        """Return at most so many attempts of a period in the order of their ends, behind `after`."""
        ...

    def passed(self, order: str) -> int:
        """Return how many attempts passed under an order, as far as they are kept."""
        ...

    def prune(self, keep: KeepUnits) -> int:
        """Take away some of what need not be kept; return how many units and attempts went."""
        ...
