# SPDX-License-Identifier: Apache-2.0
"""
The faults that are armed in a simulator, and the messages that arm them.

    message  fault 1 byte | count 2 bytes, big-endian | argument 2 bytes, big-endian | instruction 1 byte (0: any)

Counts of commands start at 1 and count only the instruction that is named; counts of transfers count reads and
writes, those without acknowledge too.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum

MESSAGE = struct.Struct(">BHHB")
ANY_INSTRUCTION = 0
CLEAR = 0


class Fault(IntEnum):
    """What can be made to go wrong. `count` says when, or how often."""

    NAK_TRANSFERS = 1
    """The next `count` transfers are not acknowledged."""
    BREAK_BLOCKS_FROM_CHIP = 2
    """The next `count` blocks from the chip arrive with a wrong CRC."""
    BREAK_BLOCKS_TO_CHIP = 3
    """The next `count` blocks to the chip arrive with a wrong CRC."""
    HANG_AT_COMMAND = 4
    """The chip is busy for ever (until the power goes) with the `count`-th command, which it does not do."""
    REFUSE_COMMANDS = 5
    """The next `count` commands are answered with the status word in `argument`, and not done."""
    CUT_BEFORE_COMMAND = 6
    """The power goes before the `count`-th command is done, and stays away until the bus is let go."""
    CUT_AFTER_COMMAND = 7
    """The power goes when the `count`-th command is done and before it is answered."""
    CUT_AFTER_TRANSFERS = 8
    """The power goes after `count` more transfers."""
    DROP_AFTER_TRANSFERS = 9
    """The bus adapter goes: the connection ends after `count` more transfers."""


@dataclass(slots=True)
class _Arming:
    count: int
    argument: int
    instruction: int


@dataclass(slots=True)
class ArmedFaults:
    """What is armed, counting down. It is the world's, not the chip's: it outlives a power cut."""

    _armed: dict[int, _Arming] = field(default_factory=dict)

    def take_message(self, message: bytes) -> None:
        """Arm a fault, or clear all. Raises ValueError for a message that is none."""
        if len(message) != MESSAGE.size:
            raise ValueError("not a fault message")
        fault, count, argument, instruction = MESSAGE.unpack(message)
        if fault == CLEAR:
            self._armed.clear()
        else:
            self._armed[Fault(fault)] = _Arming(count, argument, instruction)

    def strikes(self, fault: Fault, instruction: int = ANY_INSTRUCTION) -> bool:
        """Count one occasion; return whether the fault strikes now, as one of the next `count`."""
        arming = self._matching(fault, instruction)
        if arming is None:
            return False
        arming.count -= 1
        if arming.count <= 0:
            del self._armed[fault]
        return True

    def falls_due(self, fault: Fault, instruction: int = ANY_INSTRUCTION) -> bool:
        """Count one occasion; return whether it is the `count`-th."""
        return self.strikes(fault, instruction) and fault not in self._armed

    def expired(self, fault: Fault) -> bool:
        """Count one transfer; return whether `count` of them have already gone by."""
        arming = self._armed.get(fault)
        if arming is not None and arming.count == 0:
            del self._armed[fault]
            return True
        if arming is not None:
            arming.count -= 1
        return False

    def status_to_refuse_with(self, instruction: int) -> int | None:
        """Return the status word that the command is to be refused with, if it is."""
        arming = self._matching(Fault.REFUSE_COMMANDS, instruction)
        if arming is None or not self.strikes(Fault.REFUSE_COMMANDS, instruction):
            return None
        return arming.argument

    def _matching(self, fault: Fault, instruction: int) -> _Arming | None:
        arming = self._armed.get(fault)
        if arming is None or arming.instruction not in (ANY_INSTRUCTION, instruction):
            return None
        return arming
