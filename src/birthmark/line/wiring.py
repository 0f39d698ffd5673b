# SPDX-License-Identifier: Apache-2.0
"""Builds the line from its configuration: the only place that chooses store, chips, transport and destinations."""

import fcntl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from birthmark.core.clock import system_clock
from birthmark.core.config import read_file
from birthmark.core.errors import BirthmarkError, ConfigError, StoreError
from birthmark.core.secret_files import read_secret
from birthmark.evidence.ear import NO_SIGNERS, ResultSigners, read_signers
from birthmark.evidence.endorsements import read_endorsements
from birthmark.line.authority import WireAuthority
from birthmark.line.births import Rig, Whereabouts
from birthmark.line.config import POSITIONS_MAX, Position, RigConfig, load_rig, people_of
from birthmark.line.credential import put_in_place
from birthmark.line.decisions import Decisions
from birthmark.line.ending import ended_by_sigterm
from birthmark.line.errors import RigBusy, ScanRefused, UnitsAway
from birthmark.line.events import Events
from birthmark.line.fixture.power import Power
from birthmark.line.fixture.sharing import Shared
from birthmark.line.fixture.wiring import open_power
from birthmark.line.journal import WRONG_FILE, last_teller, writable
from birthmark.line.lead import UnitOffice
from birthmark.line.mes import wiring as mes
from birthmark.line.outbox import Outbox
from birthmark.line.outbox_office import OutboxOffice
from birthmark.line.owed import tell_owed
from birthmark.line.people import People
from birthmark.line.periods import read_shifts
from birthmark.line.ports import Emit, Event, LineStore, NetworkDestination, UnitStore
from birthmark.line.recipe import Recipe, load_recipe
from birthmark.line.retention import UnitRetention
from birthmark.line.service import Line, LineParts, personalise
from birthmark.line.service import deliver as deliver_all
from birthmark.line.station import ca_watch, order_watch
from birthmark.line.station.desk import Clocks, StationDesk
from birthmark.line.station.lead_desk import LeadDesk
from birthmark.line.station.overview import Overview
from birthmark.line.station.pace import RECALLED
from birthmark.line.station.reader import ScanDevice
from birthmark.line.station.scan import Scanner
from birthmark.line.units import UnitLimits
from birthmark.line.wire_units import ANSWER_MAX_BYTES, ANSWER_TIMEOUT_S, WireUnits
from birthmark.line.yield_office import YieldOffice
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.paths import TrustAnchors, read_trust
from birthmark.silicon.address import open_chip
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.units_sqlite import UnitsSQLite

EXIT_DONE = 0
EXIT_FAILED_BOARDS = 1
BACKLOG_S = 0.5
"""How often the screen's number of waiting births is renewed."""
UNITS_SUFFIX = ".units"
LOCK_SUFFIX = ".lock"


def run_panel(rig: RigConfig, positions: Sequence[Position], emit: Emit) -> int:
    """
    Personalise one panel and return the exit code: 0 when no board failed, 1 otherwise.

    Raises:
        ConfigError: a file that cannot be used; no board was touched.
        JournalUnwritable: the database cannot be opened, or its disk is nearly full; no board was touched.
        StoreError: the database is another program's or release's; no board was touched.
        RigBusy: another run of this rig is under way; no board was touched.
        AuthorityRefused: the CA refuses this rig; no board was touched.
        SupplyAway, SupplyRefused: what feeds the boards does not answer; no board was touched.

    SIGTERM lets each board end its step, takes the power away, and then ends the process.
    """
    with ended_by_sigterm(), opened_line(rig, emit) as line:
        report = personalise(line, positions, rig.deliver_wait_s)
    return EXIT_FAILED_BOARDS if report.failed else EXIT_DONE


@contextmanager
def opened_line(rig: RigConfig, emit: Emit) -> Iterator[Line]:
    """Open everything of a rig, for one panel after the other. Raises as `run_panel`."""
    events = Events(emit)
    # The supply last: to open it takes the power away from boards that another run might be at.
    with _opened(rig, events) as parts, _alone(rig), closing(_power(rig, parts.recipe)) as power:
        yield Line(replace(parts, power=power), events, open_chip, system_clock, time.monotonic)


@dataclass(frozen=True, slots=True)
class OpenStation:
    """A rig's station, open: what its page and its REST interface stand on."""

    rig: RigConfig
    recipe: Recipe
    people: People
    desk: StationDesk
    leads: LeadDesk
    software: str
    overview: Overview


@contextmanager
def opened_station(config_path: Path, emit: Emit) -> Iterator[OpenStation]:
    """
    Open a rig's station: it runs panels, and delivers what they leave, as long as the block runs.

    Raises what `run_panel` does, and ConfigError for a rig.toml without a fixture.
    """
    rig = load_rig(config_path)
    if not 1 <= len(rig.fixture) <= POSITIONS_MAX:
        raise ConfigError(
            f"{config_path}: {len(rig.fixture)} places in the fixture",
            hint=f"name each place's chip: [[fixture]] chip = ..., 1 to {POSITIONS_MAX} times",
        )
    people = People(people_of(rig, config_path), time.monotonic)

    def heard(event: Event) -> None:
        emit(event)
        desk.heard(event)

    with opened_line(rig, heard) as line:

        def run_panel(positions: Sequence[Position], operator: str) -> None:
            verdicts, panel_s = line.run(positions, operator)
            line.ended(verdicts, panel_s, line.parts.store.waiting())

        clocks = Clocks(system_clock, time.monotonic)
        desk = StationDesk([place.chip for place in rig.fixture], _scanner(rig), people, run_panel, clocks)
        told = Decisions(line.parts.rig, line.parts.units, line.parts.store)
        leads = LeadDesk(UnitOffice(line.parts.units, rig.rig, told.tell), people, desk)
        try:
            with _overview(rig, line.parts) as overview:
                desk.recall(overview.yields.last(rig.rig, RECALLED))
                with line.on_duty(), desk.open(), _scan_device(rig, desk), _backlog(line, desk):
                    try:
                        yield OpenStation(
                            rig, line.parts.recipe, people, desk, leads, line.parts.rig.software, overview
                        )
                    finally:
                        line.wait_no_more()
        finally:
            line.parts.outbox.finish(rig.deliver_wait_s)


@contextmanager
def _overview(rig: RigConfig, parts: LineParts) -> Iterator[Overview]:
    """Open what the lead page reads, beside the line: a long look of somebody holds up no board."""
    context = client_context(read_file(rig.trust), rig.certificate, rig.key)
    with (
        closing(HTTPTransport(rig.ca_url, context, ca_watch.TIMEOUT_S)) as transport,
        YieldOffice(opened_units(rig), read_shifts(rig.shifts), system_clock) as yields,
    ):
        ca = ca_watch.CAWatch(transport, system_clock, time.monotonic)
        order = parts.recipe.order
        progress = order_watch.OrderWatch(transport, order, time.monotonic)
        yield Overview(yields, OutboxOffice(parts.store, system_clock), ca, order, progress)


@contextmanager
def _backlog(line: Line, desk: StationDesk) -> Iterator[None]:
    """Let the desk know what waits in the outbox, and the units' store what it is owed, as long as the block runs."""
    store = line.parts.store
    ending = threading.Event()

    def watch() -> None:
        while not ending.wait(BACKLOG_S):
            with suppress(StoreError):  # a panel says so, and stops
                desk.backlog_is(store.waiting(), store.parked_count())
            line.tell_owed_if_it_can_be()

    thread = threading.Thread(target=watch, name="backlog")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _scan_device(rig: RigConfig, desk: StationDesk) -> AbstractContextManager[None]:
    if rig.scanner.device is None:
        return nullcontext()

    def take(typed: str) -> None:
        with suppress(ScanRefused):  # the floor says so already
            desk.scan(typed)

    return ScanDevice(rig.scanner.device, take, desk.reader_is).reading()


def _scanner(rig: RigConfig) -> Scanner:
    return Scanner(rig.scanner.prefix, rig.scanner.suffix, rig.scanner.badge_prefix)


def open_units(config_path: Path) -> UnitOffice:
    """Open what the rigs know of their units, for a lead beside the rig. Raises ConfigError, UnitsAway."""
    rig = load_rig(config_path)
    units = opened_units(rig)

    def tell() -> None:
        with writable(), LineSQLite(rig.database, mes.routes(rig)) as store:
            Decisions(_signer(rig, load_recipe(rig.recipe)), units, store).tell()

    return UnitOffice(units, rig.rig, tell)


def open_yields(config_path: Path) -> YieldOffice:
    """Open what the rigs' attempts came to, for a person beside the rig. Raises ConfigError, UnitsAway."""
    rig = load_rig(config_path)
    return YieldOffice(opened_units(rig), read_shifts(rig.shifts), system_clock)


@contextmanager
def opened_outbox(config_path: Path) -> Iterator[OutboxOffice]:
    """Open a rig's outbox for a person, also beside the rig at work. Raises ConfigError, JournalUnwritable."""
    rig = load_rig(config_path)
    with writable(), LineSQLite(rig.database, mes.routes(rig)) as store:
        yield OutboxOffice(store, system_clock)


def deliver(config_path: Path, emit: Emit) -> int:
    """
    Offer everything in the rig's outbox to its destinations and return how many parcels still wait.

    `emit` hears of what is refused.

    Raises:
        ConfigError: a file that cannot be used.
        JournalUnwritable: the database cannot be opened.
        StoreError: it cannot be written.

    """
    with _opened(load_rig(config_path), Events(emit)) as parts:
        with suppress(BirthmarkError):  # another run tells it
            tell_owed(parts.store, parts.units, parts.limits)
        return deliver_all(parts.store, parts.outbox, tuple(parts.destinations))


@contextmanager
def _alone(rig: RigConfig) -> Iterator[None]:
    """Be this rig's only run: the leases of an earlier one may be taken over at once. Raises RigBusy."""
    path = rig.database.with_suffix(LOCK_SUFFIX)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RigBusy(f"another run of {rig.rig} is under way", hint="wait for its end") from None
        yield


@contextmanager
def _opened(rig: RigConfig, events: Events) -> Iterator[LineParts]:
    put_in_place(rig)
    trust_pem = read_file(rig.trust)
    trust = _trust(rig, trust_pem)
    context = client_context(trust_pem, rig.certificate, rig.key)
    recipe = load_recipe(rig.recipe)
    signer, endorsements = _signer(rig, recipe), read_endorsements(rig.endorsements, read_file)
    with ExitStack() as stack:
        transport = stack.enter_context(closing(HTTPTransport(rig.ca_url, context, rig.ca_timeout_s)))
        destinations = mes.destinations(rig, transport)
        # When all files have been read: a rig with a wrong file leaves no empty database behind.
        with writable():
            store = stack.enter_context(LineSQLite(rig.database, mes.routes(rig)))
        _demand_own(store, rig)
        units = stack.enter_context(closing(opened_units(rig)))
        for destination in destinations.values():
            stack.callback(destination.close)
            if isinstance(destination, NetworkDestination):
                destination.start()
        yield LineParts(
            interlock=stack.enter_context(closing(mes.interlock(rig))),
            shared=Shared({number: place.shares for number, place in enumerate(rig.fixture, 1) if place.shares}),
            rig=signer,
            trust=trust,
            endorsements=endorsements,
            result_signers=_result_signers(rig),
            store=store,
            units=units,
            recipe=recipe,
            limits=UnitLimits(recipe.failures, recipe.interruptions, rig.lease_s),
            authority=WireAuthority(transport, recipe.order),
            destinations=destinations,
            outbox=Outbox(
                store,
                destinations,
                events,
                clock=system_clock,
                stopwatch=time.monotonic,
                retry_s=rig.deliver_retry_s,
            ),
            pressure=mes.pressure(rig),
            retention=mes.retention(rig),
            unit_retention=UnitRetention(rig.keep_attempts_days, rig.keep_units_days),
            hold_retry_s=rig.hold_retry_s,
            hold_limit_s=rig.hold_limit_s,
        )


def _demand_own(store: LineStore, rig: RigConfig) -> None:
    """Pass a database in which no other rig has told anything last. Raises ConfigError, JournalUnwritable."""
    teller = last_teller(store)
    if teller not in {"", rig.rig}:
        raise ConfigError(
            f"{rig.database} is the journal of {teller}, not of {rig.rig}",
            hint="each rig has a database of its own; a rig with a new name begins a new one",
        )


def _power(rig: RigConfig, recipe: Recipe) -> Power:
    outlets = {number: place.power for number, place in enumerate(rig.fixture, 1) if place.power}
    return open_power(rig.power, outlets, recipe.power)


def opened_units(rig: RigConfig) -> UnitStore:
    """Return what the rigs know together of their units. Raises ConfigError, UnitsAway; StoreError: it is no such."""
    try:
        if rig.units is not None:
            return _units_at_the_ca(rig)
        if rig.units_dsn_file is None:
            return UnitsSQLite(rig.units_database or rig.database.with_suffix(UNITS_SUFFIX))
        return _shared_units(rig.units_dsn_file)
    except StoreError as error:
        if error.finding in WRONG_FILE:
            raise
        raise UnitsAway(f"the units' store: {error.message}", hint=error.hint) from error


def _units_at_the_ca(rig: RigConfig) -> UnitStore:
    put_in_place(rig)
    context = client_context(read_file(rig.trust), rig.certificate, rig.key)
    units = WireUnits(HTTPTransport(rig.ca_url, context, min(rig.ca_timeout_s, ANSWER_TIMEOUT_S), ANSWER_MAX_BYTES))
    try:
        units.sharing("", "")  # so that a rig whose CA is away, or keeps no units, says so before its first board
    except BirthmarkError:
        units.close()
        raise
    return units


def _shared_units(dsn_file: Path) -> UnitStore:
    try:
        from birthmark.stores.units_postgres import UnitsPostgreSQL  # noqa: PLC0415 psycopg is in the extra "line" only
    except ImportError as error:
        raise ConfigError(f"units_dsn_file: {error}", hint="install birthmark[line]") from error
    return UnitsPostgreSQL(read_secret(dsn_file).decode().strip())


def _trust(rig: RigConfig, trust_pem: bytes) -> TrustAnchors:
    """Return what the devices' certificates may chain to: what TLS trusts, and what `device_trust` adds."""
    if rig.device_trust is None:
        return read_trust(trust_pem, str(rig.trust))
    return read_trust(trust_pem + b"\n" + read_file(rig.device_trust), str(rig.device_trust))


def _result_signers(rig: RigConfig) -> ResultSigners:
    if rig.result_signers is None:
        return NO_SIGNERS
    return read_signers(read_file(rig.result_signers), str(rig.result_signers))


def _signer(rig: RigConfig, recipe: Recipe) -> Rig:
    try:
        key = load_pem_private_key(read_file(rig.key), None)
        certificate = x509.load_pem_x509_certificate(read_file(rig.certificate))
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{rig.certificate}, {rig.key}: not a PEM certificate and key") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{rig.key}: a rig signs with a P-256 key")
    told = rig.traceability
    return Rig(
        name=rig.rig,
        operator=rig.operator,
        product=recipe.product,
        order=recipe.order,
        software=f"birthmark {version('birthmark')}",
        certificate=certificate,
        key=key,
        where=Whereabouts(told.site, told.line, told.station, told.fixture),
    )
