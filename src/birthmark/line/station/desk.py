# SPDX-License-Identifier: Apache-2.0
"""
The running station: it takes scans at any time, runs one panel after the other, and tells whoever watches.

Scans and watchers come from any thread; panels are run by one thread of the desk's own. What the desk knows is the
floor; whatever it forgets when it is switched off stands in the rig's journal and in the record of the units.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from birthmark.core.errors import BirthmarkError
from birthmark.line.config import Position
from birthmark.line.errors import ScanRefused
from birthmark.line.ports import Event
from birthmark.line.station.floor import Floor, Look, Phase, empty, happened, said, scanned, stopped
from birthmark.line.station.scan import Scanner, read_scan

_log = logging.getLogger(__name__)

# Runs one panel under an operator's name; its events come to `StationDesk.heard`. Raises BirthmarkError.
RunPanel = Callable[[Sequence[Position], str], None]


class StationDesk:
    """One station. `chips` has the address of each place of the fixture, in its order."""

    def __init__(self, chips: Sequence[str], scanner: Scanner, run_panel: RunPanel) -> None:
        self._chips = tuple(chips)
        self._scanner = scanner
        self._run_panel = run_panel
        self._changed = threading.Condition()
        self._floor = empty(len(self._chips))
        self._ending = False

    def scan(self, typed: str) -> Floor:
        """
        Return the floor after a scan; a panel that it completes is begun.

        Raises:
            ScanRefused: the floor says why too.

        """
        with self._changed:
            try:
                floor = scanned(self._floor, read_scan(typed, self._scanner))
            except ScanRefused as refused:
                self._put(said(self._floor, str(refused)))
                raise
            self._put(floor)
            return floor

    def floor(self) -> Floor:
        """Return what is to be shown now."""
        with self._changed:
            return self._floor

    def changed_since(self, version: int, patience_s: float) -> Floor:
        """Return the floor once it is newer than a version, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._floor.version > version or self._ending, patience_s)
            return self._floor

    def heard(self, event: Event) -> None:
        """Take an event of the run."""
        with self._changed:
            self._put(happened(self._floor, event))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Run panels as long as the block runs; the one that is under way is finished."""
        thread = threading.Thread(target=self._keep_running, name="station")
        thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._ending = True
                self._changed.notify_all()
            thread.join()

    def _keep_running(self) -> None:
        while (floor := self._awaited()) is not None:
            try:
                self._run_panel(self._positions(floor), floor.operator)
            except BirthmarkError as error:
                self._tell(str(error))
            except Exception:  # noqa: BLE001 the station must go on, whatever happened to this panel
                _log.exception("a panel ended with an error that nobody foresaw")
                self._tell("the panel ended with an error that nobody foresaw: see the log")

    def _awaited(self) -> Floor | None:
        """Return the floor when a panel is to be run, or None when the station closes."""
        with self._changed:
            self._changed.wait_for(lambda: self._floor.phase is Phase.RUNNING or self._ending)
            return self._floor if self._floor.phase is Phase.RUNNING else None

    def _positions(self, floor: Floor) -> tuple[Position, ...]:
        return tuple(
            Position(unit=place.unit, chip=chip) if place.look is Look.SCANNED else Position(bad=True)
            for place, chip in zip(floor.places, self._chips, strict=True)
        )

    def _tell(self, message: str) -> None:
        with self._changed:
            self._put(stopped(self._floor, message))

    def _put(self, floor: Floor) -> None:
        self._floor = floor
        self._changed.notify_all()
