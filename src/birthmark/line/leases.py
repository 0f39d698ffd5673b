# SPDX-License-Identifier: Apache-2.0
"""
The units that one run has in work: taken before the first step, kept while it lasts, ended with its verdict.

A lease is only as good as its last renewal. The run knows by its own watch until when that is, and stops a board before
its next step when the time is over: another rig may have it by then.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from birthmark.core.attempts import Attempt, OwedEnd
from birthmark.core.errors import BirthmarkError, StoreError
from birthmark.core.work import Holder, Transition, UnitWork, WorkState
from birthmark.line.attempts import ending_of
from birthmark.line.errors import JournalUnwritable, LeaseLost, UnitsAway, UnitStopped
from birthmark.line.ports import Stopwatch, UnitStore
from birthmark.line.units import (
    RENEWALS,
    UnitLimits,
    begun,
    demand_single,
    faulted,
    kept,
    seen,
    unseen,
)

STOP_TIME_S = 5.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Leases:
    """The leases of one run. Thread-safe: each unit is used by its board's thread, and renewed by another."""

    store: UnitStore
    holder: Holder
    limits: UnitLimits
    stopwatch: Stopwatch
    owe: Callable[[OwedEnd], None]
    """Keeps an end on the rig's disk until the store is back (`line.owed`)."""
    _good_until: dict[str, float] = field(default_factory=dict)
    _faults: Counter[str] = field(default_factory=Counter)

    def take(self, unit: str) -> None:
        """
        Lease the unit.

        Raises:
            UnitInWork: another run has it. UnitStopped: it may not be worked on. UnitsAway.

        """
        asked = self.stopwatch()
        self._change(unit, lambda work, at: begun(work, self.holder, self.limits, at))
        self._good_until[unit] = asked + self.limits.lease_s

    def saw(self, unit: str, chip_serial: str, key_sha256: str) -> None:
        """
        Note which chip and which key the unit has; an empty key is none that is known yet.

        Raises:
            UnitStopped: line.unit.chip, line.unit.twin. LeaseLost, UnitsAway.

        """
        work = self._change(unit, lambda work, _at: seen(work, self.holder, chip_serial, key_sha256))
        # Written first and looked for then: of two rigs that do this at once, one sees the other at least.
        try:
            with reached():
                demand_single(work, self.store.sharing(chip_serial, key_sha256))
        except UnitStopped:
            self._change(unit, lambda work, _at: unseen(work, self.holder))
            raise

    def fault(self, unit: str) -> None:
        """Count a fault of communication. Raises LeaseLost, UnitsAway."""
        self._faults[unit] += 1
        self._change(unit, lambda work, _at: faulted(work, self.holder))

    def end(self, attempt: Attempt, state: WorkState) -> None:
        """
        Keep the attempt, and let go of its unit in its new state, where this run has it.

        What the board has come to stands in the journal already. When the store is away, the end is owed to it; its
        lease ends by itself, and whoever takes the unit meanwhile looks at it.
        """
        leased = self._good_until.pop(attempt.unit, None) is not None
        end = OwedEnd(replace(attempt, faults=self._faults[attempt.unit]), state, leased)
        try:
            with reached():
                self.store.end(attempt.unit, ending_of(end, self.limits))
        except BirthmarkError as error:
            _log.warning("%s: its end is told to the units' store later: %s: %s", attempt.unit, error.finding, error)
            self._owe(end)

    def _owe(self, end: OwedEnd) -> None:
        try:
            self.owe(end)
        except BirthmarkError as error:
            _log.error("%s: its end is lost to the units' store: %s: %s", end.attempt.unit, error.finding, error)

    def check(self, unit: str) -> None:
        """Pass a unit that no other rig can have. Raises LeaseLost."""
        if self.stopwatch() >= self._good_until.get(unit, 0.0):
            raise LeaseLost(
                f"the lease of {unit} could not be renewed for {self.limits.lease_s:g} s",
                hint="look at the rigs' database, then run the board again",
            )

    @contextmanager
    def renewing(self) -> Iterator[None]:
        """Renew every lease, as long as the block runs."""
        ending = threading.Event()
        thread = threading.Thread(target=self._keep_renewing, args=(ending,), name="leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join(STOP_TIME_S)

    def _keep_renewing(self, ending: threading.Event) -> None:
        while not ending.wait(self.limits.lease_s / RENEWALS):
            for unit in tuple(self._good_until):
                self._renew(unit)

    def _renew(self, unit: str) -> None:
        asked = self.stopwatch()
        try:
            self._change(unit, lambda work, at: kept(work, self.holder, self.limits, at))
        except LeaseLost:
            lost = asked  # or it was ended meanwhile: then there is nothing to renew
        except BirthmarkError as error:
            _log.warning("%s: its lease was not renewed: %s: %s", unit, error.finding, error)
            return
        else:
            lost = asked + self.limits.lease_s
        if unit in self._good_until:
            self._good_until[unit] = lost

    def _change(self, unit: str, transition: Transition) -> UnitWork:
        with reached():
            return self.store.change(unit, transition)


@contextmanager
def reached() -> Iterator[None]:
    """Raise UnitsAway for what the units' store cannot do inside, JournalUnwritable when its disk is full."""
    try:
        yield
    except StoreError as error:
        if error.finding == "store.full":
            raise JournalUnwritable(f"the units' store cannot be written: {error.message}", hint=error.hint) from error
        raise UnitsAway(f"the units' store: {error.message}", hint=error.hint) from error
