# SPDX-License-Identifier: Apache-2.0
"""
The outbox: every birth reaches every destination, in order, at least once.

What is delivered is marked afterwards, so a crash in between delivers twice under the same key and never not at all.
A destination that is away keeps its parcels waiting; a parcel that is refused for good is parked and holds up nobody.
"""

import logging
import threading
from collections.abc import Mapping

from birthmark.core.delivery import DeliveryRefused, Parcel
from birthmark.core.errors import BirthmarkError, StoreError
from birthmark.line.ports import Destination, LineStore, Stopwatch

_log = logging.getLogger(__name__)


class Outbox:
    """Delivers what waits in the store. Each destination has a thread of its own while the outbox runs."""

    def __init__(
        self, store: LineStore, destinations: Mapping[str, Destination], stopwatch: Stopwatch, retry_s: float
    ) -> None:
        self._store = store
        self._destinations = destinations
        self._stopwatch = stopwatch
        self._retry_s = retry_s
        self._wakes = {name: threading.Event() for name in destinations}
        self._ending = threading.Event()
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

        Raises:
            StoreError: the store cannot be asked.

        """
        self._ending.set()
        for wake in self._wakes.values():
            wake.set()
        deadline = self._stopwatch() + wait_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._stopwatch()))
        return self._store.waiting()

    def drain(self, name: str) -> None:
        """
        Deliver to one destination until nothing waits.

        Raises:
            BirthmarkError: the destination or the store cannot go on now; what is left waits.

        """
        while parcel := self._store.next_parcel(name):
            self._offer(parcel)

    def _offer(self, parcel: Parcel) -> None:
        try:
            self._destinations[parcel.destination].deliver(parcel.birth)
        except DeliveryRefused as refused:
            _log.warning("%s: parked for %s: %s", parcel.birth.unit, parcel.destination, refused.finding)
            self._store.parked(parcel, f"{refused.finding}: {refused}")
        except StoreError:
            raise
        except BirthmarkError as deferred:
            self._store.deferred(parcel, f"{deferred.finding}: {deferred}")
            raise
        else:
            self._store.delivered(parcel)

    def _keep_delivering(self, name: str) -> None:
        wake = self._wakes[name]
        last_finding = ""
        while True:
            last_try = self._ending.is_set()
            try:
                self.drain(name)
                last_finding = ""
            except BirthmarkError as error:
                # One line per change: a destination that is away for hours must not fill the log.
                if error.finding != last_finding:
                    _log.warning("%s waits: %s: %s", name, error.finding, error)
                last_finding = error.finding
            if last_try:
                return
            wake.wait(self._retry_s)
