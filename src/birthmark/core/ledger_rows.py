# SPDX-License-Identifier: Apache-2.0
"""
How values lie in the rows of the issuing authority's ledger, and what the log says of a row.

An entry of the log names the rows that its act wrote, each as `<table>/<key>` with its SHA-256 (`AuditRow.state`). So
whoever changes a row later, without an entry, leaves a row that is not what the log says; and whoever puts an earlier
row back leaves one that an older entry says. The digest is over compact JSON with sorted keys: column name to value,
moments in microseconds since 1970, bytes as their SHA-256 in hexadecimal.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

import msgspec

from birthmark.core.clients import ClientDenial
from birthmark.core.in_force import InForce
from birthmark.core.issuance import ChipGroup, ChipID, GroupDenial, Issuance, Order, Unit
from birthmark.core.proposals import Proposal, Ruling
from birthmark.core.tickets import RigTicket

Value: TypeAlias = str | bytes | int | None
RowValues: TypeAlias = Mapping[str, Value]
"""A row: values by column names, in the order of the columns."""
Said: TypeAlias = dict[str, str]
"""What an entry says of rows: digests by `<table>/<key>`."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_ENCODER: Final = msgspec.json.Encoder(order="sorted")

GONE: Final = ""
"""Stands in place of the digest of a row that is there no more."""
KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "production_order": ("id",),
        "order_unit": ("unit_serial", "order_id"),
        "proposal": ("id",),
        "ruling": ("proposal_id",),
        "unit": ("serial",),
        "denied_chip": ("chip",),
        "denied_group": ("kind", "name"),
        "denied_client": ("client",),
        "rig_ticket": ("digest",),
        "retired_root": ("sha256",),
        "policy": ("entry",),
        "configuration": ("entry",),
        "thread": ("name", "number"),
    }
)
"""The tables of which the log says each row, and what names a row in it. `issuance` is said too, by its serial."""


def us(moment: datetime) -> int:
    """Return microseconds since 1970 in UTC: exact, sortable, without a float."""
    return (moment - _EPOCH) // _MICROSECOND


def maybe_us(moment: datetime | None) -> int | None:
    """Return `us` of the moment, or None."""
    return None if moment is None else us(moment)


def moment(microseconds: int) -> datetime:
    """Return the moment that `us` wrote."""
    return _EPOCH + timedelta(microseconds=microseconds)


def maybe_moment(microseconds: int | None) -> datetime | None:
    """Return `moment` of the number, or None."""
    return None if microseconds is None else moment(microseconds)


def chip_key(chip: ChipID) -> str:
    """Return a chip as one text: serials have no slash, makers may."""
    return f"{chip.maker}/{chip.serial}"


def chip_of(key: str) -> ChipID:
    """Return the chip that `chip_key` wrote."""
    maker, _, serial = key.rpartition("/")
    return ChipID(maker, serial)


def group_key(group: ChipGroup) -> str:
    """Return a group as one text, as the denials are asked for it."""
    return f"{group.kind.value}:{group.name}"


# --- digests ---------------------------------------------------------------------------------------------------


def row_digest(row: RowValues) -> str:
    """Return the SHA-256 of a row, in lower-case hexadecimal."""
    plain = {name: _sha256(value) if isinstance(value, bytes) else value for name, value in row.items()}
    return _sha256(_ENCODER.encode(plain))


def row_key(table: str, row: RowValues) -> str:
    """Return the name of a row of one of the tables in KEYS."""
    return "/".join((table, *(str(row[column]) for column in KEYS[table])))


def said(table: str, row: RowValues) -> Said:
    """Return what an entry says of a row of one of the tables in KEYS."""
    return {row_key(table, row): row_digest(row)}


def said_gone(table: str, key: str) -> Said:
    """Return what an entry says of a row that is taken out of its table."""
    return {f"{table}/{key}": GONE}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- rows ------------------------------------------------------------------------------------------------------


def order_row(order: Order) -> RowValues:
    """Return the row of `production_order`, without the count of its units."""
    return {
        "id": order.id,
        "product": order.product,
        "quantity": order.quantity,
        "chip_models": json.dumps(order.chip_models),
        "rigs": json.dumps(order.rigs),
        "first_unit": order.units.first,
        "last_unit": order.units.last,
        "not_before_us": us(order.not_before),
        "not_after_us": us(order.not_after),
        "profile": order.profile,
        "document": order.document,
        "approved_us": maybe_us(order.approved_at),
        "closed_us": maybe_us(order.closed_at),
    }


def place_row(order_id: str, unit_serial: str, *, scrapped: bool, reworked: int) -> RowValues:
    """Return the row of `order_unit`."""
    return {"order_id": order_id, "unit_serial": unit_serial, "scrapped": int(scrapped), "reworked": reworked}


def issuance_row(issuance: Issuance) -> RowValues:
    """Return the row of `issuance`."""
    return {
        "serial": issuance.serial,
        "unit_serial": issuance.unit_serial,
        "chip": chip_key(issuance.chip),
        "chip_model": issuance.chip_model,
        "hw_type": issuance.hw_type,
        "spki": issuance.spki,
        "evidence": issuance.evidence,
        "order_id": issuance.order,
        "product": issuance.product,
        "organization": issuance.organization,
        "profile": issuance.profile,
        "requested_by": issuance.requested_by,
        "intended_us": us(issuance.intended_at),
        "validity_days": issuance.validity_days,
        "ak_fingerprint": issuance.ak_fingerprint,
        "kind": issuance.kind,
        "result": issuance.result,
    }


def said_issuance(issuance: Issuance) -> Said:
    """Return what an entry says of an issuance: of its row, and of `issuer` and `beside` in the row of its life."""
    return {issuance_name(issuance.serial): issuance_digest(issuance_row(issuance), issuance.issuer, issuance.beside)}


def issuance_name(serial: str) -> str:
    """Return the name under which an entry says something of an issuance."""
    return f"issuance/{serial}"


def issuance_digest(row: RowValues, issuer: Value, beside: Value) -> str:
    """Return the SHA-256 of an issuance's row with `issuer` and `beside`."""
    return row_digest({**row, "issuer": issuer, "beside": beside if beside is None else int(beside)})


def unit_row(unit: Unit) -> RowValues:
    """Return the row of `unit`."""
    return {
        "serial": unit.serial,
        "chip": None if unit.chip is None else chip_key(unit.chip),
        "state": unit.state.value,
        "since_us": us(unit.since),
        "order_id": unit.order,
        "reason": unit.reason,
        "resumes": None if unit.resumes is None else unit.resumes.value,
    }


def said_units(units: Sequence[Unit]) -> Said:
    """Return what an entry says of units."""
    return {name: digest for unit in units for name, digest in said("unit", unit_row(unit)).items()}


def proposal_row(proposal: Proposal) -> RowValues:
    """Return the row of `proposal`."""
    return {
        "id": proposal.id,
        "act": proposal.act,
        "subject": proposal.subject,
        "document": proposal.document,
        "certificate": proposal.certificate,
        "proposed_by": proposal.proposed_by,
        "proposed_us": us(proposal.proposed_at),
        "expires_us": us(proposal.expires_at),
    }


def ruling_row(proposal_id: str, ruling: Ruling) -> RowValues:
    """Return the row of `ruling`."""
    return {
        "proposal_id": proposal_id,
        "state": ruling.state.value,
        "decided_by": ruling.decided_by,
        "decided_us": us(ruling.decided_at),
        "reason": ruling.reason,
        "document": ruling.document,
        "certificate": ruling.certificate,
    }


def denied_chip_row(chip: ChipID, reason: str) -> RowValues:
    """Return the row of `denied_chip`."""
    return {"chip": chip_key(chip), "reason": reason}


def denied_group_row(denial: GroupDenial) -> RowValues:
    """Return the row of `denied_group`."""
    return {
        "kind": denial.group.kind.value,
        "name": denial.group.name,
        "reason": denial.reason,
        "since_us": us(denial.since),
        "settled_us": maybe_us(denial.settled_at),
    }


def denied_client_row(denial: ClientDenial) -> RowValues:
    """Return the row of `denied_client`."""
    return {"client": str(denial.client), "reason": denial.reason, "since_us": us(denial.since)}


def rig_ticket_row(ticket: RigTicket) -> RowValues:
    """Return the row of `rig_ticket`."""
    return {
        "digest": ticket.digest,
        "proposal": ticket.proposal,
        "spki": ticket.spki,
        "certificate": ticket.certificate,
    }


def retired_root_row(sha256: str, successor: str, at: datetime) -> RowValues:
    """Return the row of `retired_root`."""
    return {"sha256": sha256, "successor": successor, "at_us": us(at)}


def in_force_row(found: InForce) -> RowValues:
    """Return the row of `policy` or `configuration`."""
    return {
        "digest": found.digest,
        "files": json.dumps(dict(found.files)),
        "entry": found.entry,
        "since_us": us(found.since),
    }
