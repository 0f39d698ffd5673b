# SPDX-License-Identifier: Apache-2.0
"""Threat: the afterlife. A board, a chip or an attestation key that was given up comes back and tries to count."""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.life.lifecycle import ADMINISTRATOR, Lifecycle
from birthmark.ca.life.units import Move
from birthmark.ca.wiring import open_ca
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipGroup, ChipID, GroupKind
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder, der, signer_of
from birthmark.testing.forge import Chip, new_key, spki
from birthmark.testing.lab.ceremony import MAKER

THREAT = "afterlife"
_REASON = "played by an attack"


def retired_unit_born_again(intruder: Intruder) -> None:
    """Have the chip of a retired unit born again, in another unit's name."""
    unit, chip, _, _ = _fielded(intruder)
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        authority.lifecycle.move(ADMINISTRATOR, unit, Move.RETIRE, _REASON)
    _enrol(intruder, intruder.new_unit(), chip)


def suspended_unit_born_again(intruder: Intruder) -> None:
    """Have a suspended unit born again, with a new key of its own chip."""
    unit, chip, _, _ = _fielded(intruder)
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        authority.lifecycle.move(ADMINISTRATOR, unit, Move.SUSPEND, _REASON)
    _enrol(intruder, unit, chip)


def revoked_unit_with_another_chip(intruder: Intruder) -> None:
    """Give a revoked unit's serial to another genuine chip, without a second person."""
    unit, _, _, _ = _fielded(intruder)
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        authority.lifecycle.revoke_unit(ADMINISTRATOR, unit, _REASON)
    _enrol(intruder, unit, intruder.genuine_chip())


def leaked_attestation_key(intruder: Intruder) -> None:
    """Have a further unit born under an attestation key that was reported as leaked."""
    _, chip, _, _ = _fielded(intruder)
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        _report(authority.lifecycle, chip)
    _enrol(intruder, intruder.new_unit(), chip)


def board_of_a_leaked_attestation_key(intruder: Intruder) -> None:
    """Go on publishing with a board whose attestation key was reported as leaked after its birth."""
    unit, chip, key, certificate = _fielded(intruder)
    intruder.cloud(der(certificate), signer_of(key), unit)
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        _report(authority.lifecycle, chip)
    intruder.await_dark(der(certificate), signer_of(key), unit)


def drawer_certificate_of_a_revoked_chip(intruder: Intruder) -> None:
    """Enrol a genuine chip out of a drawer that was reported as stolen, and that the authority has never seen."""
    chip = intruder.genuine_chip()
    with open_ca(intruder.lab.path / "ca.toml") as authority:
        authority.lifecycle.revoke_chip(ADMINISTRATOR, ChipID(MAKER, chip.serial), _REASON)
    _enrol(intruder, intruder.new_unit(), chip)


def _fielded(intruder: Intruder) -> tuple[str, Chip, ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return a unit that an honest rig has made, with its chip, its key and its certificate."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(unit)))
    certificate = intruder.enrol(build_csr(key, request_subject(unit), bundle))
    intruder.confirm_birth(unit, chip, certificate)
    return unit, chip, key, certificate


def _enrol(intruder: Intruder, unit: str, chip: Chip) -> None:
    key = new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(unit)))
    intruder.enrol(build_csr(key, request_subject(unit), bundle))


def _report(life: Lifecycle, chip: Chip) -> None:
    group = ChipGroup(GroupKind.AK, fingerprint(spki(chip.ak.public_key())))
    life.revoke_group(ADMINISTRATOR, group, _REASON)


ATTACKS = (
    Attack(
        "afterlife.retired", THREAT, "a retired unit's chip, in another unit", ("ca.7.denied",), retired_unit_born_again
    ),
    Attack(
        "afterlife.suspended", THREAT, "a suspended unit, born again", ("ca.7.unit-state",), suspended_unit_born_again
    ),
    Attack(
        "afterlife.another-chip",
        THREAT,
        "a revoked unit's serial, another chip",
        ("ca.7.unit-chip",),
        revoked_unit_with_another_chip,
    ),
    Attack(
        "afterlife.leaked-ak",
        THREAT,
        "one more unit under a leaked AK",
        ("ca.7.denied",),
        leaked_attestation_key,
    ),
    Attack(
        "afterlife.dark-board",
        THREAT,
        "a board whose AK leaked later",
        ("cloud.revoked",),
        board_of_a_leaked_attestation_key,
    ),
    Attack(
        "afterlife.stolen-drawer",
        THREAT,
        "a chip of a drawer that was stolen",
        ("ca.7.denied",),
        drawer_certificate_of_a_revoked_chip,
    ),
)
