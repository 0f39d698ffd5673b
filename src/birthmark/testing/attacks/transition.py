# SPDX-License-Identifier: Apache-2.0
"""The legacy door: the old per-SKU key, extracted from any fielded unit, tries to be more than it is."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from birthmark.pki.authorities import make_legacy
from birthmark.pki.cmw import cmw_extension, read_cmw
from birthmark.pki.names import unit_serial_of
from birthmark.testing.attacks.catalogue import Attack
from birthmark.testing.attacks.intruder import Intruder, der, signer_of
from birthmark.testing.forge import new_key
from birthmark.testing.lab.ceremony import offline_authority

THREAT = "legacy door"
_FIELDED = "LEGACY-0042"
_UNBORN = "BM-999999"


def claims_a_living_serial(intruder: Intruder) -> None:
    """Publish as an attested board with the extracted SKU key."""
    intruder.publish_as_legacy(unit_serial_of(intruder.victim.subject))


def claims_an_unborn_serial(intruder: Intruder) -> None:
    """Publish as a new-line board that nobody has made yet."""
    intruder.publish_as_legacy(_UNBORN)


def wants_commands(intruder: Intruder) -> None:
    """Ask for commands as a fielded legacy device."""
    intruder.ask_commands_as_legacy(_FIELDED)


def borrows_evidence(intruder: Intruder) -> None:
    """Have the old corporate CA sign a certificate that carries an attested board's name and evidence."""
    old, key, victim = offline_authority(intruder.lab.path, "legacy"), new_key(), intruder.victim
    plain = make_legacy(old, "x0", key.public_key(), intruder.now)
    builder = (
        x509.CertificateBuilder(extensions=[*plain.extensions])
        .subject_name(victim.subject)
        .issuer_name(plain.issuer)
        .public_key(key.public_key())
        .serial_number(plain.serial_number)
        .not_valid_before(plain.not_valid_before_utc)
        .not_valid_after(plain.not_valid_after_utc)
        .add_extension(cmw_extension(read_cmw(victim)), critical=False)
    )
    certificate = builder.sign(old.key, hashes.SHA256())
    intruder.cloud(der(certificate), signer_of(key), unit_serial_of(victim.subject))


ATTACKS = (
    Attack(
        "legacy.living-serial",
        THREAT,
        "the SKU key claims a board's serial",
        ("legacy.new-line-serial",),
        claims_a_living_serial,
    ),
    Attack(
        "legacy.unborn-serial",
        THREAT,
        "the SKU key claims an unborn serial",
        ("legacy.new-line-serial",),
        claims_an_unborn_serial,
    ),
    Attack("legacy.commands", THREAT, "the SKU key asks for commands", ("legacy.rights",), wants_commands),
    Attack(
        "legacy.borrowed-evidence",
        THREAT,
        "the old CA signs a board's evidence",
        ("legacy.evidence-present",),
        borrows_evidence,
    ),
)
