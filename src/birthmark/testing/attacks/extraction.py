# SPDX-License-Identifier: Apache-2.0
"""Threat: key extraction. A key that leaves its chip, was never in it, or could be taken out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from birthmark.core.registry import CAPABILITY_DECRYPT, CAPABILITY_SIGN
from birthmark.evidence.bundle import make_bundle
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.silicon.address import open_chip
from birthmark.silicon.bus.i2c import SimulatedI2C
from birthmark.silicon.errors import ChipRefused
from birthmark.silicon.keys import ChipPrivateKey
from birthmark.silicon.port import SLOT_IDENTITY, Algorithm
from birthmark.silicon.simulator.commands import Instruction
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import TPM, new_key
from birthmark_mcu.chip import SecureElement
from birthmark_mcu.errors import Refused

THREAT = "key extraction"
_KEY_MAX_BYTES = 256
_TPM_RESTRICTED = 0x0005_0072


def export_key(intruder: Intruder) -> None:
    """Ask a chip for the private key that it just made."""
    with _naked_chip(intruder) as chip:
        chip.generate_keypair(SLOT_IDENTITY)
        _refusable(chip, Instruction.EXPORT_KEY)


def import_key(intruder: Intruder) -> None:
    """Make a key outside and push it into a chip, to have the chip vouch for it."""
    outside = new_key().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with _naked_chip(intruder) as chip:
        _refusable(chip, Instruction.IMPORT_KEY, outside)


def exportable_key(intruder: Intruder) -> None:
    """Have a chip make a key that may leave it, which the chip attests truthfully, and enrol it."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(), new_key()
    says = replace(chip.pkix_says(key.public_key(), intruder.nonce(unit)), extractable=True, never_extractable=False)
    intruder.enrol(build_csr(key, request_subject(unit), chip.bundle(chip.state(says))))


def decrypting_key(intruder: Intruder) -> None:
    """Enrol a key that may also decrypt: an oracle where only signatures were meant."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(), new_key()
    purpose = (CAPABILITY_SIGN, CAPABILITY_DECRYPT)
    says = replace(chip.pkix_says(key.public_key(), intruder.nonce(unit)), purpose=purpose)
    intruder.enrol(build_csr(key, request_subject(unit), chip.bundle(chip.state(says))))


def restricted_key(intruder: Intruder) -> None:
    """Enrol a TPM's restricted key, an attestation key, as a device key."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(TPM), new_key()
    says = replace(chip.tpm_says(key.public_key(), intruder.nonce(unit)), attributes=_TPM_RESTRICTED)
    intruder.enrol(build_csr(key, request_subject(unit), chip.bundle(chip.state(says))))


def debuggable_chip(intruder: Intruder) -> None:
    """Enrol a chip that left its maker with debugging open."""
    unit = intruder.new_unit()
    chip = open_chip(intruder.debuggable_chip())
    try:
        chip.generate_keypair(SLOT_IDENTITY, Algorithm.P256)
        evidence = chip.attest(SLOT_IDENTITY, intruder.nonce(unit))
        bundle = make_bundle(evidence.statement_type, evidence.statement, chip.identity().ak_certificates)
        intruder.enrol(build_csr(ChipPrivateKey(chip, SLOT_IDENTITY), request_subject(unit), bundle))
    finally:
        chip.close()


@contextmanager
def _naked_chip(intruder: Intruder) -> Iterator[SecureElement]:
    """Yield a chip of the attacker's own at the level of its instructions, past our driver."""
    bus = SimulatedI2C(intruder.loose_chip())
    try:
        yield SecureElement(bus)
    finally:
        bus.deinit()


def _refusable(chip: SecureElement, instruction: Instruction, data: bytes = b"") -> None:
    try:
        chip.command(instruction, data=data, expected=_KEY_MAX_BYTES)
    except Refused as refused:
        raise ChipRefused(f"the chip answered {refused.status:04X}") from refused


ATTACKS = (
    Attack("extraction.export", THREAT, "the chip is asked for its private key", ("chip.refused",), export_key),
    Attack("extraction.import", THREAT, "a key from outside pushed into the chip", ("chip.refused",), import_key),
    Attack(
        "extraction.exportable", THREAT, "a key that may leave its chip", ("evidence.key.extractable",), exportable_key
    ),
    Attack("extraction.decrypt", THREAT, "a key that may also decrypt", ("evidence.key.purpose",), decrypting_key),
    Attack(
        "extraction.restricted", THREAT, "an attestation key as device key", ("evidence.key.purpose",), restricted_key
    ),
    Attack("extraction.debug", THREAT, "a chip with debugging open", ("evidence.chip.debug",), debuggable_chip),
)
