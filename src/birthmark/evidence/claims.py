# SPDX-License-Identifier: Apache-2.0
"""What every evidence format comes down to: the claims that an attestation key has signed about one key."""

from dataclasses import dataclass

NONCE_BYTES = 32
"""Length of the nonces that our CA gives: what fits into the extraData of a TPM that knows only SHA-256."""


@dataclass(frozen=True, slots=True)
class KeyClaims:
    """
    A chip's claims about a key, signature already checked, worth not yet judged.

    `hw_model`, `hw_serial` and `debug_disabled` are None where the format has no such claim (a TPM's has none).
    """

    spki: bytes
    """DER SubjectPublicKeyInfo as the chip gives it: only ever compared, byte for byte, with a key that was parsed."""
    nonce: bytes
    firmware: str
    made_in_chip: bool
    extractable: bool
    sign_only: bool
    hw_model: str | None = None
    hw_serial: str | None = None
    debug_disabled: bool | None = None
