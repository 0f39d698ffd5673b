# SPDX-License-Identifier: Apache-2.0
"""
Four eyes: acts that one person proposes and another one lets happen.

What such an act is, who may propose it, who may decide on it and what it does is a row of a table (`Act`); this is the
mechanism that all of them share. To add an act, write its terms (a msgspec.Struct), its functions, and give the row to
`Approvals` in wiring:

    Act("unit.rework", ReworkTerms, "unit_serial", may_propose=LINE_LEADS, may_approve=APPROVERS,
        ask=demand_reworkable, execute=rework)

Guaranteed for each act that is executed: the proposer signed its document and the approver a ruling on that document,
each with the key of a certificate that is good now; they are different persons in roles that may; the document is no
older than its time; both documents name this authority; it was executed once, in the transaction that holds both
signatures and their log entries.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.demands import CONFLICT, FORBIDDEN, MALFORMED, UNKNOWN, Client
from birthmark.ca.errors import Refused
from birthmark.ca.people import signed
from birthmark.ca.people.roles import Officer, demand_another_person, demand_officer
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.core import jws, strict_json
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.ledger_rows import Said, proposal_row, ruling_row, said
from birthmark.core.proposals import (
    DOCUMENT_MAX_CHARACTERS,
    PROPOSAL_TYP,
    RULING_TYP,
    Proposal,
    ProposalDocument,
    Ruling,
    RulingDocument,
    State,
    demand_authority,
    read_document,
    read_ruling,
)
from birthmark.core.roles import Role
from birthmark.pki.paths import TrustAnchors

SECURITY_OFFICERS: Final = frozenset({Role.SECURITY_OFFICER})
LINE_LEADS: Final = frozenset({Role.LINE_LEAD})
APPROVERS: Final = frozenset({Role.APPROVER, Role.SECURITY_OFFICER})

PROPOSAL_LIFE: Final = timedelta(days=14)
"""A proposal on which nobody has decided by then is void."""
EXPIRE_MAX: Final = 500
"""Proposals that expire in one transaction."""
AUTHORITY: Final = "authority"

_FINDINGS: Final = MappingProxyType(
    {
        "jws.signature": (FORBIDDEN, "ca.approval.signature"),
        "jws.signer": (FORBIDDEN, "ca.approval.signature"),
        "proposal.authority": (CONFLICT, "ca.approval.authority"),
        "proposal.mismatch": (CONFLICT, "ca.approval.mismatch"),
    }
)
"""How the client hears what is wrong with a document; everything else is ca.approval.malformed."""

Field = Literal["", "order", "unit_serial", "chip_serial", "certificate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A proposal as the functions of its act see it: read, and signed by whom it says. `terms` have the act's type."""

    act: "Act"
    proposal: Proposal
    terms: Any
    reason: str
    """The proposer's."""
    who: str
    """Who makes it happen now: the proposer in `ask`, the approver in `execute`."""
    who_fingerprint: str
    at: datetime

    @property
    def subject(self) -> str:
        """What it is about."""
        return self.proposal.subject

    def row(self, detail: str = "", **fields: str) -> AuditRow:
        """Return the log entry of something that the act does; it names the proposal's document as what it rests on."""
        said: dict[str, Any] = {"act": self.act.name, "about": self.proposal.id, "detail": detail}
        if self.act.subject_field:
            said[self.act.subject_field] = self.subject
        said |= fields
        return AuditRow(at=self.at, who=self.who, fingerprint=self.who_fingerprint, **said)


def _nothing(_ledger: Ledger, _asked: Asked) -> None:
    """Do nothing, of which the log has nothing to say."""


@dataclass(frozen=True, slots=True)
class Act:
    """
    One kind of act. Its functions run inside a writing transaction and raise Refused for what cannot be.

    Attributes:
        name: in documents and in the log: `order.create`.
        terms: the type of what the proposer asks for; decoded strictly (forbid unknown fields in it).
        subject_field: under which name the log has the subject.
        ask: demands what must hold when it is proposed; may write what is visible until the decision, and returns what
            the log is to say of that.
        execute: demands what must hold now, does it, and returns the log entries of what it did.
        drop: takes back what `ask` wrote, when it is rejected or expires; returns what the log is to say of that.

    """

    name: str
    terms: type[msgspec.Struct]
    subject_field: Field
    may_propose: frozenset[Role]
    may_approve: frozenset[Role]
    ask: Callable[[Ledger, Asked], Said | None]
    execute: Callable[[Ledger, Asked], Sequence[AuditRow]]
    drop: Callable[[Ledger, Asked], Said | None] = _nothing


class Approvals:
    """Takes proposals and rulings. Calls may come from several threads; several processes may share the ledger."""

    def __init__(
        self, store: CAStore, acts: Collection[Act], trust: TrustAnchors, authority: str, clock: Clock
    ) -> None:
        """`authority` is the name of this CA, the origin of its log: documents for another one are refused."""
        self.authority = authority
        self._store = store
        self._acts: Mapping[str, Act] = MappingProxyType({act.name: act for act in acts})
        self._trust = trust
        self._clock = clock

    def propose(self, officer: Officer, token: str) -> Proposal:
        """
        Keep what the officer has signed until somebody decides on it. The same document again changes nothing.

        Raises:
            Refused: ca.approval.malformed, .signature, .authority, .act, ca.1.role, or what the act demands.
            StoreError.

        """
        at = self._clock()
        document: ProposalDocument = self._document(token, PROPOSAL_TYP, read_document, officer)
        proposal = _proposal(token, document, officer, at)
        act = self._act(document.act)
        _demand_allowed(officer, act.may_propose, "propose", act)
        asked = _asked(act, proposal, officer, at)
        with self._store.writing() as ledger:
            known = ledger.proposal(proposal.id)
            if known is not None:
                return known
            state = said("proposal", proposal_row(proposal)) | (act.ask(ledger, asked) or {})
            ledger.put_proposal(proposal)
            row = asked.row(f"{act.name}: {document.reason}")
            ledger.append([msgspec.structs.replace(row, act="propose", state=state)])
        return proposal

    def rule(self, officer: Officer, proposal_id: str, token: str) -> Proposal:
        """
        Let the act happen, or not, as the officer has signed. The same ruling again changes nothing.

        Raises:
            Refused: ca.approval.*, ca.1.role, ca.1.officer (the proposer's certificate is no longer good), or what the
                act demands. StoreError.

        """
        at = self._clock()
        ruling: RulingDocument = self._document(token, RULING_TYP, read_ruling, officer)
        with self._store.writing() as ledger:
            proposal = _known(ledger, proposal_id)
            if proposal.ruling is not None and proposal.ruling.document == token:
                return proposal
            act = self._act(proposal.act)
            _demand_allowed(officer, act.may_approve, "decide on", act)
            _demand_open(proposal, ruling, at)
            self._demand_proposer(officer, proposal, act, at)
            made = _ruling(ruling, token, officer, at)
            decided = replace(proposal, ruling=made)
            asked = _asked(act, decided, officer, at)
            ledger.rule(decided.id, made)
            ledger.append(_carried_out(ledger, asked, made))
        return decided

    def proposal(self, proposal_id: str) -> Proposal:
        """Return a proposal. Raises Refused (ca.approval.unknown), StoreError."""
        with self._store.reading() as ledger:
            return _known(ledger, proposal_id)

    def proposals(self, limit: int) -> tuple[Proposal, ...]:
        """Return the latest proposals, the last one first. Raises StoreError."""
        with self._store.reading() as ledger:
            return ledger.proposals(limit)

    def expire(self) -> int:
        """Write down that nobody decided on proposals in their time; return how many. Raises StoreError."""
        count = 0
        while True:
            at = self._clock()
            with self._store.reading() as ledger:
                if not ledger.overdue_proposals(at, 1):
                    return count
            with self._store.writing() as ledger:
                overdue = ledger.overdue_proposals(at, EXPIRE_MAX)
                for proposal in overdue:
                    self._expire(ledger, proposal, at)
            count += len(overdue)

    def _expire(self, ledger: Ledger, proposal: Proposal, at: datetime) -> None:
        ruling = Ruling(state=State.EXPIRED, decided_by=AUTHORITY, decided_at=at, reason="nobody decided in time")
        ledger.rule(proposal.id, ruling)
        state = said("ruling", ruling_row(proposal.id, ruling))
        row = AuditRow(at=at, who=AUTHORITY, act="expire", about=proposal.id, detail=proposal.act)
        try:
            asked = _asked(self._act(proposal.act), replace(proposal, ruling=ruling), None, at)
        except Refused:  # an act of another release, or a document that was put there: nothing of it is dropped here
            ledger.append([msgspec.structs.replace(row, state=state)])
            return
        state |= asked.act.drop(ledger, asked) or {}
        ledger.append([msgspec.structs.replace(asked.row(proposal.act), act="expire", state=state)])

    def _act(self, name: str) -> Act:
        act = self._acts.get(name)
        if act is None:
            raise Refused(MALFORMED, "ca.approval.act", f"there is no act {name}", hint=", ".join(sorted(self._acts)))
        return act

    def _document(self, token: str, typ: str, read: Callable[[bytes], Any], officer: Officer) -> Any:
        """Return what the officer signed for this authority. Refused: ca.approval.malformed, .signature, .authority."""
        if len(token) > DOCUMENT_MAX_CHARACTERS:
            raise Refused(MALFORMED, "ca.approval.malformed", f"a document of {len(token)} characters")
        with _explained():
            document = read(jws.verify(token, typ, officer.certificate))
            demand_authority(document, self.authority)
        return document

    def _demand_proposer(self, officer: Officer, proposal: Proposal, act: Act, at: datetime) -> None:
        """Pass another person's proposal. What lies in the ledger is not believed: all of it must be good now too."""
        with _explained():
            signed.proposed(proposal, self.authority)
        certificate = x509.load_der_x509_certificate(proposal.certificate)
        demand_another_person(officer, certificate)
        proposer = demand_officer(Client(certificate, ()), self._trust, at)
        _demand_allowed(proposer, act.may_propose, "propose", act)


def _demand_open(proposal: Proposal, ruling: RulingDocument, at: datetime) -> None:
    if (ruling.proposal, ruling.act) != (proposal.id, proposal.act):
        raise Refused(CONFLICT, "ca.approval.mismatch", "the ruling was signed for another proposal")
    state = proposal.state(at)
    if state is not State.OPEN:
        raise Refused(CONFLICT, "ca.approval.decided", f"the proposal is {state.value} already")


@contextmanager
def _explained() -> Iterator[None]:
    """Refuse a document that is not what it must be, under the finding that clients know."""
    try:
        yield
    except DecodeError as error:
        status, finding = _FINDINGS.get(error.finding, (MALFORMED, "ca.approval.malformed"))
        raise Refused(status, finding, error.message) from error


def _proposal(token: str, document: ProposalDocument, officer: Officer, at: datetime) -> Proposal:
    return Proposal(
        id=fingerprint(token.encode("ascii")),
        act=document.act,
        subject=document.subject,
        document=token,
        certificate=officer.certificate.public_bytes(Encoding.DER),
        proposed_by=officer.holder,
        proposed_at=at,
        expires_at=at + PROPOSAL_LIFE,
    )


def _asked(act: Act, proposal: Proposal, officer: Officer | None, at: datetime) -> Asked:
    """Return a proposal, read for its act. Refused: ca.approval.malformed."""
    with _explained():
        document = read_document(jws.read(proposal.document).payload)
        terms = strict_json.decode(document.terms, act.terms)
    who, who_fingerprint = (AUTHORITY, "") if officer is None else (officer.holder, officer.fingerprint)
    return Asked(
        act=act,
        proposal=proposal,
        terms=terms,
        reason=document.reason,
        who=who,
        who_fingerprint=who_fingerprint,
        at=at,
    )


def _demand_allowed(officer: Officer, roles: Collection[Role], verb: str, act: Act) -> None:
    if officer.role not in roles:
        allowed = ", ".join(sorted(role.value for role in roles))
        raise Refused(FORBIDDEN, "ca.1.role", f"{officer.holder} may not {verb} {act.name}: it is for {allowed}")


def _known(ledger: LedgerReader, proposal_id: str) -> Proposal:
    found = ledger.proposal(proposal_id)
    if found is None:
        raise Refused(UNKNOWN, "ca.approval.unknown", f"there is no proposal {proposal_id[:64]}")
    return found


def _ruling(document: RulingDocument, token: str, officer: Officer, at: datetime) -> Ruling:
    return Ruling(
        state=State(document.ruling),
        decided_by=officer.holder,
        decided_at=at,
        reason=document.reason,
        document=token,
        certificate=officer.certificate.public_bytes(Encoding.DER),
    )


def _ruling_row(asked: Asked, ruling: Ruling) -> AuditRow:
    detail = f"{asked.act.name}, proposal {asked.proposal.id}: {ruling.reason}"
    verb = "approve" if ruling.state is State.APPROVED else "reject"
    return asked.row(detail, act=verb, about=fingerprint(ruling.document.encode("ascii")))


def _carried_out(ledger: Ledger, asked: Asked, ruling: Ruling) -> Sequence[AuditRow]:
    """Let the act happen or be dropped; return the entries of the ruling and of what it did."""
    done: Sequence[AuditRow] = ()
    state = said("ruling", ruling_row(asked.proposal.id, ruling))
    if ruling.state is State.APPROVED:
        done = asked.act.execute(ledger, asked)
    else:
        state |= asked.act.drop(ledger, asked) or {}
    return [msgspec.structs.replace(_ruling_row(asked, ruling), state=state), *done]
