# SPDX-License-Identifier: Apache-2.0
"""The chip maker's station: certifies the attestation key that the chip made, then closes the maker's door."""

from collections.abc import Callable

from birthmark.silicon.simulator.commands import Instruction
from birthmark.silicon.simulator.memory import LifeCycle
from birthmark_mcu.bus import I2C
from birthmark_mcu.chip import SecureElement

_SPKI_LIMIT = 256


def inject(
    bus: I2C, make_certificate: Callable[[bytes, str], bytes], life_cycle: LifeCycle = LifeCycle.OPERATIONAL
) -> str:
    """
    Make a chip fresh from the wafer ready for customers; return its serial.

    Args:
        bus: the bus that the chip hangs on; stays open.
        make_certificate: returns the DER certificate for an AK's DER SubjectPublicKeyInfo and the chip's serial.
        life_cycle: what to leave the chip in; DEBUG makes a chip that no verifier should accept.

    Raises:
        birthmark_mcu.errors.SecureElementError: the link failed, or the chip has already left its maker (6985).

    """
    chip = SecureElement(bus)
    serial = chip.identity()[1]
    spki = chip.command(Instruction.GET_AK_PUBLIC_KEY, expected=_SPKI_LIMIT)
    chip.command(Instruction.PUT_AK_CERTIFICATE, data=make_certificate(spki, serial))
    chip.command(Instruction.LOCK, life_cycle)
    return serial
