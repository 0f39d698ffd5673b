# SPDX-License-Identifier: Apache-2.0
"""People who work on an authority: their certificates, and the documents that they sign."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.demands import Client
from birthmark.ca.people.roles import Officer, demand_officer
from birthmark.core import jws
from birthmark.core.ids import fingerprint
from birthmark.core.proposals import PROPOSAL_TYP, RULING_TYP, ProposalDocument, RulingDocument
from birthmark.core.roles import Role
from birthmark.pki.authorities import Authority, make_officer
from birthmark.pki.paths import TrustAnchors
from birthmark.testing.forge import new_key
from support.ca_parts import AUTHORITY


@dataclass(frozen=True)
class Person:
    """Somebody with a key and a certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def hired(cls, operations: Authority, name: str, role: Role, at: datetime) -> "Person":
        key = new_key()
        return cls(key, make_officer(operations, name, role, key.public_key(), at))

    @property
    def client(self) -> Client:
        return Client(self.certificate, ())

    def officer(self, trust: TrustAnchors, at: datetime) -> Officer:
        return demand_officer(self.client, trust, at)

    def proposal(self, act: str, subject: str, terms: Any, reason: str = "as planned", **changes: str) -> str:
        raw = msgspec.Raw(msgspec.json.encode(terms))
        fields = {"authority": AUTHORITY, "act": act, "subject": subject, "reason": reason}
        document = ProposalDocument(**(fields | changes), terms=raw)
        return jws.sign(msgspec.json.encode(document), PROPOSAL_TYP, self.key, self.certificate)

    def ruling(self, token: str, act: str, ruling: str = "approved", **changes: str) -> str:
        fields: dict[str, Any] = {
            "authority": AUTHORITY,
            "proposal": fingerprint(token.encode()),
            "act": act,
            "ruling": ruling,
            "reason": "I have read it",
        }
        document = RulingDocument(**(fields | changes))
        return jws.sign(msgspec.json.encode(document), RULING_TYP, self.key, self.certificate)
