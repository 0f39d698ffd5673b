# SPDX-License-Identifier: Apache-2.0
"""The client that arms faults in a simulated chip, for tests, attacks and the lab."""

from pathlib import Path
from typing import Self

from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.simulator.armed import ANY_INSTRUCTION, CLEAR, MESSAGE, Fault

__all__ = ["BusFaults", "Fault"]


class BusFaults:
    """
    Arms faults over a bus that the caller already holds, or, through `at`, before another master takes it.

    An armed fault waits in the simulator until it strikes, whoever is the bus master then.
    """

    def __init__(self, bus: SimulatedI2C) -> None:
        self._bus = bus

    @classmethod
    def at(cls, path: Path) -> Self:
        """Take the bus at the socket. Use as a context manager, so that the bus is let go."""
        return cls(SimulatedI2C(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._bus.deinit()

    def arm(self, fault: Fault, count: int = 1, *, argument: int = 0, instruction: int = ANY_INSTRUCTION) -> None:
        """
        Arm a fault in place of an earlier one of its kind.

        Args:
            fault: what is to go wrong.
            count: when, or how often: see `Fault`.
            argument: the status word of REFUSE_COMMANDS.
            instruction: for faults of commands, the only instruction that counts.

        """
        self._bus.control(MESSAGE.pack(fault, count, argument, instruction))

    def clear(self) -> None:
        """Disarm everything."""
        self._bus.control(MESSAGE.pack(CLEAR, 0, 0, 0))
