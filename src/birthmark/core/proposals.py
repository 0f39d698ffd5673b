# SPDX-License-Identifier: Apache-2.0
"""
Acts that need two persons, as plain values and as the documents that the two sign.

One person signs a document that says what shall be done; another signs a ruling on that very document. Both are
compact JWS (`core.jws`); a proposal is known by the SHA-256 of its document. docs/reference/orders.md describes them.

Each document names the authority that it is for, so that what was signed for one CA counts at no other one, also where
the same persons work for both.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Final, Literal

import msgspec

from birthmark.core import strict_json
from birthmark.core.errors import DecodeError

PROPOSAL_TYP: Final = "proposal+jws"
RULING_TYP: Final = "ruling+jws"
DOCUMENT_MAX_CHARACTERS: Final = 16_384
REASON_MAX: Final = 500

_LINE: Final = r"\A[^\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+\Z"
"""No control characters, nor those that turn the direction of text: what is signed is what a terminal shows."""

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=REASON_MAX, pattern=_LINE)]
"""One line of text: some databases cannot keep a zero byte, and a log is read by lines."""
_NAME: Final = r"\A[^\s+\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+\Z"
AuthorityName = Annotated[str, msgspec.Meta(min_length=1, max_length=255, pattern=_NAME)]
"""The name of a CA, the origin of its log: what a log may be called (C2SP signed-note) and a terminal can show."""
_Act = Annotated[str, msgspec.Meta(pattern=r"\A[a-z]+(\.[a-z-]+)+\Z", max_length=64)]
_Subject = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=_LINE)]
_Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class ProposalDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the proposer signs. `terms` are the act's own: each act has one type for them."""

    record: Literal["birthmark.proposal.v1"] = "birthmark.proposal.v1"
    authority: AuthorityName
    """Whom it is for."""
    act: _Act
    subject: _Subject
    """What it is about: an order, a unit, a chip model."""
    reason: Reason
    terms: msgspec.Raw


class RulingDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the second person signs."""

    record: Literal["birthmark.ruling.v1"] = "birthmark.ruling.v1"
    authority: AuthorityName
    proposal: _Digest
    act: _Act
    ruling: Literal["approved", "rejected"]
    reason: Reason


class State(Enum):
    """What became of a proposal."""

    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The end of a proposal. One that expired was decided by nobody: it has no document and no certificate."""

    state: State
    decided_by: str
    decided_at: datetime
    reason: str
    document: str = ""
    """The approver's compact JWS."""
    certificate: bytes = b""
    """The approver's certificate (DER)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """An act that somebody has proposed. `document` is their compact JWS, `certificate` theirs (DER)."""

    id: str
    """SHA-256 of the document, in lower-case hexadecimal."""
    act: str
    subject: str
    document: str
    certificate: bytes
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    ruling: Ruling | None = None

    def state(self, at: datetime) -> State:
        """Return what became of it by this moment: one that nobody has decided on in its time is expired by itself."""
        if self.ruling is not None:
            return self.ruling.state
        return State.OPEN if at < self.expires_at else State.EXPIRED


def read_document(payload: bytes) -> ProposalDocument:
    """Return the document of a proposal. Raises DecodeError (proposal.malformed)."""
    try:
        return strict_json.decode(payload, ProposalDocument)
    except DecodeError as error:
        raise DecodeError(f"not a proposal: {error}", finding="proposal.malformed") from error


def read_ruling(payload: bytes) -> RulingDocument:
    """Return the document of a ruling. Raises DecodeError (proposal.malformed)."""
    try:
        return strict_json.decode(payload, RulingDocument)
    except DecodeError as error:
        raise DecodeError(f"not a ruling: {error}", finding="proposal.malformed") from error


def demand_authority(document: ProposalDocument | RulingDocument, authority: str) -> None:
    """Pass a document that was signed for this authority. Raises DecodeError (proposal.authority)."""
    if document.authority != authority:
        told = f"it was signed for {document.authority}, and this is {authority}"
        raise DecodeError(told, finding="proposal.authority")
