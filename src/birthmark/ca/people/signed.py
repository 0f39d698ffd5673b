# SPDX-License-Identifier: Apache-2.0
"""
What persons have signed, read again from where it is kept. Pure.

A proposal that lies in the ledger is believed as far as its signatures reach: what stands beside them, the act, the
subject, the state, must be what was signed, and it must have been signed for this authority. Who the signers are, and
whether they may, is judged where it counts (`ca.people.roles`).
"""

from cryptography import x509

from birthmark.core import jws
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.proposals import (
    PROPOSAL_TYP,
    RULING_TYP,
    Proposal,
    ProposalDocument,
    Ruling,
    RulingDocument,
    demand_authority,
    read_document,
    read_ruling,
)


def proposed(proposal: Proposal, authority: str) -> ProposalDocument:
    """
    Return what the proposer has signed, for this authority.

    Raises:
        DecodeError: jws.*, proposal.malformed; proposal.authority, it was signed for another one; proposal.mismatch,
            the proposal is not filed as what it is.

    """
    document = read_document(jws.verify(proposal.document, PROPOSAL_TYP, _certificate(proposal.certificate)))
    demand_authority(document, authority)
    if (proposal.id, proposal.act, proposal.subject) != (
        fingerprint(proposal.document.encode("ascii")),
        document.act,
        document.subject,
    ):
        raise DecodeError("the proposal's document is not the one that it is filed as", finding="proposal.mismatch")
    return document


def ruled(proposal: Proposal, ruling: Ruling, authority: str) -> RulingDocument:
    """
    Return what was signed about the proposal, for this authority. A ruling that nobody made has no document.

    Raises:
        DecodeError: as `proposed`.

    """
    document = read_ruling(jws.verify(ruling.document, RULING_TYP, _certificate(ruling.certificate)))
    demand_authority(document, authority)
    if (document.proposal, document.act, document.ruling) != (proposal.id, proposal.act, ruling.state.value):
        raise DecodeError("the ruling was signed for another proposal, or another way", finding="proposal.mismatch")
    return document


def _certificate(der: bytes) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise DecodeError("the signer's certificate cannot be read", finding="proposal.malformed") from error
