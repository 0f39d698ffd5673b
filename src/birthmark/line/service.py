# SPDX-License-Identifier: Apache-2.0
"""The line's use cases: personalise a panel, and deliver what earlier panels have left."""

import logging
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError, ConfigError, StoreError
from birthmark.core.line_events import LineEvent
from birthmark.core.work import Holder
from birthmark.evidence.ear import ResultSigners
from birthmark.evidence.endorsements import Endorsements
from birthmark.line.births import Rig
from birthmark.line.config import Position
from birthmark.line.decisions import Decisions
from birthmark.line.duty import Duty
from birthmark.line.errors import JournalUnwritable
from birthmark.line.events import Events
from birthmark.line.fixture.places import FixturePower, switch_off
from birthmark.line.fixture.power import AlwaysOn, Power
from birthmark.line.fixture.sharing import Shared
from birthmark.line.hold import Holds
from birthmark.line.interlock import Interlock, Unlocked
from birthmark.line.journal import Desk, standing_in, writable
from birthmark.line.leases import Leases
from birthmark.line.observation import Rules
from birthmark.line.outbox import Outbox
from birthmark.line.owed import tell_owed
from birthmark.line.panel import Panel, Verdict
from birthmark.line.ports import Authority, Destination, LineStore, OpenChip, Stopwatch, UnitStore
from birthmark.line.pressure import Pressure, admit
from birthmark.line.recipe import Recipe
from birthmark.line.retention import Retention, UnitRetention
from birthmark.line.sequence import Station
from birthmark.line.standing import Standing
from birthmark.line.telling import Teller, telling_holds
from birthmark.line.units import UnitLimits
from birthmark.pki.paths import TrustAnchors
from birthmark.silicon.port import Algorithm

_RUN_ID_BYTES = 8
PRUNE_UNITS_S = 60.0
"""How often at most the units' store is rid of what need not be kept."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PanelReport:
    """A finished panel. `outbox` counts the events that still wait for a destination, `parked` the refused ones."""

    verdicts: tuple[Verdict, ...]
    panel_s: float
    outbox: int
    parked: int

    @property
    def passed(self) -> int:
        """Return how many boards may go on."""
        return sum(verdict.passed for verdict in self.verdicts)

    @property
    def failed(self) -> int:
        """Return how many boards may not go on; skipped positions are not among them."""
        return sum(verdict.failed for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class LineParts:
    """What a rig's configuration stands for, open."""

    rig: Rig
    recipe: Recipe
    trust: TrustAnchors
    endorsements: Endorsements
    result_signers: ResultSigners
    store: LineStore
    units: UnitStore
    limits: UnitLimits
    authority: Authority
    destinations: Mapping[str, Destination]
    outbox: Outbox
    pressure: Pressure
    retention: Retention
    unit_retention: UnitRetention
    hold_retry_s: float
    hold_limit_s: float | None
    power: Power = field(default_factory=AlwaysOn)
    interlock: Interlock = field(default_factory=Unlocked)
    shared: Shared = field(default_factory=Shared)


class Line:
    """One rig, ready for one panel after the other. Used by one thread."""

    def __init__(
        self, parts: LineParts, events: Events, open_chip: OpenChip, clock: Clock, stopwatch: Stopwatch
    ) -> None:
        self.parts = parts
        self.events = events
        self._open_chip = open_chip
        self._clock = clock
        self._stopwatch = stopwatch
        self._prune_at_s = 0.0
        self._duty = Duty(parts.rig, clock)
        self._patient = True
        self._holds: Holds | None = None

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        """
        Tell the factory that the rig takes panels, and deliver what waits, as long as the block runs.

        What an earlier process of the rig has left open, because it was killed, is ended first.

        Raises:
            JournalUnwritable: it could not be told; no board was touched.

        """
        self._keep(self._duty.begins(standing_in(self.parts.store)))
        self.parts.outbox.start()
        try:
            yield
        finally:
            self.tell_owed_if_it_can_be()
            self._keep_if_it_can_be(self._duty.ends)

    def tell_owed_if_it_can_be(self) -> None:
        """Tell the units' store what it is owed of earlier panels; what it cannot be told now it is told later."""
        with suppress(BirthmarkError):  # it was told in the log when it came about
            tell_owed(self.parts.store, self.parts.units, self.parts.limits)

    def _keep_if_it_can_be(self, told: Callable[[Standing], tuple[LineEvent, ...]]) -> None:
        try:
            self._keep(told(standing_in(self.parts.store)))
        except JournalUnwritable as error:
            _log.error("an end is not in the outbox, and told at the rig's next start: %s", error)

    def _keep(self, events: tuple[LineEvent, ...]) -> None:
        with writable():
            self.parts.store.journal((), events)

    def run(self, positions: Sequence[Position], operator: str = "") -> tuple[tuple[Verdict, ...], float]:
        """
        Return one verdict per position, and the seconds from the boards being offered to the last verdict.

        `operator` is who works at the rig now, where that is another one than the configuration says.

        Raises:
            JournalUnwritable: the disk is nearly full; no board was touched.
            UnitsAway: the rigs' store of units does not answer; no board was touched.
            AuthorityRefused: the CA refuses this rig; no board was touched.
            HoldEnded: the CA was away, the MES behind, or the interlock unanswered, for too long; no board was touched.
            SupplyAway, SupplyRefused: what feeds the boards does not answer; no board was touched.
            ConfigError: it does not feed all of them; no board was touched.

        """
        with writable():
            self.parts.store.require_room()
        self.tell_owed_if_it_can_be()
        Decisions(self.parts.rig, self.parts.units, self.parts.store).tell()
        places = [number for number, position in enumerate(positions, 1) if not position.bad]
        self.parts.power.check(places)
        try:
            return self._run(positions, operator)
        except BaseException:
            # Its threads have come to their ends: what they told stands before this.
            self._keep_if_it_can_be(self._duty.breaks_off)
            raise
        finally:
            # Also what an ended run has left on: its threads have come to their ends by now.
            for place in places:
                switch_off(self.parts.power, place)

    def wait_no_more(self) -> None:
        """
        Let no run wait for CA, MES or interlock any more: it is over with HoldEnded, or finished where nothing is away.

        For the present run and all that come. May be called by any thread.
        """
        self._patient = False
        if self._holds is not None:
            self._holds.wait_no_more()

    def _run(self, positions: Sequence[Position], operator: str) -> tuple[tuple[Verdict, ...], float]:
        # Two threads for each board: its own, and one that fetches ahead for it.
        with ThreadPoolExecutor(2 * len(positions)) as threads:
            station = self._station(threads, operator)
            self.parts.authority.warm(sum(not position.bad for position in positions), threads)
            done = Panel(station, self._open_chip, threads).run(positions)
        self._prune()
        return done

    def _prune(self) -> None:
        parts = self.parts
        prune(lambda: parts.store.prune(parts.retention.at(self._clock())))
        # The rigs share it, and few rows a minute go: not after each panel of each rig.
        if self._stopwatch() >= self._prune_at_s:
            self._prune_at_s = self._stopwatch() + PRUNE_UNITS_S
            prune(lambda: parts.units.prune(parts.unit_retention.at(self._clock())))

    def ended(self, verdicts: tuple[Verdict, ...], panel_s: float, waiting: int) -> PanelReport:
        """Announce and return the report of a panel, of whose births so many wait to be delivered."""
        report = PanelReport(verdicts, panel_s, waiting, self.parts.store.parked_count())
        self.events.emit(
            event="panel.end",
            panel_s=round(panel_s, 6),
            passed=report.passed,
            failed=report.failed,
            outbox=report.outbox,
            parked=report.parked,
        )
        return report

    def _station(self, threads: ThreadPoolExecutor, operator: str) -> Station:
        parts, run = self.parts, secrets.token_hex(_RUN_ID_BYTES)
        rig = replace(parts.rig, operator=operator or parts.rig.operator)
        teller = Teller(rig, run, str(uuid.uuid4()), self._clock, parts.recipe.sha256)
        holds = Holds(self._telling(teller), self._stopwatch, parts.hold_retry_s, parts.hold_limit_s)
        self._holds = holds
        if not self._patient:
            holds.wait_no_more()
        mes_hold = admit(parts.pressure, parts.store, holds, self.events, self._clock)
        teller = replace(teller, mes_hold=mes_hold)
        issuing = holds.call("", parts.authority.issuing_certificates)
        return Station(
            rig=rig,
            authority=parts.authority,
            rules=Rules(parts.trust, issuing, parts.endorsements, parts.result_signers),
            desk=Desk(teller, parts.store, self.events, self._clock, self._stopwatch),
            holds=holds,
            leases=Leases(parts.units, Holder(parts.rig.name, run), parts.limits, self._stopwatch, parts.store.owe),
            recipe=parts.recipe,
            key_type=_agreed(holds.call("", parts.authority.key_type), parts.recipe),
            background=threads,
            power=FixturePower(parts.power, parts.recipe.power, holds.pause),
            interlock=parts.interlock,
            shared=parts.shared,
        )

    def _telling(self, teller: Teller) -> Events:
        """Return events whose holds the factory hears of too."""
        pass_on = telling_holds(
            lambda event: self.events.emit(**event), teller, lambda: standing_in(self.parts.store), self._keep
        )
        return Events(pass_on)


def _agreed(wanted: Algorithm, recipe: Recipe) -> Algorithm:
    """Return the type of key that the CA wants. Raises ConfigError: it is not the recipe's."""
    if recipe.algorithm is not None and recipe.algorithm is not wanted:
        raise ConfigError(
            f"the recipe says {recipe.algorithm.value}, the CA wants {wanted.value} under order {recipe.order}",
            hint="let product security and the recipe agree",
        )
    return wanted


def personalise(line: Line, positions: Sequence[Position], deliver_wait_s: float) -> PanelReport:
    """
    Return the report of one panel, after its events have had `deliver_wait_s` seconds to be delivered.

    They are delivered in the background meanwhile; a destination that is away holds up no board.

    Raises what `Line.run` does.

    """
    try:
        with line.on_duty():
            verdicts, panel_s = line.run(positions)
    except BaseException:
        line.parts.outbox.stop()
        raise
    return line.ended(verdicts, panel_s, line.parts.outbox.finish(deliver_wait_s))


def prune(take: Callable[[], int]) -> None:
    """Take away some of what need not be kept. What cannot be done now is done after the next panel."""
    try:
        take()
    except StoreError as error:
        _log.warning("nothing was taken away: %s", error)


def deliver(store: LineStore, outbox: Outbox, destinations: Sequence[str]) -> int:
    """
    Offer every waiting parcel once, and the parked ones again; return how many still wait.

    Parked parcels are offered again because a person who calls this may have mended what they were refused for.
    """
    for destination in destinations:
        store.unpark(destination)
        try:
            outbox.drain(destination)
        except BirthmarkError as error:
            _log.warning("%s waits: %s: %s", destination, error.finding, error)
    return store.waiting()
