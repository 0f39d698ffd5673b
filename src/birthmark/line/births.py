# SPDX-License-Identifier: Apache-2.0
"""Birth records: what this rig says of a finished unit, under its own key."""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.core.birth import BirthRecord, sign_birth
from birthmark.core.delivery import SignedBirth


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where the rig stands and what holds the boards, in the words of the factory. Empty where nobody has said it."""

    site: str = ""
    line: str = ""
    station: str = ""
    fixture: str = ""


@dataclass(frozen=True, slots=True)
class Rig:
    """Who works here, on what, with which software, and the credential that signs its births."""

    name: str
    operator: str
    product: str
    order: str
    software: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    where: Whereabouts = Whereabouts()

    def sign(self, record: BirthRecord) -> SignedBirth:
        """Return the record signed by this rig, under the key by which every receiver takes it once."""
        return SignedBirth(record.idempotency_key, record.unit_serial, sign_birth(record, self.key, self.certificate))
