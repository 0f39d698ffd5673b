# SPDX-License-Identifier: Apache-2.0
"""The SecureElement of a chip that speaks APDUs: the firmware library itself, with the host's types and errors."""

from collections.abc import Iterator
from contextlib import contextmanager

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.silicon.apdu.status import refusal
from birthmark.silicon.errors import ChipAbsent, ChipCommunication, ChipError
from birthmark.silicon.port import Algorithm, ChipIdentity, Evidence, SlotState
from birthmark_mcu.bus import I2C
from birthmark_mcu.chip import SecureElement as Firmware
from birthmark_mcu.errors import NoChip, Refused, SecureElementError


class APDUChip:
    """One chip on a bus that it holds until `close`. Nothing moves on the bus before the first call."""

    def __init__(self, bus: I2C) -> None:
        self._bus = bus
        self._firmware = Firmware(bus)
        self._identity: ChipIdentity | None = None

    def identity(self) -> ChipIdentity:
        """Return what the chip says it is; read once."""
        if self._identity is None:
            with _chip_errors("read the identity"):
                model, serial, firmware, certificates = self._firmware.identity()
            self._identity = ChipIdentity(model, serial, firmware, tuple(certificates))
        return self._identity

    def generate_keypair(self, slot: str, algorithm: Algorithm) -> bytes:
        """Make a new key in an EMPTY or KEYED slot; return its DER SubjectPublicKeyInfo."""
        with _chip_errors(f"make a key in {slot}"):
            return self._firmware.generate_keypair(slot, algorithm.value)

    def public_key(self, slot: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key in the slot."""
        with _chip_errors(f"read the public key of {slot}"):
            return self._firmware.public_key(slot)

    def attest(self, slot: str, nonce: bytes) -> Evidence:
        """Return PKIX Evidence about the key in the slot, fresh for the nonce."""
        with _chip_errors(f"attest {slot}"):
            return Evidence(PKIX_EVIDENCE, self._firmware.attest(slot, nonce))

    def sign(self, slot: str, digest: bytes) -> bytes:
        """Return the signature over a digest as long as the key, over mu, or for Ed25519 over the data itself."""
        with _chip_errors(f"sign with {slot}"):
            return self._firmware.sign(slot, digest)

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Write the certificate beside its key."""
        with _chip_errors(f"write a certificate of {len(der)} bytes to {slot}"):
            self._firmware.import_certificate(slot, der)

    def get_certificate(self, slot: str) -> bytes | None:
        """Return the certificate as stored, or None."""
        with _chip_errors(f"read the certificate of {slot}"):
            return self._firmware.get_certificate(slot)

    def state(self, slot: str) -> SlotState:
        """Return what the slot holds."""
        with _chip_errors(f"observe {slot}"):
            return SlotState(self._firmware.state(slot))

    def active_slot(self) -> str:
        """Return the slot whose identity is in use."""
        with _chip_errors("observe the active slot"):
            return self._firmware.active_slot()

    def activate(self, slot: str) -> None:
        """Make a CERTIFIED slot the one in use, in one write."""
        with _chip_errors(f"activate {slot}"):
            self._firmware.activate(slot)

    def erase(self, slot: str) -> None:
        """Destroy key and certificate in a slot."""
        with _chip_errors(f"erase {slot}"):
            self._firmware.erase(slot)

    def close(self) -> None:
        """Let go of the bus."""
        self._bus.deinit()


@contextmanager
def _chip_errors(doing: str) -> Iterator[None]:
    """Turn the firmware library's errors into the host's, with what was being done."""
    try:
        yield
    except SecureElementError as error:
        raise _chip_error(error, doing) from error


def _chip_error(error: SecureElementError, doing: str) -> ChipError:
    if isinstance(error, Refused):
        return refusal(error.status, doing)
    if isinstance(error, NoChip):
        return ChipAbsent(f"cannot {doing}: {error}", hint="seat the board in the fixture, check its power")
    return ChipCommunication(f"cannot {doing}: {error}", hint="observe the chip's state again before the next act")
