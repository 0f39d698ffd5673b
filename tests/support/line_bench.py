# SPDX-License-Identifier: Apache-2.0
"""A rig on the bench: the line's own code over a simulated chip, a store on disk, and a CA made of the forge."""

import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509 import ObjectIdentifier

from birthmark.core.delivery import Wants
from birthmark.core.ids import fingerprint
from birthmark.core.line_events import LineEvent, UnitBorn
from birthmark.core.work import Holder
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.ear import NO_SIGNERS
from birthmark.evidence.verdict import require
from birthmark.line.births import Rig
from birthmark.line.config import Position
from birthmark.line.errors import AuthorityRefused
from birthmark.line.events import Events
from birthmark.line.hold import Holds
from birthmark.line.journal import Desk
from birthmark.line.leases import Leases
from birthmark.line.observation import Rules
from birthmark.line.outbox import Outbox
from birthmark.line.panel import Panel, Verdict
from birthmark.line.ports import CertificateState, Destination, Event, OpenChip
from birthmark.line.pressure import MESPolicy, Pressure
from birthmark.line.recipe import Recipe
from birthmark.line.retention import Retention, UnitRetention
from birthmark.line.retries import DEFAULT_RETRIES
from birthmark.line.sequence import Station
from birthmark.line.service import Line, LineParts
from birthmark.line.telling import Teller
from birthmark.line.units import UnitLimits
from birthmark.pki.authorities import ChipName
from birthmark.pki.cmw import cmw_extension
from birthmark.pki.csr import read_csr
from birthmark.pki.names import unit_serial_of
from birthmark.pki.paths import TrustAnchors
from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.port import Algorithm, SecureElement
from birthmark.silicon.simulator.armed import ANY_INSTRUCTION, MESSAGE, Fault
from birthmark.silicon.simulator.maker import inject
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.units_sqlite import UnitsSQLite
from birthmark.testing.forge import APDU, Forge
from support.births import new_rig
from support.chip_buses import LocalBus

MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
UNIT = "BM-000001"
ORDER = "order-1"
ROUTES = {"ca": Wants.BIRTHS, "mes-file": Wants.EVERYTHING}
RETRY_S = 0.01
PRESSURE = Pressure(MESPolicy.HOLD_FLAGS, 1_000, 600.0)
RECIPE = Recipe("Controller", ORDER, None, None, 2.0, 3, 5, DEFAULT_RETRIES, "ab" * 32)


class ForgedAuthority:
    """A CA (`line.ports.Authority`) of the forge. `trouble` holds what it answers first, in turn."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        self.wanted = Algorithm.P256
        self.nonces: list[bytes] = []
        self.issued: dict[str, CertificateState] = {}
        self.certificates: list[x509.Certificate] = []
        self.trouble: dict[str, list[Exception]] = {"nonce": [], "enrol": [], "certificate": []}

    def issuing_certificates(self) -> tuple[x509.Certificate, ...]:
        return (self._forge.issuing.certificate,)

    def warm(self, connections: int, threads: Executor) -> None:
        """Nothing has to be connected."""

    def key_type(self) -> Algorithm:
        return self.wanted

    def nonce(self, statement_type: ObjectIdentifier, unit: str) -> bytes:
        assert (statement_type, unit) == (APDU.statement_type, UNIT)
        self._trouble("nonce")
        self.nonces.append(secrets.token_bytes(32))
        return self.nonces[-1]

    def enrol(self, csr: bytes) -> x509.Certificate:
        self._trouble("enrol")
        request = read_csr(csr)
        assert request.bundle is not None
        attested = require(appraise(request.bundle, request.spki, self._forge.endorsements(), MOMENT))
        if attested.nonce not in self.nonces:
            raise AuthorityRefused("not our nonce", finding="ca.6.nonce-unknown")
        for certificate in self.certificates:
            if _public_key(certificate) == _key(request.spki):
                return certificate
        unit = unit_serial_of(request.subject)
        chip = replace(self._forge.maker.chip(APDU), serial=attested.chip.serial)
        certificate = self._forge.certify(unit, chip, _key(request.spki), cmw_extension(request.bundle).value)
        self.certificates.append(certificate)
        self.issued[_sha256(certificate)] = CertificateState(unit, attested.chip.serial, "issued", ORDER)
        return certificate

    def certificate(self, sha256: str) -> CertificateState | None:
        self._trouble("certificate")
        return self.issued.get(sha256)

    def set_state(self, state: str) -> None:
        """Let every certificate be in this state."""
        self.issued = {sha256: replace(known, state=state) for sha256, known in self.issued.items()}

    def _trouble(self, call: str) -> None:
        if self.trouble[call]:
            raise self.trouble[call].pop(0)


@dataclass
class Bench:
    """One rig and one board. `watch` is called with each event before the line goes on."""

    folder: Path
    forge: Forge = field(default_factory=lambda: Forge.at(MOMENT))
    events: list[Event] = field(default_factory=list)
    watch: Callable[[Event], None] = lambda _: None
    hold_limit_s: float | None = None
    pressure: Pressure = PRESSURE

    def __post_init__(self) -> None:
        self.ca = ForgedAuthority(self.forge)
        self.bus = LocalBus(self.folder / "chip.json")
        self.store = LineSQLite(self.folder / "rig-a.sqlite", ROUTES)
        self.units = UnitsSQLite(self.folder / "units.sqlite")
        self._rig = new_rig()
        inject(self.bus, self._certify_ak)

    def open(self, _address: str = "") -> SecureElement:
        """Return the board's chip, with its power on."""
        self.bus.chip.power_on()
        return APDUChip(self.bus)

    def arm(self, fault: Fault, count: int, argument: int = 0, instruction: int = ANY_INSTRUCTION) -> None:
        """Let something go wrong in the chip or on its bus."""
        self.bus.faults.take_message(MESSAGE.pack(fault, count, argument, instruction))

    def run(self, unit: str = UNIT) -> Verdict:
        """Run the board once and return its verdict."""
        with ThreadPoolExecutor(2) as threads:
            verdicts, _ = Panel(self.station(threads), self.open, threads).run([Position(unit=unit, chip="local")])
        return verdicts[0]

    def births(self) -> list[UnitBorn]:
        """Return the births on the disk."""
        return [event for event in self.told() if isinstance(event, UnitBorn)]

    def told(self) -> list[LineEvent]:
        """Return what the factory is told, in its order."""
        return [parcel.event() for parcel in self.store.told()]

    def steps(self) -> list[object]:
        """Return the steps that were begun, in their order."""
        return [event["step"] for event in self.events if event["event"] == "step.begin"]

    def kinds(self, *wanted: str) -> list[object]:
        """Return the kinds of events, as far as they are wanted."""
        return [event["event"] for event in self.events if event["event"] in wanted]

    def station(self, threads: ThreadPoolExecutor) -> Station:
        """Return the rig with everything that its boards share."""
        certificate, key = self._rig
        events = Events(self._heard)
        rules = Rules(
            TrustAnchors((self.forge.root.certificate,)), (self.forge.issuing.certificate,), self.forge.endorsements()
        )
        rig = Rig("rig-a", "ada", "Controller", ORDER, "birthmark test", certificate, key)
        run = secrets.token_hex(4)
        teller = Teller(rig, run, secrets.token_hex(8), lambda: MOMENT)
        return Station(
            rig=rig,
            authority=self.ca,
            rules=rules,
            desk=Desk(teller, self.store, events, lambda: MOMENT, time.monotonic),
            holds=Holds(events, time.monotonic, RETRY_S, self.hold_limit_s),
            recipe=RECIPE,
            leases=Leases(self.units, Holder("rig-a", run), UnitLimits(), time.monotonic, self.store.owe),
            key_type=self.ca.key_type(),
            background=threads,
        )

    def line(self, destinations: Mapping[str, Destination], open_chip: OpenChip) -> Line:
        """Return the rig as a whole, with other destinations and another way to its chips."""
        certificate, key = self._rig
        parts = LineParts(
            rig=Rig("rig-a", "ada", "Controller", ORDER, "birthmark test", certificate, key),
            recipe=RECIPE,
            trust=TrustAnchors((self.forge.root.certificate,)),
            endorsements=self.forge.endorsements(),
            result_signers=NO_SIGNERS,
            store=self.store,
            units=self.units,
            limits=UnitLimits(),
            authority=self.ca,
            destinations=destinations,
            outbox=self.outbox(destinations),
            pressure=self.pressure,
            retention=Retention(1_000, 1.0, 1.0),
            unit_retention=UnitRetention(1.0, 1.0),
            hold_retry_s=RETRY_S,
            hold_limit_s=self.hold_limit_s,
        )
        return Line(parts, Events(self._heard), open_chip, lambda: MOMENT, time.monotonic)

    def outbox(self, destinations: Mapping[str, Destination]) -> Outbox:
        """Return an outbox of the rig that has these destinations to deliver to."""
        events = Events(self._heard)
        clock = time.monotonic
        return Outbox(self.store, destinations, events, clock=lambda: MOMENT, stopwatch=clock, retry_s=RETRY_S)

    def _heard(self, event: Event) -> None:
        self.events.append(event)
        self.watch(event)

    def _certify_ak(self, spki: bytes, serial: str) -> bytes:
        name = ChipName(serial, APDU.hw_type)
        return self.forge.maker.certify(name, _key(spki)).public_bytes(Encoding.DER)


def _key(spki: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def _sha256(certificate: x509.Certificate) -> str:
    return fingerprint(certificate.public_bytes(Encoding.DER))
