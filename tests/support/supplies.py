# SPDX-License-Identifier: Apache-2.0
"""
Supplies for tests, and the registry of implementations that the Power contract runs over.

To plug in another one: write a context manager that yields a SupplyUnderTest, and enter it in SUPPLIES.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from birthmark.line.fixture.power import Power
from birthmark.line.fixture.scpi import SCPIPower, open_link
from birthmark.line.fixture.simulated import SimulatedPower
from birthmark.silicon.simulator.rail import Rail
from support.gpio import fake_lines

PLACES = (1, 2)
TIMEOUT_S = 0.3


@dataclass(frozen=True)
class SupplyUnderTest:
    """A supply: how the rig opens it, which places have power as the world sees it, and how it goes away."""

    open: Callable[[], Power]
    powered: Callable[[], set[int]]
    go_away: Callable[[], None]


class SCPISupply:
    """The instrument's process, from the test's side."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, str(Path(__file__).parent / "scpi_supply.py"), *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address: str = self._line()["ready"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=5)

    def order(self, **what: object) -> dict[str, Any]:
        """Set attributes of the instrument, and return what it has heard and which outputs are on."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._line()

    def powered(self) -> set[int]:
        return {int(channel) for channel, on in self.order()["outputs"].items() if on}

    def open(self, outlets: Mapping[int, str], timeout_s: float = TIMEOUT_S) -> SCPIPower:
        return SCPIPower(open_link(self.address, timeout_s), outlets)

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return said


@contextmanager
def scpi_supply(carrier: str, folder: Path) -> Iterator[SCPISupply]:
    options = ("--tcp",) if carrier == "tcp" else ("--serial", str(folder / "tty"))
    with SCPISupply(*options) as supply:
        yield supply


@contextmanager
def _scpi(carrier: str, folder: Path) -> Iterator[SupplyUnderTest]:
    with scpi_supply(carrier, folder) as supply:
        yield SupplyUnderTest(
            lambda: supply.open({place: str(place) for place in PLACES}),
            supply.powered,
            lambda: supply.order(fault="silent") and None,
        )


@contextmanager
def _simulated(folder: Path) -> Iterator[SupplyUnderTest]:
    rails = {place: folder / f"rail-{place}" for place in PLACES}
    for rail in rails.values():
        rail.mkdir()
    yield SupplyUnderTest(
        lambda: SimulatedPower(folder, {place: rail.name for place, rail in rails.items()}),
        lambda: {place for place, rail in rails.items() if Rail(rail).period()},
        lambda: rails[1].rename(folder / "elsewhere") and None,
    )


@contextmanager
def _gpiod(folder: Path) -> Iterator[SupplyUnderTest]:
    with fake_lines(folder) as lines:

        def powered() -> set[int]:
            return {place for place, closed in ((1, lines.high(17)), (2, not lines.high(4))) if closed}

        # Low at rest, the active-low line would be on: as after a boot, before the rig has opened its supply.
        yield SupplyUnderTest(lambda: lines.open({1: "17", 2: "4,active-low"}), powered, lines.unplug)


SUPPLIES: dict[str, Callable[[Path], AbstractContextManager[SupplyUnderTest]]] = {
    "simulated": _simulated,
    "gpiod": _gpiod,
    "scpi-tcp": lambda folder: _scpi("tcp", folder),
    "scpi-serial": lambda folder: _scpi("serial", folder),
}
