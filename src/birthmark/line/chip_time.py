# SPDX-License-Identifier: Apache-2.0
"""Tells the chip's own time from ours: a SecureElement that counts the seconds spent inside another one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from birthmark.line.fixture.places import PlacePower
from birthmark.line.fixture.sharing import Turn
from birthmark.line.ports import Stopwatch
from birthmark.silicon.errors import ChipError
from birthmark.silicon.port import Algorithm, ChipIdentity, Evidence, SecureElement, SlotState


class TimedChip:
    """Passes every call on; `seconds` is the time that the chip and its bus have taken so far, and waits for it."""

    def __init__(
        self, open_chip: Callable[[], SecureElement], stopwatch: Stopwatch, power: PlacePower, turn: Turn
    ) -> None:
        """
        Open the chip's link; its board has power already. Every call waits for its `turn`.

        Raises:
            ChipError: nothing answers.

        """
        self._open_chip = open_chip
        self._power = power
        self._turn = turn
        with turn:
            self._chip = open_chip()
        self._stopwatch = stopwatch
        self.seconds = 0.0

    def reconnect(self) -> None:
        """
        Let go of the link and open it anew, with a power cycle in between where the recipe says so.

        Raises:
            ChipError: nothing answers.
            BrownOut, SupplyAway, SupplyRefused: the board's power did not come back.

        """
        with suppress(ChipError), self._turn:
            self._chip.close()
        self._power.renew()
        with self._turn:
            self._chip = self._open_chip()

    @contextmanager
    def _counted(self) -> Iterator[SecureElement]:
        began = self._stopwatch()
        try:
            with self._turn:
                yield self._chip
        finally:
            self.seconds += self._stopwatch() - began

    def identity(self) -> ChipIdentity:
        """Pass on."""
        with self._counted() as chip:
            return chip.identity()

    def generate_keypair(self, slot: str, algorithm: Algorithm) -> bytes:
        """Pass on. Raises BrownOut, whatever the chip says, when its board had too little voltage meanwhile."""
        with self._power.loaded(), self._counted() as chip:
            return chip.generate_keypair(slot, algorithm)

    def public_key(self, slot: str) -> bytes:
        """Pass on."""
        with self._counted() as chip:
            return chip.public_key(slot)

    def attest(self, slot: str, nonce: bytes) -> Evidence:
        """Pass on. Raises as `generate_keypair`."""
        with self._power.loaded(), self._counted() as chip:
            return chip.attest(slot, nonce)

    def sign(self, slot: str, digest: bytes) -> bytes:
        """Pass on."""
        with self._counted() as chip:
            return chip.sign(slot, digest)

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Pass on."""
        with self._counted() as chip:
            chip.import_certificate(slot, der)

    def get_certificate(self, slot: str) -> bytes | None:
        """Pass on."""
        with self._counted() as chip:
            return chip.get_certificate(slot)

    def state(self, slot: str) -> SlotState:
        """Pass on."""
        with self._counted() as chip:
            return chip.state(slot)

    def active_slot(self) -> str:
        """Pass on."""
        with self._counted() as chip:
            return chip.active_slot()

    def activate(self, slot: str) -> None:
        """Pass on."""
        with self._counted() as chip:
            chip.activate(slot)

    def erase(self, slot: str) -> None:
        """Pass on."""
        with self._counted() as chip:
            chip.erase(slot)

    def close(self) -> None:
        """Pass on."""
        with self._turn:
            self._chip.close()
