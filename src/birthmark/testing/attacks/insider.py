# SPDX-License-Identifier: Apache-2.0
"""
Threat: the insiders.

The one at the contract manufacturer holds valid rig credentials; the one at the chip maker has chips or keys that
nobody should have.
"""

from contextlib import suppress

from cryptography import x509

from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.errors import ESTClientRefused
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder
from birthmark.testing.forge import Chip, ChipMaker, Model, new_key
from birthmark.testing.lab.files import (
    DELIVERED_MODEL,
    ORDER_OF_ONE,
    ORDER_OF_THE_OTHER_RIG,
    ORDER_PAST,
    WITHDRAWN_MODEL,
    apdu_hw_type,
)

THREAT = "insider"


def software_key(intruder: Intruder) -> None:
    """Ask for a certificate over a software key, without evidence."""
    unit = intruder.new_unit()
    intruder.nonce(unit)
    intruder.enrol(build_csr(new_key(), request_subject(unit), None))


def software_chip(intruder: Intruder) -> None:
    """Ask for a certificate over a software key, with evidence from a chip that is only software."""
    maker = ChipMaker.at(intruder.now, intruder.drawer.name)
    _attested(intruder, maker, None)


def order_of_another_rig(intruder: Intruder) -> None:
    """Enrol a genuine chip under an order that names another rig."""
    _attested(intruder, intruder.drawer, ORDER_OF_THE_OTHER_RIG.name)


def order_of_the_past(intruder: Intruder) -> None:
    """Enrol a genuine chip under an order whose window has closed."""
    _attested(intruder, intruder.drawer, ORDER_PAST.name)


def one_too_many(intruder: Intruder) -> None:
    """Enrol two genuine chips under an order for one unit."""
    with suppress(ESTClientRefused):  # an earlier campaign may have used the one unit up
        intruder.enrol_properly(intruder.new_unit(), intruder.genuine_chip(), order=ORDER_OF_ONE.name)
    _attested(intruder, intruder.drawer, ORDER_OF_ONE.name)


def same_evidence_twice(intruder: Intruder) -> None:
    """Use the evidence of one unit to ask for a certificate in the name of another."""
    chip, key, unit, other = intruder.genuine_chip(), new_key(), intruder.new_unit(), intruder.new_unit()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(unit)))
    intruder.nonce(other)
    intruder.enrol(build_csr(key, request_subject(other), bundle))


def drawer_certificate(intruder: Intruder) -> None:
    """Get a second certificate, in another unit's name, for a chip that has its identity already."""
    chip, unit = intruder.genuine_chip(), intruder.new_unit()
    intruder.confirm_birth(unit, chip, intruder.enrol_properly(unit, chip))
    second, key = intruder.new_unit(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(second)))
    intruder.enrol(build_csr(key, request_subject(second), bundle))


def undelivered(intruder: Intruder) -> None:
    """Enrol a genuine chip of a model whose chips are listed, that is on no list: stolen at its maker."""
    _enrol_chip(intruder, intruder.genuine_chip(_model(DELIVERED_MODEL)))


def withdrawn_model(intruder: Intruder) -> None:
    """Enrol a genuine chip of a model whose endorsement has ended."""
    _enrol_chip(intruder, intruder.genuine_chip(_model(WITHDRAWN_MODEL)))


def stolen_ak_ca(intruder: Intruder) -> None:
    """Enrol a chip of software, certified under the endorsed root by an attestation CA whose key was stolen."""
    maker = intruder.stolen
    _enrol_chip(intruder, maker.chip(), maker.ak_ca.certificate)


def _model(name: str) -> Model:
    return Model(name, apdu_hw_type(name), PKIX_EVIDENCE)


def _enrol_chip(intruder: Intruder, chip: Chip, *others: x509.Certificate) -> None:
    unit, key = intruder.new_unit(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(unit)), *others)
    intruder.enrol(build_csr(key, request_subject(unit), bundle))


def _attested(intruder: Intruder, maker: ChipMaker, order: str | None) -> None:
    """Ask for a certificate with evidence from a chip of `maker`."""
    unit, chip, key = intruder.new_unit(), maker.chip(), new_key()
    bundle = chip.bundle(chip.attest(key.public_key(), intruder.nonce(unit, order=order)))
    intruder.enrol(build_csr(key, request_subject(unit), bundle), order=order)


ATTACKS = (
    Attack("insider.software-key", THREAT, "rig credentials, a software key", ("ca.3.evidence",), software_key),
    Attack(
        "insider.software-chip",
        THREAT,
        "rig credentials, a chip of software",
        ("evidence.ak.unendorsed",),
        software_chip,
    ),
    Attack("insider.foreign-order", THREAT, "a rig outside its order", ("ca.1.order-rig",), order_of_another_rig),
    Attack("insider.past-order", THREAT, "an order whose window has closed", ("ca.8.window",), order_of_the_past),
    Attack("insider.one-too-many", THREAT, "one unit more than the order allows", ("ca.8.quota",), one_too_many),
    Attack(
        "insider.same-evidence", THREAT, "the same evidence for two units", ("ca.6.nonce-unit",), same_evidence_twice
    ),
    Attack(
        "insider.drawer", THREAT, "a second certificate for the same chip", ("ca.7.chip-alive",), drawer_certificate
    ),
    Attack(
        "insider.undelivered",
        THREAT,
        "a chip that was never delivered",
        ("evidence.chip.undelivered",),
        undelivered,
    ),
    Attack(
        "insider.withdrawn-model",
        THREAT,
        "a chip of a withdrawn model",
        ("evidence.model.withdrawn",),
        withdrawn_model,
    ),
    Attack(
        "insider.stolen-ak-ca",
        THREAT,
        "a chip maker's CA that was stolen",
        ("evidence.ak.ca-denied",),
        stolen_ak_ca,
    ),
)
