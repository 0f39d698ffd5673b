# SPDX-License-Identifier: Apache-2.0
"""
A board in this process: the simulated chip without its socket, and links that call a CA and a cloud directly.

The cloud is the real service over its real registry, the CA issues what the forge would. Power can be cut before and
after every call that the agent makes to chip, CA or cloud.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from birthmark.cloud.errors import CloudRefused
from birthmark.device.acceptance import Standards
from birthmark.device.errors import RefusedByCloud
from birthmark.device.ports import CommandTaken, Identity, Me, WireBytes
from birthmark.device.renewal import Renewal
from birthmark.device.requests import make_csr
from birthmark.device.service import Agent
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.verdict import require
from birthmark.pki.authorities import ChipName
from birthmark.pki.cmw import cmw_extension
from birthmark.pki.csr import read_csr
from birthmark.silicon.apdu.driver import APDUChip
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SecureElement
from birthmark.silicon.simulator.maker import inject
from birthmark.testing.forge import APDU, Chip, new_key
from support.chip_buses import LocalBus
from support.cloud_parts import UNIT, CloudParts, der


class PowerCut(Exception):
    """The device is without power from here on."""


@dataclass
class Power:
    """Counts the moments at which power can fail, and fails at the one asked for."""

    cut_at: int | None = None
    moment: int = 0
    calls: list[str] = field(default_factory=list)

    def tick(self) -> None:
        if self.moment == self.cut_at:
            raise PowerCut
        self.moment += 1

    def watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self.tick()
            result = call(*arguments)
            self.calls.append(name)
            self.tick()
            return result

        return called


class Watched:
    """Any object whose calls pass through Power."""

    def __init__(self, inner: Any, power: Power) -> None:
        self._inner = inner
        self._power = power

    def __getattr__(self, name: str) -> Any:
        return self._power.watched(name, getattr(self._inner, name))


class ForgeAuthority:
    """A CA that issues renewals for evidence that holds, with whatever the test does to its answer."""

    def __init__(self, board: "Board") -> None:
        self._board = board
        self.wanted: Algorithm | None = None
        self.named: list[frozenset[str]] = []
        self.alter: Callable[[x509.Certificate], x509.Certificate] = lambda certificate: certificate

    def key_type(self) -> Algorithm | None:
        return self.wanted

    def nonce(self) -> bytes:
        self._board.nonce = token_bytes(32)
        return self._board.nonce

    def renew(self, request: bytes) -> x509.Certificate:
        read = read_csr(request)
        board = self._board
        attested = require(appraise(read.bundle or b"", read.spki, board.endorsements, board.parts.clock()))
        assert attested.nonce == board.nonce
        return self.alter(board.issue(read.spki, read.bundle or b""))

    def name_anchors(self, anchors: frozenset[str]) -> None:
        self.named.append(anchors)

    def wire_bytes(self) -> WireBytes:
        return WireBytes(0, 0)

    def close(self) -> None:
        """Nothing is open."""


class DirectCloud:
    """A connection to the cloud without a network: the identity's certificate is taken as TLS would give it."""

    def __init__(self, board: "Board", identity: Identity) -> None:
        self._board = board
        self._certificate = der(identity.certificate)

    def me(self) -> Me:
        if self._board.cloud_failure is not None:
            raise self._board.cloud_failure
        only = self._board.refuse_unless
        if only is not None and self._certificate != der(only.certificate):
            raise RefusedByCloud("only one is let in", finding="cloud.refused")
        cloud = self._board.parts.cloud
        try:
            me = cloud.me(cloud.admit(self._certificate, ()))
        except CloudRefused as error:
            raise RefusedByCloud(error.message, finding=error.finding) from error
        return Me(me["unit"], tuple(me["rights"]))

    def publish(self, unit: str, message: Any) -> None:
        raise NotImplementedError

    def next_command(self, unit: str, wait_s: float) -> CommandTaken | None:
        raise NotImplementedError

    def finish_command(self, unit: str, command_id: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


class Board:
    """One personalised unit with its chip, its CA and its cloud, and a power supply that can fail."""

    def __init__(self, folder: Path, parts: CloudParts) -> None:
        self.parts = parts
        self.endorsements = parts.forge.endorsements()
        self.nonce = b""
        self.endorsed = True
        self.cloud_failure: Exception | None = None
        self.refuse_unless: Identity | None = None
        self.bus = LocalBus(folder / "chip.json")
        self.chip_serial = inject(self.bus, self._certify_ak)
        self.authority = ForgeAuthority(self)
        self._personalise()

    @property
    def standards(self) -> Standards:
        return Standards(self.parts.doors.trust, self.endorsements if self.endorsed else None)

    def chip(self) -> SecureElement:
        """Return the chip after a power cycle."""
        self.bus.chip.power_off()
        self.bus.chip.power_on()
        return APDUChip(self.bus)

    def renewal(self, power: Power | None = None) -> Renewal:
        """Return what a device that has just been switched on would run."""
        power = power or Power()
        return Renewal(Watched(self.chip(), power), UNIT, _Links(self, power), self.standards, self.parts.clock)

    def agent(self) -> Agent:
        return Agent(self.chip(), UNIT, _Links(self, Power()), self.renewal)

    def issue(self, spki: bytes, bundle: bytes) -> x509.Certificate:
        """Return a device certificate of this moment."""
        key = load_der_public_key(spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        stand_in = Chip(APDU, self.chip_serial, self.parts.forge.root.certificate, new_key())
        # A second later each time, so that certificates have an order as in the field.
        self.parts.clock.now += timedelta(seconds=1)
        forge = replace(self.parts.forge, moment=self.parts.clock.now)
        return forge.certify(UNIT, stand_in, key, cmw_extension(bundle).value)

    def accepted(self, identity: Identity) -> bool:
        """Whether the cloud lets this identity in now."""
        try:
            DirectCloud(self, identity).me()
        except RefusedByCloud:
            return False
        return True

    def _certify_ak(self, spki: bytes, serial: str) -> bytes:
        key = load_der_public_key(spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return der(self.parts.forge.maker.certify(ChipName(serial, APDU.hw_type), key))

    def _personalise(self) -> None:
        chip = self.chip()
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        request = read_csr(make_csr(chip, SLOT_IDENTITY, UNIT, bytes(32)))
        chip.import_certificate(SLOT_IDENTITY, der(self.issue(request.spki, request.bundle or b"")))


class _Links:
    def __init__(self, board: Board, power: Power) -> None:
        self._board = board
        self._power = power

    def cloud(self, identity: Identity) -> Any:
        return Watched(DirectCloud(self._board, identity), self._power)

    def authority(self, identity: Identity) -> Any:
        del identity  # a certificate lives on at the CA for the time of the overlap
        return Watched(self._board.authority, self._power)
