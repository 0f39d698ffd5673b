# SPDX-License-Identifier: Apache-2.0
"""
Boards as they come to a line and go from it: each has a chip of its own, some an MCU before it, some are broken.

A board lies at no rig, or in a place of a rig's fixture. In a place stand links to its chip's bus, or to its MCU's
line, and what feeds the board is the rail of the place.
"""

import json
import secrets
import signal
import threading
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from birthmark.core.clock import system_clock
from birthmark.core.ids import fingerprint
from birthmark.pki.authorities import Authority, ChipName, make_ak_certificate
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.simulator.armed import Fault
from birthmark.silicon.simulator.commands import Instruction
from birthmark.silicon.simulator.faults import BusFaults
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.memory import LifeCycle, MemoryFile
from birthmark.silicon.simulator.rail import Rail
from birthmark.testing.lab.files import apdu_hw_type
from support.shopfloor.magazine import Fork, Magazine

MODEL = "optiga-trust-m"
FOR_EVER = 0xFFFF
BROKEN_STATUS = 0x6F00


class Kind(StrEnum):
    """What a board is worth. A line cannot know it beforehand."""

    GOOD = "good"
    DEBUGGABLE = "debuggable"
    """Its chip left the maker with debugging open: quarantine."""
    BROKEN = "broken"
    """Its chip makes no keys: it fails for good."""


class Link(StrEnum):
    """How a rig reaches the chip."""

    DIRECT = "direct"
    SMP = "smp"
    BENCH = "bench"
    """As direct, and fed by a supply of its own: it can lie in two fixtures at once."""


@dataclass
class Board:
    """One board on the floor. Its processes may be killed and started again at any time."""

    unit: str
    kind: Kind
    link: Link
    home: Path
    chip_serial: str = field(default_factory=lambda: secrets.token_hex(8).upper())
    chip: Fork | None = None
    mcu: Fork | None = None
    turn: threading.Lock = field(default_factory=threading.Lock)
    """Whoever starts or ends its processes has it."""

    def path(self, what: str) -> Path:
        return self.home / f"{self.unit}.{what}"

    def certificate_sha256(self) -> str:
        """Return which certificate the chip holds, as its memory has it; nothing when it holds none."""
        memory = MemoryFile(self.path("state")).load()
        certificate = memory.slots[memory.active].certificate
        return "" if certificate is None else fingerprint(certificate)


class Supplier:
    """Makes boards, and brings their processes up and down. Thread-safe."""

    def __init__(self, home: Path, magazine: Magazine, maker: Authority, latency: str) -> None:
        self._home = home
        self._magazine = magazine
        self._maker = maker
        self._latency = latency
        self._mains = home / "mains"
        for folder in (home, self._mains):
            folder.mkdir()
        Rail(self._mains).on()

    def make(self, unit: str, kind: Kind, link: Link) -> Board:
        """Return a board fresh from the maker."""
        board = Board(unit, kind, link, self._home)
        board.path("rail").symlink_to(self._mains)
        with board.turn:
            self._start_chip(board)
            self._certify(board)
            self._start_mcu(board)
        return board

    def feed(self, board: Board, rail: Path) -> None:
        """Let a board hang on a rail, unless it brings its own supply."""
        if board.link is not Link.BENCH:
            _link(board.path("rail"), rail)

    def crash_chip(self, board: Board) -> None:
        """Kill the chip's process and start it again: what it remembers is in its file."""
        with board.turn:
            if board.chip is not None:
                board.chip.end(signal.SIGKILL)
                self._start_chip(board)

    def crash_mcu(self, board: Board) -> None:
        """Kill the MCU's process and start it again."""
        with board.turn:
            if board.mcu is not None:
                board.mcu.end(signal.SIGKILL)
                self._start_mcu(board)

    def take_away(self, board: Board) -> None:
        """End the board's processes for good; what its chip remembers stays."""
        with board.turn:
            for process in (board.mcu, board.chip):
                if process is not None:
                    process.end(signal.SIGKILL)
            board.chip = board.mcu = None

    def arm(self, board: Board, fault: Fault, count: int) -> None:
        """Arm a fault of a chip that nobody speaks to."""
        with board.turn, BusFaults.at(board.path("sock")) as faults:
            faults.arm(fault, count)

    def _start_chip(self, board: Board) -> None:
        board.path("sock").unlink(missing_ok=True)
        where = ("--socket", board.path("sock"), "--state", board.path("state"), "--rail", board.path("rail"))
        what = ("--model", MODEL, "--serial", board.chip_serial, "--latency", self._latency)
        board.chip = self._magazine.start("chip", f"chip-{board.unit}", *where, *what)
        board.chip.await_ready()
        if board.kind is Kind.BROKEN:
            with BusFaults.at(board.path("sock")) as faults:
                faults.arm(Fault.REFUSE_COMMANDS, FOR_EVER, argument=BROKEN_STATUS, instruction=Instruction.GENERATE)

    def _start_mcu(self, board: Board) -> None:
        if board.link is Link.SMP:
            where = ("--bus", board.path("sock"), "--serial", board.path("tty"), "--rail", board.path("rail"))
            board.mcu = self._magazine.start("mcu", f"mcu-{board.unit}", *where)
            board.mcu.await_ready()

    def _certify(self, board: Board) -> None:
        def issue(spki: bytes, serial: str) -> bytes:
            key = load_der_public_key(spki)
            assert isinstance(key, ec.EllipticCurvePublicKey)
            name = ChipName(serial, apdu_hw_type(MODEL))
            return make_ak_certificate(self._maker, name, key, system_clock()).public_bytes(Encoding.DER)

        bus = SimulatedI2C(board.path("sock"))
        try:
            inject(bus, issue, LifeCycle.DEBUG if board.kind is Kind.DEBUGGABLE else LifeCycle.OPERATIONAL)
        finally:
            bus.deinit()


@dataclass(frozen=True)
class Place:
    """One place of a rig's fixture. `number` counts from 1."""

    folder: Path
    rig: str
    number: int
    link: Link

    @property
    def rail(self) -> Path:
        """The rail that feeds what lies here."""
        return self.folder / f"{self.rig}-{self.number}.rail"

    @property
    def contact(self) -> Path:
        """Where the board is reached."""
        return self.folder / f"{self.rig}-{self.number}.contact"

    @property
    def toml(self) -> str:
        """The place in rig.toml."""
        carrier = "smp:serial=" if self.link is Link.SMP else "apdu:unix="
        return f'\n[[fixture]]\nchip = "{carrier}{self.contact}"\npower = {json.dumps(self.rail.name)}\n'

    def lay(self, board: Board, supplier: Supplier) -> None:
        """Put a board in."""
        supplier.feed(board, self.rail)
        _link(self.contact, board.path("tty" if self.link is Link.SMP else "sock"))

    def empty(self) -> None:
        """Take out what lies here."""
        self.contact.unlink(missing_ok=True)


def _link(name: Path, target: Path) -> None:
    """Let a name lead somewhere else, without a moment in which it leads nowhere."""
    fresh = name.with_name(f"{name.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(name)
