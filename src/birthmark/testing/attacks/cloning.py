# SPDX-License-Identifier: Apache-2.0
"""Threat: device cloning. A counterfeit with a copied certificate, copied evidence, or a certificate of convenience."""

import secrets

from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core.registry import ID_PE_CMW
from birthmark.pki.cmw import cmw_extension, read_cmw
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject, unit_serial_of
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder, der, signer_of
from birthmark.testing.forge import Chip, ChipMaker, new_key

THREAT = "device cloning"
NONCE_BYTES = 32


def copied_certificate(intruder: Intruder) -> None:
    """Connect with a copy of a board's certificate and a key of one's own."""
    victim = intruder.victim
    intruder.cloud(der(victim), signer_of(new_key()), unit_serial_of(victim.subject))


def stripped_evidence(intruder: Intruder) -> None:
    """Connect with a certificate that the issuing key signed without any evidence in it."""
    _minted(intruder, intruder.genuine_chip(), new_key(), None)


def swapped_evidence(intruder: Intruder) -> None:
    """Connect with a certificate over one's own key that carries another board's evidence."""
    _minted(intruder, intruder.genuine_chip(), new_key(), _evidence_of_the_victim(intruder))


def truncated_evidence(intruder: Intruder) -> None:
    """Connect with a certificate whose evidence was cut short."""
    _minted(intruder, intruder.genuine_chip(), new_key(), _evidence_of_the_victim(intruder)[:-20])


def home_made_chip(intruder: Intruder) -> None:
    """Connect with a certificate whose evidence comes from a chip maker of one's own, under the endorsed one's name."""
    key, chip = new_key(), ChipMaker.at(intruder.now, intruder.drawer.name).chip()
    bundle = chip.bundle(chip.attest(key.public_key(), secrets.token_bytes(NONCE_BYTES)))
    _minted(intruder, chip, key, cmw_extension(bundle).value)


def replayed_evidence(intruder: Intruder) -> None:
    """Ask for a certificate with evidence that answers an old, used nonce."""
    unit, chip, key = intruder.new_unit(), intruder.genuine_chip(), new_key()
    nonce = intruder.nonce(unit)
    first = build_csr(key, request_subject(unit), chip.bundle(chip.attest(key.public_key(), nonce)))
    intruder.est().simpleenroll(first)
    later = new_key()
    again = build_csr(later, request_subject(unit), chip.bundle(chip.attest(later.public_key(), nonce)))
    intruder.enrol(again)


def evidence_of_another_board(intruder: Intruder) -> None:
    """Ask for a certificate over one's own key with the evidence in another board's certificate."""
    unit = intruder.new_unit()
    intruder.nonce(unit)
    intruder.enrol(build_csr(new_key(), request_subject(unit), read_cmw(intruder.victim)))


def _minted(intruder: Intruder, chip: Chip, key: ec.EllipticCurvePrivateKey, cmw: bytes | None) -> None:
    """Mint a device certificate with the issuing key itself, and connect with it."""
    unit = intruder.new_unit()
    certificate = intruder.corrupt_ca.certify(unit, chip, key.public_key(), cmw)
    intruder.cloud(der(certificate), signer_of(key), unit)


def _evidence_of_the_victim(intruder: Intruder) -> bytes:
    return intruder.victim.extensions.get_extension_for_oid(ID_PE_CMW).value.public_bytes()


ATTACKS = (
    Attack(
        "cloning.copied-certificate",
        THREAT,
        "a copied certificate with another key",
        ("tls.decrypt-error",),
        copied_certificate,
    ),
    Attack(
        "cloning.stripped-evidence",
        THREAT,
        "CA-signed, but without evidence",
        ("cloud.evidence.missing",),
        stripped_evidence,
    ),
    Attack(
        "cloning.swapped-evidence",
        THREAT,
        "CA-signed, with another board's evidence",
        ("evidence.key.mismatch",),
        swapped_evidence,
    ),
    Attack(
        "cloning.truncated-evidence",
        THREAT,
        "CA-signed, with evidence cut short",
        ("cloud.evidence.malformed",),
        truncated_evidence,
    ),
    Attack(
        "cloning.home-made-chip",
        THREAT,
        "CA-signed, evidence of a home-made chip",
        ("evidence.ak.unendorsed",),
        home_made_chip,
    ),
    Attack(
        "cloning.replayed-evidence",
        THREAT,
        "evidence that answers an old nonce",
        ("ca.6.nonce-used",),
        replayed_evidence,
    ),
    Attack(
        "cloning.foreign-evidence",
        THREAT,
        "evidence of board A, key of board B",
        ("evidence.key.mismatch",),
        evidence_of_another_board,
    ),
)
