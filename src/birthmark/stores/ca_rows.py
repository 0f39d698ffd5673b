# SPDX-License-Identifier: Apache-2.0
"""How the issuing authority's values lie in table rows, the same in every database (ca_schema/*.sql)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from birthmark.core.anchors import AnchorsContact, UnitAnchors
from birthmark.core.clients import ClientDenial, read_client
from birthmark.core.issuance import (
    ChipGroup,
    End,
    Ending,
    GroupDenial,
    GroupKind,
    Issuance,
    NonceGrant,
    Order,
    Unit,
    UnitRange,
    UnitState,
)
from birthmark.core.ledger_rows import RowValues, Value, chip_key, chip_of, maybe_moment, maybe_us, moment, us
from birthmark.core.proposals import Proposal, Ruling, State
from birthmark.core.revocation import SignedStatus
from birthmark.core.tickets import RigTicket

Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that rows are added to in bulk. Where `first_number` is set, each row gets the next number."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    first_number: int | None = None


def _table(name: str, columns: str, first_number: int | None = None) -> Table:
    """Return a table whose columns are text, but for those named like `spki:bytea`."""
    pairs = [column.partition(":") for column in columns.split()]
    return Table(name, tuple(p[0] for p in pairs), tuple(p[2] or "text" for p in pairs), first_number)


ORDER_UNIT = _table("order_unit", "order_id unit_serial")
ISSUANCE = _table(
    "issuance",
    "serial unit_serial chip chip_model hw_type spki:bytea evidence:bytea order_id product organization profile"
    " requested_by intended_us:bigint validity_days:bigint ak_fingerprint kind result:bytea",
    first_number=1,
)
LIFE = _table(
    "life", "serial unit_serial chip expires_us:bigint confirmed_us:bigint dies_us:bigint ending issuer beside:bigint"
)
CERTIFICATE = _table("certificate", "serial sha256 der:bytea")
ENDING = _table("ending", "serial dies_us:bigint ending", first_number=0)
NONCE = _table("nonce", "digest holder unit_serial expires_us:bigint waiting")
NONCE_USE = _table("nonce_use", "digest serial")
BIRTH = _table("birth", "certificate_sha256 received_us:bigint jws")
PROPOSAL = _table(
    "proposal",
    "id act subject document certificate:bytea proposed_by proposed_us:bigint expires_us:bigint",
    first_number=1,
)
RULING = _table("ruling", "proposal_id state decided_by decided_us:bigint reason document certificate:bytea")
UNIT_COLUMNS: Final = "serial, chip, state, since_us, order_id, reason, resumes"
DOCUMENT = _table("document", "sha256 content:bytea")
POLICY = _table("policy", "digest files entry:bigint since_us:bigint", first_number=1)
CONFIGURATION = _table("configuration", "digest files entry:bigint since_us:bigint", first_number=1)
LEAF = _table("leaf", "unit_serial entry:bytea", first_number=0)
THREAD = _table("thread", "name number:bigint")

ORDER_COLUMNS: Final = (
    "id, product, quantity, chip_models, rigs, first_unit, last_unit, not_before_us, not_after_us, profile, document,"
    " approved_us, closed_us"
)
SELECT_PROPOSAL: Final = (
    "SELECT p.id, p.act, p.subject, p.document, p.certificate, p.proposed_by, p.proposed_us, p.expires_us, r.state,"
    " r.decided_by, r.decided_us, r.reason, r.document, r.certificate"
    " FROM proposal p LEFT JOIN ruling r ON r.proposal_id = p.id"
)
ISSUANCE_COLUMNS: Final = (
    "i.serial, i.unit_serial, i.chip, i.chip_model, i.hw_type, i.spki, i.evidence, i.order_id, i.product,"
    " i.organization, i.profile, i.requested_by, i.intended_us, i.validity_days, i.ak_fingerprint, i.kind,"
    " i.result, l.issuer, l.beside, c.der, l.confirmed_us, l.dies_us, l.ending"
)
ISSUANCE_TABLES: Final = "life l JOIN issuance i ON i.serial = l.serial LEFT JOIN certificate c ON c.serial = l.serial"
SELECT_ISSUANCE: Final = f"SELECT {ISSUANCE_COLUMNS} FROM {ISSUANCE_TABLES}"  # noqa: S608 constant text


def values_of(row: RowValues) -> tuple[Value, ...]:
    """Return the values of a row, in the order of its columns."""
    return tuple(row.values())


def order_of(row: Row) -> Order:
    """Return the order of a row with ORDER_COLUMNS."""
    order_id, product, quantity, chip_models, rigs, first, last, not_before_us, not_after_us, profile, *rest = row
    document, approved_us, closed_us = rest
    return Order(
        id=order_id,
        product=product,
        quantity=quantity,
        chip_models=tuple(json.loads(chip_models)),
        rigs=tuple(json.loads(rigs)),
        units=UnitRange(first, last),
        not_before=moment(not_before_us),
        not_after=moment(not_after_us),
        profile=profile,
        document=document,
        approved_at=maybe_moment(approved_us),
        closed_at=maybe_moment(closed_us),
    )


def nonce_values(grant: NonceGrant) -> tuple[Value, ...]:
    """Return the values in the order of NONCE's columns."""
    return grant.digest, grant.holder, grant.unit_serial, us(grant.expires_at), queue_text(grant.waiting)


def nonce_of(row: Row) -> NonceGrant:
    """Return the grant of a row: NONCE's columns and the serial that used it."""
    digest, holder, unit_serial, expires_us, waiting, used_by = row
    return NonceGrant(
        digest=digest,
        holder=holder,
        unit_serial=unit_serial,
        expires_at=moment(expires_us),
        used_by=used_by,
        waiting=tuple(json.loads(waiting)) if waiting else (),
    )


def queue_text(waiting: tuple[str, ...]) -> str:
    """Return a queue as it lies in a row."""
    return json.dumps(waiting) if waiting else ""


def life_values(issuance: Issuance) -> tuple[Value, ...]:
    """Return the values in the order of LIFE's columns."""
    return (
        issuance.serial,
        issuance.unit_serial,
        chip_key(issuance.chip),
        us(issuance.expires_at),
        maybe_us(issuance.confirmed_at),
        maybe_us(issuance.dies_at),
        None if issuance.ending is None else issuance.ending.value,
        issuance.issuer,
        int(issuance.beside),
    )


def issuance_of(row: Row) -> Issuance:
    """Return the issuance of a row of SELECT_ISSUANCE."""
    serial, unit_serial, chip, chip_model, hw_type, spki, evidence, order_id, product, *rest = row
    organization, profile, requested_by, intended_us, validity_days, ak_fingerprint, kind, result, *life = rest
    issuer, beside, certificate, confirmed_us, dies_us, ending = life
    return Issuance(
        serial=serial,
        unit_serial=unit_serial,
        chip=chip_of(chip),
        chip_model=chip_model,
        hw_type=hw_type,
        spki=spki,
        evidence=evidence,
        order=order_id,
        product=product,
        organization=organization,
        profile=profile,
        requested_by=requested_by,
        intended_at=moment(intended_us),
        validity_days=validity_days,
        kind=kind,
        issuer=issuer,
        result=result,
        beside=bool(beside),
        ak_fingerprint=ak_fingerprint,
        certificate=certificate,
        confirmed_at=maybe_moment(confirmed_us),
        dies_at=maybe_moment(dies_us),
        ending=None if ending is None else Ending(ending),
    )


def end_of(row: Row) -> End:
    """Return the decision of a row with ENDING's columns."""
    serial, dies_us, ending = row
    return End(serial, moment(dies_us), Ending(ending))


def anchors_values(contact: AnchorsContact) -> tuple[str, str, str, int]:
    """Return the row of a contact."""
    return contact.unit_serial, contact.certificate, " ".join(sorted(contact.anchors)), us(contact.at)


def anchors_contact_of(row: Row) -> AnchorsContact:
    """Return the contact of a row."""
    unit_serial, certificate, anchors, at_us = row
    return AnchorsContact(
        unit_serial=unit_serial, certificate=certificate, anchors=frozenset(anchors.split()), at=moment(at_us)
    )


def unit_anchors_of(unit_serial: str, used: tuple[str, str] | None, contact: AnchorsContact | None) -> UnitAnchors:
    """Return what is known of a unit, with the certificate that it uses and that one's issuer, where it has one."""
    certificate, issuer = used or ("", "")
    return UnitAnchors(unit_serial=unit_serial, certificate=certificate, issuer=issuer, contact=contact)


def unit_of(row: Row) -> Unit:
    """Return the unit of a row with UNIT_COLUMNS."""
    serial, chip, state, since_us, order_id, reason, resumes = row
    return Unit(
        serial=serial,
        chip=None if chip is None else chip_of(chip),
        state=UnitState(state),
        since=moment(since_us),
        order=order_id,
        reason=reason,
        resumes=None if resumes is None else UnitState(resumes),
    )


def group_denial_of(row: Row) -> GroupDenial:
    """Return the denial of a row: kind, name, reason, since_us, settled_us."""
    kind, name, reason, since_us, settled_us = row
    return GroupDenial(
        group=ChipGroup(GroupKind(kind), name),
        reason=reason,
        since=moment(since_us),
        settled_at=maybe_moment(settled_us),
    )


def client_denial_of(row: Row) -> ClientDenial:
    """Return the denial of a row: client, reason, since_us."""
    client, reason, since_us = row
    return ClientDenial(client=read_client(client), reason=reason, since=moment(since_us))


def rig_ticket_of(row: Row) -> RigTicket:
    """Return the ticket of a row: digest, proposal, spki, certificate."""
    digest, proposal, spki, certificate = row
    kept = None if certificate is None else bytes(certificate)
    return RigTicket(digest=digest, proposal=proposal, spki=spki, certificate=kept)


def signed_status_values(status: SignedStatus) -> tuple[Value, ...]:
    """Return the values: digest, number, this_us, next_us, refresh_us, body."""
    times = (us(status.this_update), us(status.next_update), us(status.refresh_at))
    return status.digest, status.number, *times, status.body


def signed_status_of(row: Row) -> SignedStatus:
    """Return the list or response of a row: digest, number, this_us, next_us, refresh_us, body."""
    digest, number, this_us, next_us, refresh_us, body = row
    return SignedStatus(bytes(digest), number, moment(this_us), moment(next_us), moment(refresh_us), bytes(body))


def proposal_of(row: Row) -> Proposal:
    """Return the proposal of a row of SELECT_PROPOSAL."""
    proposal_id, act, subject, document, certificate, proposed_by, proposed_us, expires_us, *ruling = row
    return Proposal(
        id=proposal_id,
        act=act,
        subject=subject,
        document=document,
        certificate=bytes(certificate),
        proposed_by=proposed_by,
        proposed_at=moment(proposed_us),
        expires_at=moment(expires_us),
        ruling=None if ruling[0] is None else _ruling_of(ruling),
    )


def _ruling_of(values: Sequence[Any]) -> Ruling:
    state, decided_by, decided_us, reason, document, certificate = values
    return Ruling(
        state=State(state),
        decided_by=decided_by,
        decided_at=moment(decided_us),
        reason=reason,
        document=document,
        certificate=bytes(certificate),
    )
