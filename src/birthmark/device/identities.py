# SPDX-License-Identifier: Apache-2.0
"""What the chip's slots hold, as identities. Reads only."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from birthmark.device.acceptance import Standards, check_successor
from birthmark.device.errors import CertificateRejected, NoIdentity
from birthmark.device.ports import Identity
from birthmark.device.rotation import Observed
from birthmark.evidence.verdict import AppraisalRefused
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.names import unit_serial_of
from birthmark.silicon.port import SLOTS, SecureElement, SlotState

_UNREADABLE = (
    ValueError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def other_slot(slot: str) -> str:
    """Return the slot that is not this one."""
    return next(other for other in SLOTS if other != slot)


def active_identity(chip: SecureElement, unit: str) -> Identity:
    """
    Return the identity in use.

    Raises:
        NoIdentity: the slot in use has no readable certificate, or one of another unit.

    """
    slot = chip.active_slot()
    certificate = _certificate(chip, slot)
    if certificate is None:
        raise NoIdentity(f"slot {slot} holds no certificate", hint="personalise this unit at the line")
    named = unit_serial_of(certificate.subject)
    if named != unit:
        hint = "compare device.toml with the label"
        raise NoIdentity(f"the chip is of unit {named}, not of {unit}", hint=hint, finding="device.unit-mismatch")
    return Identity(slot, certificate)


def candidate(chip: SecureElement, current: Identity, standards: Standards) -> Identity | None:
    """
    Return the identity in the other slot if it may follow the current one.

    Its time is not judged: after a power cut this device's clock may be anywhere, and the cloud is asked anyway before
    the identity is used. What is destroyed for being no candidate is so for reasons that no clock changes.
    """
    slot = other_slot(current.slot)
    certificate = _certificate(chip, slot)
    if certificate is None:
        return None
    spki = chip.public_key(slot)
    try:
        check_successor(certificate, current.certificate, spki, standards, certificate.not_valid_before_utc)
    except (CertificateRejected, AppraisalRefused):
        return None
    return Identity(slot, certificate)


def observe(chip: SecureElement, current: Identity, standards: Standards) -> Observed:
    """Return what the other slot holds."""
    state = chip.state(other_slot(current.slot))
    if state is not SlotState.CERTIFIED:
        return Observed(state, successor=False)
    successor = candidate(chip, current, standards)
    if successor is None:
        return Observed(state, successor=False)
    return Observed(state, successor=True, connects=key_type_of(successor).signs_handshakes)


def key_type_of(identity: Identity) -> KeyAlgorithm:
    """Return the type of the identity's key. Raises AlgorithmRefused for one that no CA of ours certifies."""
    return key_algorithm(identity.certificate.public_key())


def _certificate(chip: SecureElement, slot: str) -> x509.Certificate | None:
    if chip.state(slot) is not SlotState.CERTIFIED:
        return None
    der = chip.get_certificate(slot)
    return None if der is None else _read(der)


def _read(der: bytes) -> x509.Certificate | None:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # pyca reads these when they are asked for; a write that a power cut has halved has to show here.
        _ = certificate.subject, certificate.extensions, certificate.public_key()
    except _UNREADABLE:
        return None
    return certificate
