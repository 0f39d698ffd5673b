# SPDX-License-Identifier: Apache-2.0
"""
The outbox: every event reaches every destination that wants it, in order, at least once.

What is delivered is marked afterwards, some at a time, so a crash in between delivers again under the same keys and
never not at all. A destination that is away keeps its parcels waiting; a parcel that is refused for good is parked with
an alarm and holds up nobody.
"""

import logging
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from birthmark.core.clock import Clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel
from birthmark.core.errors import BirthmarkError, DecodeError, StoreError
from birthmark.line.events import Events
from birthmark.line.ports import Destination, LineStore, Stopwatch

AT_ONCE: Final = 64
"""Parcels that are read, and marked as delivered, in one go."""
PAUSE_MAX_S: Final = 3600.0
"""A destination that asks for more patience is asked again after so long."""
_log = logging.getLogger(__name__)


class Outbox:
    """Delivers what waits in the store. Each destination has a thread of its own while the outbox runs."""

    def __init__(
        self,
        store: LineStore,
        destinations: Mapping[str, Destination],
        events: Events,
        *,
        clock: Clock,
        stopwatch: Stopwatch,
        retry_s: float,
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._events = events
        self._clock = clock
        self._stopwatch = stopwatch
        self._retry_s = retry_s
        self._wakes = {name: threading.Event() for name in destinations}
        self._ending = threading.Event()
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Deliver in the background from now on, beginning with what earlier runs have left."""
        for name in self._destinations:
            thread = threading.Thread(target=self._keep_delivering, args=(name,), name=f"outbox-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finish(self, wait_s: float) -> int:
        """
        Give every destination one more try, for at most `wait_s` seconds in all; return how many parcels still wait.

        A destination that has asked for patience gets none.

        Raises:
            StoreError: the store cannot be asked.

        """
        self._end()
        deadline = self._stopwatch() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._stopwatch()))
        self._over.set()
        return self._store.waiting()

    def stop(self) -> None:
        """Deliver nothing more. A delivery that is under way is told of no more: its store may be closed by then."""
        self._over.set()
        self._end()

    def _end(self) -> None:
        self._ending.set()
        for wake in self._wakes.values():
            wake.set()

    def drain(self, name: str) -> None:
        """
        Deliver to one destination until nothing waits.

        Raises:
            BirthmarkError: the destination or the store cannot go on now; what is left waits.

        """
        while parcels := self._store.parcels(name, AT_ONCE):
            self._offer_all(parcels)

    def _offer_all(self, parcels: tuple[Parcel, ...]) -> None:
        taken: list[Parcel] = []
        try:
            for parcel in parcels:
                if self._offer(parcel, taken):
                    taken.append(parcel)
        finally:
            self._mark(taken)

    def _offer(self, parcel: Parcel, taken: list[Parcel]) -> bool:
        """Return whether the destination has taken the parcel; `taken` is marked before it is said that one was not."""
        try:
            self._destinations[parcel.destination].deliver(parcel)
        except (DeliveryRefused, DecodeError) as refused:
            self._mark(taken)
            self._park(parcel, refused)
            return False
        except StoreError:
            raise
        except BirthmarkError as deferred:
            self._defer(parcel, deferred, taken)
            raise
        except Exception as error:
            if self._over.is_set():
                raise DeliveryDeferred("the rig has ended", finding="internal") from error
            # It stays first in its row, where a person sees it and can park it.
            _log.exception("an error that nobody foresaw, with event %d for %s", parcel.sequence, parcel.destination)
            foreseen = DeliveryDeferred(f"{type(error).__name__}: see the log", finding="internal")
            self._defer(parcel, foreseen, taken)
            raise foreseen from error
        return True

    def _defer(self, parcel: Parcel, deferred: BirthmarkError, taken: list[Parcel]) -> None:
        self._mark(taken)
        self._store.deferred(parcel, f"{deferred.finding}: {deferred}", self._pause_until(deferred))

    def _mark(self, taken: list[Parcel]) -> None:
        if taken:
            self._store.delivered(taken)
            taken.clear()

    def _park(self, parcel: Parcel, refused: BirthmarkError) -> None:
        self._store.parked(parcel, f"{refused.finding}: {refused}", _text(self._clock()))
        self._events.emit(
            event="alarm",
            what=f"{parcel.destination} refuses event {parcel.sequence}: it is parked",
            destination=parcel.destination,
            sequence=parcel.sequence,
            idempotency_key=parcel.key,
            unit=parcel.unit,
            finding=refused.finding,
            reason=str(refused),
            hint=f"mend the cause, then: birthmark line outbox retry {parcel.destination} {parcel.sequence}",
        )

    def _pause_until(self, deferred: BirthmarkError) -> str:
        wanted_s = deferred.retry_after_s if isinstance(deferred, DeliveryDeferred) else None
        if not wanted_s:
            return ""
        return _text(self._clock() + timedelta(seconds=min(wanted_s, PAUSE_MAX_S)))

    def _keep_delivering(self, name: str) -> None:
        wake = self._wakes[name]
        last_finding = ""
        while True:
            last_try = self._ending.is_set()
            try:
                if not self._patient(name):
                    self.drain(name)
                    last_finding = ""
            except BirthmarkError as error:
                # One line per change: a destination that is away for hours must not fill the log.
                if error.finding != last_finding and not self._over.is_set():
                    _log.warning("%s waits: %s: %s", name, error.finding, error)
                last_finding = error.finding
            if last_try or self._over.is_set():
                return
            wake.wait(self._retry_s)

    def _patient(self, name: str) -> bool:
        """Say whether the destination has asked for patience that is not over; also in an earlier run."""
        until = self._store.pause_until(name)
        return until != "" and self._clock() < datetime.fromisoformat(until)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
