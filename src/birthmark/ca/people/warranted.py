# SPDX-License-Identifier: Apache-2.0
"""
What two persons have signed, believed where it lies in the ledger: a proposal, and an approval of another person.

Whoever can write the database cannot write that; what the same persons have signed for another CA does not count here.
"""

from typing import TypeAlias

from cryptography import x509

from birthmark.ca.demands import Client
from birthmark.ca.people import signed
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS
from birthmark.ca.people.roles import demand_another_person, demand_role
from birthmark.core.errors import DecodeError
from birthmark.core.proposals import Proposal, ProposalDocument, Ruling, State
from birthmark.pki.paths import TrustAnchors

Signers: TypeAlias = tuple[x509.Certificate, ...]


def demand_approved(proposal: Proposal | None, authority: str, trust: TrustAnchors) -> tuple[ProposalDocument, Signers]:
    """
    Return what a security officer has proposed to this authority and an approver has let happen, and the two.

    Raises:
        DecodeError: it was not approved, or what lies there is not what was signed. Refused: they were not such
            persons when they signed, or one of them is denied. ValueError: a certificate cannot be read.

    """
    if proposal is None or proposal.ruling is None or proposal.ruling.state is not State.APPROVED:
        raise DecodeError("there is no approved proposal behind it")
    document = signed.proposed(proposal, authority)
    signed.ruled(proposal, proposal.ruling, authority)
    return document, _two_persons(proposal, proposal.ruling, trust)


def _two_persons(proposal: Proposal, ruling: Ruling, trust: TrustAnchors) -> Signers:
    proposer, approver = map(x509.load_der_x509_certificate, (proposal.certificate, ruling.certificate))
    at = ruling.decided_at
    demand_role(Client(proposer, ()), SECURITY_OFFICERS, trust, at)
    demand_another_person(demand_role(Client(approver, ()), APPROVERS, trust, at), proposer)
    return proposer, approver
