# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong between host and chip.

ChipError
├── ChipAbsent          nothing answers on the bus
├── ChipCommunication   NAK, CRC or time-out that retries did not mend; the chip's state is unknown
├── ChipRefused         the chip understood and said no; nothing changed
└── ChipFull            no room for the key or the certificate
"""

from birthmark.core.errors import BirthmarkError


class ChipError(BirthmarkError):
    """Root: the chip, or the way to it, failed or refused."""

    default_finding = "chip.failed"
    default_hint = "look at the board and its chip"


class ChipAbsent(ChipError):
    """Nothing acknowledges the chip's address."""

    default_finding = "chip.absent"


class ChipCommunication(ChipError):
    """The link failed beyond its retries. Observe the chip's state before the next act."""

    default_finding = "chip.communication"


class ChipRefused(ChipError):
    """The chip answered with an error status; it did not do what was asked."""

    default_finding = "chip.refused"
    default_hint = "look at what the chip holds; if nothing explains it, replace the chip"


class ChipFull(ChipRefused):
    """The object does not fit into the chip."""

    default_finding = "chip.full"
    default_hint = "erase what is no longer needed, or replace the chip"
