# SPDX-License-Identifier: Apache-2.0
"""
What a secure element must offer.

The case study's five calls (generate_keypair, attest, sign, import_certificate, get_certificate) plus what a line and
a rotation need: the state that is observed before acting, and the pointer to the slot that is in use.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from cryptography.x509 import ObjectIdentifier

SLOT_IDENTITY = "device-identity"
SLOT_NEXT = "device-identity.next"
SLOTS = (SLOT_IDENTITY, SLOT_NEXT)


class Algorithm(Enum):
    """A key type that a chip may make. The value is the name used in configuration and records."""

    P256 = "P-256"
    P384 = "P-384"
    ED25519 = "Ed25519"
    MLDSA44 = "ML-DSA-44"
    MLDSA65 = "ML-DSA-65"
    MLDSA87 = "ML-DSA-87"


class SlotState(Enum):
    """What a slot holds. A rig observes it before it acts."""

    EMPTY = "empty"
    KEYED = "keyed"
    CERTIFIED = "certified"


@dataclass(frozen=True, slots=True)
class ChipIdentity:
    """What the chip says it is. Only the AK certificate, once its chain is verified, is worth trust."""

    model: str
    serial: str
    firmware: str
    ak_certificates: tuple[bytes, ...]
    """DER, the AK's own certificate first."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One attestation statement: its type and the exact bytes that the chip made."""

    statement_type: ObjectIdentifier
    statement: bytes


class SecureElement(Protocol):
    """
    One chip on a bus. Not thread-safe: one caller at a time.

    Every call raises a `silicon.errors.ChipError` (and nothing else) when the chip or the bus refuses or fails.
    """

    def identity(self) -> ChipIdentity:
        """Return model, serial, firmware and the AK certificates. Cached after the first call."""
        ...

    def generate_keypair(self, slot: str, algorithm: Algorithm) -> bytes:
        """Make a new key inside the chip, in an EMPTY or KEYED slot; return its DER SubjectPublicKeyInfo."""
        ...

    def public_key(self, slot: str) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key in the slot."""
        ...

    def attest(self, slot: str, nonce: bytes) -> Evidence:
        """Return the chip's statement about the key in the slot, fresh for this 32-byte nonce."""
        ...

    def sign(self, slot: str, digest: bytes) -> bytes:
        """
        Return the signature over what the host has condensed its data to.

        For ECDSA that is the digest (32 bytes for P-256), and the signature is DER; for ML-DSA the 64 bytes mu (FIPS
        204 §6.2, external mu); for Ed25519 the data itself, which the algorithm reads twice. `silicon.keys` condenses.
        """
        ...

    def import_certificate(self, slot: str, der: bytes) -> None:
        """Write the certificate beside its key; replaces an earlier one."""
        ...

    def get_certificate(self, slot: str) -> bytes | None:
        """Return the certificate as stored, or None."""
        ...

    def state(self, slot: str) -> SlotState:
        """Return what the slot holds. Changes nothing."""
        ...

    def active_slot(self) -> str:
        """Return the slot whose identity is in use; `device-identity` on a new chip."""
        ...

    def activate(self, slot: str) -> None:
        """Make a CERTIFIED slot the one in use, in one write that a power cut cannot halve."""
        ...

    def erase(self, slot: str) -> None:
        """Destroy key and certificate in a slot. The active slot is refused once it is CERTIFIED."""
        ...

    def close(self) -> None:
        """Let go of the bus."""
        ...
