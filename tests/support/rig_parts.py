# SPDX-License-Identifier: Apache-2.0
"""A CA of rigs beside an issuing authority, tickets that two persons have signed, and what a rig asks with."""

from datetime import timedelta
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from birthmark.ca.rigs.desk import RigDesk, RigIssuer
from birthmark.ca.rigs.tickets import TICKET, TicketTerms
from birthmark.core.proposals import Proposal
from birthmark.core.tickets import new_ticket, ticket_digest
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.authorities import make_rig_ca
from birthmark.pki.csr import build_csr
from birthmark.testing.forge import new_key
from support.ca_parts import AUTHORITY, CAParts

VALIDITY_DAYS = 90


class Office(Protocol):
    """Two persons who propose and decide."""

    def propose(self, act: str, subject: str, terms: msgspec.Struct) -> Proposal: ...

    def decide(self, proposal: Proposal) -> None: ...


class RigParts:
    """The desk, and the people who invite rigs to it."""

    def __init__(self, parts: CAParts, office: Office) -> None:
        self.parts = parts
        self.office = office
        self.ca = make_rig_ca(parts.forge.root, "Rigs CA", new_key(), parts.clock())
        issuer = RigIssuer(self.ca, VALIDITY_DAYS)
        self.desk = RigDesk(issuer, parts.store, parts.policy.trust, AUTHORITY, parts.clock)

    def ticket(self, rig: str, *orders: str, days: float = 7) -> str:
        """Return a ticket for a rig of this name."""
        text = new_ticket()
        self.office.decide(self.office.propose(TICKET, rig, self.terms(text, *orders, days=days)))
        return text

    def terms(self, text: str, *orders: str, days: float = 7) -> TicketTerms:
        until = self.parts.clock() + timedelta(days=days)
        return TicketTerms(ticket=ticket_digest(text), not_after=until, orders=orders)


def rig_request(name: str, key: SigningKey | ec.EllipticCurvePrivateKey) -> str:
    """Return a request (PEM) of a rig for a key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return x509.load_der_x509_csr(build_csr(key, subject, None)).public_bytes(Encoding.PEM).decode()
