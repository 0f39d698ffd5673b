# SPDX-License-Identifier: Apache-2.0
"""
The chip as the bus sees it: bytes in, bytes out, and no acknowledge while it is busy or without power.

The clock is passed in. A command takes effect when its last byte arrives; then the chip is busy for as long as the
latency model says.
"""

from collections.abc import Callable

from birthmark.silicon.simulator.applet import Applet
from birthmark.silicon.simulator.armed import ArmedFaults, Fault
from birthmark.silicon.simulator.commands import Instruction
from birthmark.silicon.simulator.rail import ALWAYS_FED, Supply
from birthmark.silicon.simulator.t1 import ChipLink
from birthmark.silicon.timing import LatencyModel

BUS_ADDRESS = 0x48
PADDING = b"\xff"
"""What an I2C target that has nothing more to say leaves on the bus."""

_HEAVY = (Instruction.GENERATE, Instruction.ATTEST)
"""What the board draws its full current with."""
_INS = 1
_FOREVER = float("inf")


class Chip:
    """One chip behind one bus address. `monotonic_s` is read for nothing but the time that it is busy."""

    def __init__(
        self,
        applet: Applet,
        latency: LatencyModel,
        faults: ArmedFaults,
        monotonic_s: Callable[[], float],
        supply: Supply = ALWAYS_FED,
    ) -> None:
        self._applet = applet
        self._latency = latency
        self._faults = faults
        self._monotonic_s = monotonic_s
        self._supply = supply
        self._period = ""
        self._powered = False

    def power_on(self) -> None:
        """Start from the memory file, with nothing else remembered."""
        self._applet.power_on()
        self._link = ChipLink(self._latency.block_waiting_ms, self._latency.bus_hz)
        self._busy_until_s = 0.0
        self._pending = b""
        self._period = self._supply.period()
        self._powered = True

    def power_off(self) -> None:
        """Stop at once."""
        self._powered = False

    def write(self, address: int, frame: bytes) -> bool:
        """Take in the bytes of one write transfer. Returns whether the chip acknowledged its address."""
        if not self._acknowledges(address):
            return False
        if self._faults.strikes(Fault.BREAK_BLOCKS_TO_CHIP):
            frame = _broken(frame)
        apdu = self._link.receive(frame)
        if apdu is not None:
            self._execute(apdu)
        self._pending = self._link.transmit()
        if self._pending and self._faults.strikes(Fault.BREAK_BLOCKS_FROM_CHIP):
            self._pending = _broken(self._pending)
        return True

    def read(self, address: int, count: int) -> bytes | None:
        """Return `count` bytes, padded behind the end of the block; None when the chip does not acknowledge."""
        if not self._pending or not self._acknowledges(address):
            return None
        taken, self._pending = self._pending[:count], self._pending[count:]
        return taken.ljust(count, PADDING)

    def _acknowledges(self, address: int) -> bool:
        return self._powered and self._is_fed() and address == BUS_ADDRESS and self._monotonic_s() >= self._busy_until_s

    def _is_fed(self) -> bool:
        """Return whether the supply is on; a chip that was without it in between starts anew."""
        period = self._supply.period()
        if period and period != self._period:
            self.power_on()
        self._period = period
        return bool(period)

    def _browns_out(self, instruction: int) -> bool:
        return instruction in _HEAVY and not self._supply.carries_load()

    def _execute(self, apdu: bytes) -> None:
        start_s = self._monotonic_s()
        instruction = apdu[_INS] if len(apdu) > _INS else 0
        if self._faults.falls_due(Fault.CUT_BEFORE_COMMAND, instruction) or self._browns_out(instruction):
            self.power_off()
        elif self._faults.falls_due(Fault.HANG_AT_COMMAND, instruction):
            self._busy_until_s = _FOREVER
        elif (status := self._faults.status_to_refuse_with(instruction)) is not None:
            self._link.respond(status.to_bytes(2, "big"))
        else:
            outcome = self._applet.execute(apdu)
            self._link.respond(outcome.response)
            self._busy_until_s = start_s + outcome.busy_ms / 1000
            if self._faults.falls_due(Fault.CUT_AFTER_COMMAND, instruction):
                self.power_off()


def _broken(block: bytes) -> bytes:
    """Return the block with one bit of its CRC flipped."""
    return block[:-1] + bytes((block[-1] ^ 1,))
