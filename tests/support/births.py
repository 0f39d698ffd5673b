# SPDX-License-Identifier: Apache-2.0
"""Signed birth records, for whoever stores or takes them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core.birth import BirthRecord, sign_birth
from birthmark.core.delivery import SignedBirth
from birthmark.pki.authorities import Authority, make_rig, make_root, make_sub_ca

MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def new_rig(name: str = "rig-a") -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    root = make_root("Forge", "Forge root", ec.generate_private_key(ec.SECP256R1()), MOMENT)
    operations = make_sub_ca(root, "Forge operations CA", ec.generate_private_key(ec.SECP256R1()), MOMENT)
    key = ec.generate_private_key(ec.SECP256R1())
    return _rig(operations, name, key), key


def _rig(operations: Authority, name: str, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return make_rig(operations, name, key.public_key(), MOMENT)


def record(unit: str, operator: str = "ada") -> BirthRecord:
    """Return a record of a unit that was never made; its fingerprints follow from the unit's serial."""
    fingerprint = unit.encode().hex().ljust(64, "0")
    return BirthRecord(
        unit_serial=unit,
        chip_model="optiga-trust-m",
        chip_serial="0123456789ABCDEF",
        product="Controller",
        order="order-1",
        rig="rig-a",
        operator=operator,
        position=1,
        certificate_serial="1f",
        certificate_sha256=fingerprint,
        key_sha256=fingerprint,
        evidence_sha256=fingerprint,
        software="birthmark 0",
        started=MOMENT.isoformat(),
        finished=MOMENT.isoformat(),
        outcome="PASS",
        step_ms={"generate": 61.5},
    )


@dataclass
class Births:
    """Signs births with one rig's key."""

    rig: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] = field(default_factory=new_rig)

    def of(self, unit: str, operator: str = "ada") -> SignedBirth:
        certificate, key = self.rig
        made = record(unit, operator)
        return SignedBirth(made.idempotency_key, unit, sign_birth(made, key, certificate))
