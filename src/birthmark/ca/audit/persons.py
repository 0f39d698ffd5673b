# SPDX-License-Identifier: Apache-2.0
"""
What two persons have signed: each document by whom the log names, in a role that may, and the two are not the same.

A signature alone says little: who holds a CA's key can certify any person. So the signer's certificate is the one whose
SHA-256 stood in the log when the document was handed in, and it must be an officer's under what was believed then.
"""

from collections.abc import Collection, Iterator
from typing import Final

from cryptography import x509

from birthmark.ca.audit.case import PROPOSE, RULINGS, Case, Entry, moment
from birthmark.ca.audit.findings import AuditFinding, Proven, Told, Unproven
from birthmark.ca.demands import Client
from birthmark.ca.errors import Refused
from birthmark.ca.life.acts import unit_acts
from birthmark.ca.orders.acts import OrderActs
from birthmark.ca.people.approvals import Act
from birthmark.ca.people.roles import demand_another_person, demand_officer, demand_one_of, officer_of
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core import jws
from birthmark.core.errors import DecodeError
from birthmark.core.proposals import (
    PROPOSAL_TYP,
    RULING_TYP,
    ProposalDocument,
    RulingDocument,
    demand_authority,
    read_document,
    read_ruling,
)
from birthmark.core.roles import Role

TOPIC: Final = "persons"
ACTS: Final[dict[str, Act]] = {act.name: act for act in (*OrderActs((), ()).acts(), *unit_acts())}
"""What two persons can do about an order or a unit, and in which roles."""


def check_persons(case: Case) -> Iterator[Told]:
    """Pass documents that were signed by whom the log says, and acts that two persons have decided on."""
    for entry in case.acts(PROPOSE):
        yield from _check_proposal(case, entry)
    for entry in case.acts(*RULINGS):
        yield from _check_ruling(case, entry)
    for entry in case.acts(*ACTS):
        yield from _check_act(case, entry)
    told = (
        "that nobody who has signed was denied by two persons before (client.deny): whoever reads the whole log sees it"
    )
    yield Unproven(TOPIC, told)


def proposal_of(case: Case, sha256: str) -> ProposalDocument | None:
    """Return what the proposal with this digest says; None where it is not there or cannot be read."""
    content = case.content(bundle.PROPOSAL, sha256)
    if content is None:
        return None
    try:
        return read_document(jws.read(content.decode("ascii", errors="replace")).payload)
    except DecodeError:
        return None


def _check_proposal(case: Case, entry: Entry) -> Iterator[Told]:
    name = f"{bundle.PROPOSAL} {_subject(entry)}"
    try:
        document = read_document(_signed(case, entry, bundle.PROPOSAL, PROPOSAL_TYP))
        demand_authority(document, case.authority)
        _demand(document.subject == _subject(entry), f"it is about {document.subject}")
        _demand(document.act in ACTS, f"it is for {document.act}")
        yield from _check_officer(case, entry, ACTS[document.act].may_propose)
    except (DecodeError, Refused) as error:
        yield _unsigned(name, error)


def _check_ruling(case: Case, entry: Entry) -> Iterator[Told]:
    name = f"{bundle.RULING} {_subject(entry)}"
    try:
        ruling = read_ruling(_signed(case, entry, bundle.RULING, RULING_TYP))
        demand_authority(ruling, case.authority)
        document = _ruled_on(case, entry, ruling)
        _demand(ruling.ruling == RULINGS[entry.row.act], f"the log says {entry.row.act}, it says {ruling.ruling}")
        _demand(ruling.act == document.act, f"it is for {ruling.act}, the proposal for {document.act}")
        yield from _check_officer(case, entry, ACTS[document.act].may_approve if document.act in ACTS else ())
    except (DecodeError, Refused) as error:
        yield _unsigned(name, error)


def _unsigned(name: str, error: DecodeError | Refused) -> AuditFinding:
    finding = "audit.authority" if error.finding == "proposal.authority" else "audit.signature"
    return AuditFinding(finding, name, error.message)


def _ruled_on(case: Case, entry: Entry, ruling: RulingDocument) -> ProposalDocument:
    """Return the proposal that a ruling is on. Raises DecodeError."""
    document = proposal_of(case, ruling.proposal)
    if document is None or document.subject != _subject(entry):
        raise DecodeError("it is on a document that is not about this")
    return document


def _signed(case: Case, entry: Entry, kind: str, typ: str) -> bytes:
    """Return what the person whom the entry names has signed. Raises DecodeError."""
    content, signer = case.content(kind, entry.row.about), _signer(case, entry)
    if content is None or signer is None:
        raise DecodeError(f"the {kind}, or its signer's certificate, is not there")
    return jws.verify(content.decode("ascii", errors="replace"), typ, signer)


def _signer(case: Case, entry: Entry) -> x509.Certificate | None:
    return case.certificate(bundle.OFFICER, entry.row.fingerprint)


def _check_officer(case: Case, entry: Entry, roles: Collection[Role]) -> Iterator[Told]:
    """Pass the person whom the entry names, in one of these roles, certified under what was believed then."""
    signer, trust = _signer(case, entry), case.trust_at(entry.number)
    name = f"{bundle.OFFICER} {entry.row.who}"
    if signer is None:
        return
    if trust is None:
        yield AuditFinding("audit.chain", name, "nobody says which CAs were believed then")
        return
    try:
        officer = demand_officer(Client(signer, ()), trust, entry.row.at)
    except Refused as error:
        yield AuditFinding("audit.chain", name, error.message)
        return
    demand_one_of(officer, roles)
    _demand(officer.holder == entry.row.who, f"the log says {entry.row.who}, the certificate {officer.holder}")


def _check_act(case: Case, entry: Entry) -> Iterator[Told]:
    """Pass an act that rests on a proposal of one person and the approval of another one."""
    subject, act = _subject(entry), entry.row.act
    name = f"entry {entry.number} ({act} {subject})"
    proposed = [each for each in case.acts(PROPOSE) if each.row.about == entry.row.about and each.number < entry.number]
    approved = [each for each in case.acts("approve") if _approves(case, each, entry) and each.number < entry.number]
    document = proposal_of(case, entry.row.about)
    signers = [_signer(case, each) for each in (*proposed[:1], *approved[:1])]
    if document is None or document.act != act or len(signers) != 2 or None in signers:  # noqa: PLR2004 two persons
        yield AuditFinding("audit.order", name, "it does not rest on what two persons have signed")
        return
    proposer, approver = (each for each in signers if each is not None)
    try:
        demand_another_person(officer_of(approver), proposer)
    except Refused as error:
        yield AuditFinding("audit.order", name, error.message)
        return
    who = f"{proposed[0].row.who} proposed, {approved[0].row.who} approved {moment(approved[0].row.at)}"
    yield Proven(TOPIC, f"{act} {subject}: {who}")


def _approves(case: Case, ruling: Entry, act: Entry) -> bool:
    content = case.content(bundle.RULING, ruling.row.about)
    try:
        said: RulingDocument = read_ruling(jws.read((content or b"").decode("ascii", errors="replace")).payload)
    except DecodeError:
        return False
    return (said.proposal, said.ruling) == (act.row.about, "approved")


def _subject(entry: Entry) -> str:
    return entry.row.unit_serial or entry.row.order


def _demand(holds: bool, otherwise: str) -> None:  # noqa: FBT001 the first argument is the sentence
    if not holds:
        raise DecodeError(otherwise)
