# SPDX-License-Identifier: Apache-2.0
"""
Chips for tests, and the registry of implementations that the SecureElement contract runs over.

To plug in another chip: write a context manager that yields a ChipUnderTest, and enter it in IMPLEMENTATIONS.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509 import ObjectIdentifier

from birthmark.core.registry import CHIP_MODEL_ARC
from birthmark.pki.authorities import ChipName, make_ak_ca, make_ak_certificate, make_root
from birthmark.silicon.address import open_chip
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.port import SecureElement
from birthmark.silicon.simulator.maker import inject
from birthmark.silicon.simulator.memory import LifeCycle
from support.smp_boards import smp_board
from support.tpm import provisioned_tpm

CHIP_SERIAL = "0A1B2C3D4E5F"
STOP_TIMEOUT_S = 5.0
_MADE_AT = datetime(2026, 1, 1, tzinfo=UTC)
_MAKER_ROOT = make_root("Chip maker", "Attestation root", ec.generate_private_key(ec.SECP256R1()), _MADE_AT)
_MAKER_AK_CA = make_ak_ca(_MAKER_ROOT, "AK CA", ec.generate_private_key(ec.SECP256R1()), _MADE_AT)


@dataclass(frozen=True)
class ChipUnderTest:
    """One personalisable chip. `open` gives a new connection to it: what is remembered is remembered by the chip."""

    open: Callable[[], SecureElement]


@dataclass(frozen=True)
class SimulatedChip:
    """A chip process: where its bus is and where its memory is."""

    socket: Path
    state: Path

    @property
    def address(self) -> str:
        return f"apdu:unix={self.socket}"

    def open(self) -> SecureElement:
        return open_chip(self.address)


@contextmanager
def simulated_chip(
    state: Path | None = None, *, latency: str = "none", life_cycle: LifeCycle | None = LifeCycle.OPERATIONAL
) -> Iterator[SimulatedChip]:
    """
    Run a simulated chip until the block ends; a new one, brought to `life_cycle` by its maker, unless `state` exists.

    With `life_cycle` None the maker leaves the chip alone.
    """
    # Not pytest's directory: a socket's path may have 108 bytes.
    directory = Path(tempfile.mkdtemp(prefix="chip-"))
    chip = SimulatedChip(directory / "bus", state or directory / "chip.json")
    is_new = not chip.state.exists()
    process = _start(chip, latency)
    try:
        if is_new and life_cycle is not None:
            inject_at(chip.socket, life_cycle)
        yield chip
    finally:
        process.terminate()
        process.communicate(timeout=STOP_TIMEOUT_S)
        shutil.rmtree(directory)


def inject_at(socket: Path, life_cycle: LifeCycle = LifeCycle.OPERATIONAL) -> None:
    """Do the maker's work on a new chip."""
    bus = SimulatedI2C(socket)
    try:
        inject(bus, certify_ak, life_cycle)
    finally:
        bus.deinit()


def certify_ak(spki: bytes, serial: str) -> bytes:
    """Return the maker's certificate for an attestation key."""
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    name = ChipName(serial, ObjectIdentifier(f"{CHIP_MODEL_ARC}.1"))
    return make_ak_certificate(_MAKER_AK_CA, name, key, _MADE_AT).public_bytes(Encoding.DER)


def _start(chip: SimulatedChip, latency: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "birthmark.silicon.simulator", "--serial", CHIP_SERIAL, "--latency", latency]
    command += ["--socket", str(chip.socket), "--state", str(chip.state)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["ready"] == str(chip.socket)
    return process


@contextmanager
def _apdu() -> Iterator[ChipUnderTest]:
    with simulated_chip() as chip:
        yield ChipUnderTest(chip.open)


@contextmanager
def _tpm() -> Iterator[ChipUnderTest]:
    with provisioned_tpm() as tcti:
        yield ChipUnderTest(lambda: open_chip(f"tpm:{tcti}"))


@contextmanager
def _smp(carrier: str) -> Iterator[ChipUnderTest]:
    with simulated_chip() as chip, smp_board(chip.socket, carrier=carrier) as board:
        yield ChipUnderTest(lambda: open_chip(board.address))


IMPLEMENTATIONS: dict[str, Callable[[], AbstractContextManager[ChipUnderTest]]] = {
    "apdu": _apdu,
    "tpm": _tpm,
    "smp-serial": lambda: _smp("serial"),
    "smp-udp": lambda: _smp("udp"),
}
