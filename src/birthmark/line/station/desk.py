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
from dataclasses import dataclass

from birthmark.core.attempts import Attempt
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.line.config import Position
from birthmark.line.errors import ScanRefused
from birthmark.line.people import People, Role
from birthmark.line.ports import Event, Stopwatch
from birthmark.line.station import floor as floors
from birthmark.line.station.calls import CalledPanel, Calls, PanelCall
from birthmark.line.station.floor import Floor, Look, Phase
from birthmark.line.station.pace import Pace, PaceNow
from birthmark.line.station.scan import BadgeScan, Scan, Scanner, read_scan, shown

_log = logging.getLogger(__name__)

# Runs one panel under an operator's name; its events come to `StationDesk.heard`. Raises BirthmarkError.
RunPanel = Callable[[Sequence[Position], str], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """All that can be seen of a station at a moment."""

    floor: Floor
    pace: PaceNow
    role: Role | None
    """What the one who is logged in may do."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The time of day, and seconds that never go back."""

    clock: Clock
    stopwatch: Stopwatch


class StationDesk:
    """One station. `chips` has the address of each place of the fixture, in its order."""

    def __init__(
        self, chips: Sequence[str], scanner: Scanner, people: People, run_panel: RunPanel, clocks: Clocks
    ) -> None:
        self._chips = tuple(chips)
        self._scanner = scanner
        self._people = people
        self._run_panel = run_panel
        self._clocks = clocks
        self._changed = threading.Condition()
        self._floor = floors.empty(len(self._chips))
        self._pace = Pace()
        self._calls = Calls()
        self._ending = False

    def scan(self, typed: str) -> Floor:
        """
        Return the floor after a scan; a panel that it completes is begun.

        Raises:
            ScanRefused: the floor says why too.

        """
        with self._changed:
            try:
                self._demand_open()
                floor = floors.scanned(self._floor, self._known(read_scan(typed, self._scanner)))
            except ScanRefused as error:
                self._put(floors.refused(self._floor, error, shown(typed)))
                raise
            self._put(floor)
            return floor

    def call(self, call: PanelCall) -> CalledPanel:
        """
        Return the panel that a program asks for; it is begun, unless a call with this key has begun it before.

        Raises:
            CallRefused, ScanRefused: nothing has changed. The screen does not say so: it is the program that is told.

        """
        with self._changed:
            called = self._calls.known(call)
            if called is None:
                self._demand_open()
                if call.operator:
                    self._known(BadgeScan(call.operator))
                floor = floors.offered(self._floor, call.operator, call.units)
                called = self._calls.begin(call, len(floor.places), self._clocks.clock())
                self._put(floor)
            return called

    def panel(self, key: str, patience_s: float = 0.0) -> CalledPanel:
        """Return a program's panel once it has ended, or after so long. Raises CallRefused: there is no such panel."""
        with self._changed:
            self._changed.wait_for(lambda: self._ending or not self._calls.panel(key).running, patience_s)
            return self._calls.panel(key)

    def recall(self, attempts: Sequence[Attempt]) -> None:
        """Take what the rig did before the station was switched on, newest first."""
        with self._changed:
            self._pace.recall(reversed(attempts), self._clocks.clock(), self._clocks.stopwatch())

    def shown(self) -> Shown:
        """Return what is to be seen now."""
        with self._changed:
            role = self._people.role_of(self._floor.operator) if self._floor.operator else None
            return Shown(self._floor, self._pace.now(self._clocks.stopwatch()), role)

    def shown_after(self, version: int, patience_s: float) -> Shown:
        """Return what is to be seen once the floor is newer than a version, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._floor.version > version or self._ending, patience_s)
        return self.shown()

    def heard(self, event: Event) -> None:
        """Take an event of the run."""
        with self._changed:
            self._pace.heard(event, self._clocks.clock(), self._clocks.stopwatch())
            self._calls.heard(event)
            self._put(floors.happened(self._floor, event))

    def decided(self, unit: str, words: str) -> None:
        """Show what a lead has decided about a unit."""
        with self._changed:
            self._put(floors.decided(self._floor, unit, words))

    def backlog_is(self, outbox: int, parked: int) -> None:
        """Show how many births wait to be delivered, and how many were refused."""
        with self._changed:
            self._put(floors.backlog_is(self._floor, outbox, parked))

    def reader_is(self, trouble: str) -> None:
        """Show what is wrong with the rig's own scanner; "" when it is well."""
        with self._changed:
            self._put(floors.reader_is(self._floor, trouble))

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
                self._stopped(str(error), error.finding)
            except Exception:  # noqa: BLE001 the station must go on, whatever happened to this panel
                _log.exception("a panel ended with an error that nobody foresaw")
                self._stopped("the panel ended with an error that nobody foresaw: see the log", "internal")

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

    def _stopped(self, text: str, finding: str) -> None:
        with self._changed:
            self._calls.stopped(finding, text)
            self._put(floors.stopped(self._floor, text, finding))

    def _demand_open(self) -> None:
        if self._ending:
            raise ScanRefused("the station is being switched off", finding="line.scan.ending")

    def _known(self, scan: Scan) -> Scan:
        if isinstance(scan, BadgeScan) and self._people.role_of(scan.name) is None:
            raise ScanRefused(
                f"nobody has the badge {scan.name}", hint="rig.toml names the people", finding="line.scan.stranger"
            )
        return scan

    def _put(self, floor: Floor) -> None:
        if floor.phase is not Phase.RUNNING:
            self._pace.ended()
        elif self._floor.phase is not Phase.RUNNING:
            self._pace.began(self._clocks.stopwatch())
        self._floor = floor
        self._changed.notify_all()
