# SPDX-License-Identifier: Apache-2.0
"""The floor: what one board costs when there is nothing but its chip and its bus."""

import hashlib
import time

from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SecureElement

_DIGEST = hashlib.sha256(b"any digest costs the same").digest()


def chip_floor_s(chip: SecureElement, certificate_bytes: int) -> float:
    """
    Return the seconds of exactly the chip calls that a fresh board needs, one after the other, nothing else running.

    `certificate_bytes` is the size of the certificate that is written and read back. The chip must be fresh; its slot
    is full afterwards.
    """
    certificate = bytes(certificate_bytes)
    begun = time.perf_counter()
    chip.identity()
    chip.state(chip.active_slot())
    chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
    chip.attest(SLOT_IDENTITY, _DIGEST)
    chip.sign(SLOT_IDENTITY, _DIGEST)
    chip.import_certificate(SLOT_IDENTITY, certificate)
    chip.get_certificate(SLOT_IDENTITY)
    chip.sign(SLOT_IDENTITY, _DIGEST)
    return time.perf_counter() - begun
