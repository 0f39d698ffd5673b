# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.Ledger, which these implement
"""The part of the ledger's SQL that says what became of units and certificates, and what is published about it."""

from collections.abc import Sequence
from datetime import datetime

from birthmark.core.anchors import AnchorsContact, UnitAnchors
from birthmark.core.clients import ClientDenial, DeniedClient
from birthmark.core.issuance import (
    ChipGroup,
    ChipID,
    End,
    Ending,
    GroupDenial,
    GroupKind,
    Issuance,
    Revocation,
    Unit,
    UnitState,
)
from birthmark.core.ledger_rows import (
    chip_key,
    denied_client_row,
    denied_group_row,
    moment,
    retired_root_row,
    rig_ticket_row,
    unit_row,
    us,
)
from birthmark.core.revocation import SignedStatus
from birthmark.core.tickets import RigTicket
from birthmark.stores import ca_rows as rows
from birthmark.stores.ca_database import Argument, Database
from birthmark.stores.ca_rows import SELECT_ISSUANCE, UNIT_COLUMNS, Row, values_of

_DECIDED = ", ".join(f"'{ending.value}'" for ending in Ending if ending.decided)
OPEN = f"(l.dies_us IS NULL OR l.dies_us > ?) AND (l.ending IS NULL OR l.ending NOT IN ({_DECIDED}))"

SELECT_UNIT = f"SELECT {UNIT_COLUMNS} FROM unit"  # noqa: S608 constant text
_ISSUANCES_AFTER = (
    f"SELECT p.*, n.number FROM issuance n JOIN ({SELECT_ISSUANCE}) p ON p.serial = n.serial"  # noqa: S608 constant text
    " WHERE n.number > ? ORDER BY n.number LIMIT ?"
)
_PUT_UNIT = (
    f"INSERT INTO unit ({UNIT_COLUMNS}) VALUES ({', '.join('?' * 7)}) ON CONFLICT (serial) DO UPDATE SET "  # noqa: S608 constant text
    + ", ".join(f"{column} = excluded.{column}" for column in UNIT_COLUMNS.split(", ")[1:])
)
_USED = (
    "SELECT l.unit_serial, l.serial, l.issuer FROM life l JOIN issuance i ON i.serial = l.serial"  # noqa: S608 constant text
    " WHERE l.unit_serial IN LIST AND l.beside = 0 AND l.confirmed_us IS NOT NULL AND l.expires_us > ?"
    f" AND ({OPEN} OR l.ending = ?) ORDER BY i.number"
)
_PUT_ANCHORS = (
    "INSERT INTO unit_anchors (unit_serial, certificate, anchors, at_us) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (unit_serial) DO UPDATE SET certificate = excluded.certificate, anchors = excluded.anchors,"
    " at_us = excluded.at_us"
)
_PUT_TICKET = (
    "INSERT INTO rig_ticket (digest, proposal, spki, certificate) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (digest) DO UPDATE SET spki = excluded.spki, certificate = excluded.certificate"
)
_PUT_STATUS = (
    "INSERT INTO published (name, digest, number, this_us, next_us, refresh_us, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, number = excluded.number, this_us = excluded.this_us,"
    " next_us = excluded.next_us, refresh_us = excluded.refresh_us, body = excluded.body"
    " WHERE excluded.number > published.number"
)


class SQLStatus:
    """Operations of `ca.ports.Ledger` inside one open transaction."""

    def __init__(self, database: Database) -> None:
        self._db = database

    # --- ends ---

    def revocations(self, at: datetime, earlier: datetime | None = None) -> tuple[Revocation, ...]:
        query = (
            "SELECT serial, dies_us, ending, expires_us, issuer FROM life WHERE dies_us <= ?"
            " AND (expires_us >= ? OR dies_us > ?) ORDER BY dies_us, serial"
        )
        since_us = us(earlier) if earlier is not None else 0
        return tuple(
            Revocation(serial, moment(dies_us), Ending(ending), moment(expires_us), issuer)
            for serial, dies_us, ending, expires_us, issuer in self._db.read(query, us(at), since_us, since_us)
        )

    def deaths(self, after: datetime, until: datetime, limit: int) -> tuple[str, ...]:
        query = "SELECT serial FROM life WHERE dies_us > ? AND dies_us <= ? ORDER BY dies_us LIMIT ?"
        return tuple(row[0] for row in self._db.read(query, us(after), us(until), limit))

    def issuances_after(self, number: int, limit: int) -> tuple[tuple[int, Issuance], ...]:
        found = self._db.read(_ISSUANCES_AFTER, number, limit)
        return tuple((row[-1], rows.issuance_of(row[:-1])) for row in found)

    def feed_head(self) -> int:
        return int(self._db.read("SELECT coalesce(max(number), -1) + 1 FROM ending")[0][0])

    def feed_position(self, at: datetime) -> int:
        ahead = self._db.read("SELECT min(number) FROM ending WHERE dies_us > ?", us(at))[0][0]
        return self.feed_head() if ahead is None else int(ahead)

    def endings(self, after: int, limit: int) -> tuple[tuple[int, End], ...]:
        query = "SELECT number, serial, dies_us, ending FROM ending WHERE number > ? ORDER BY number LIMIT ?"
        return tuple((row[0], rows.end_of(row[1:])) for row in self._db.read(query, after, limit))

    def unconfirmed(self, at: datetime, limit: int) -> tuple[Issuance, ...]:
        where = (
            "WHERE l.dies_us <= ? AND l.ending = ?"
            " AND NOT EXISTS (SELECT 1 FROM ending e WHERE e.serial = l.serial) ORDER BY l.dies_us LIMIT ?"
        )
        arguments = (us(at), Ending.UNCONFIRMED.value, limit)
        return tuple(rows.issuance_of(row) for row in self._db.read(f"{SELECT_ISSUANCE} {where}", *arguments))

    def end(self, ends: Sequence[End]) -> None:
        values = [(end.serial, us(end.dies_at), end.ending.value) for end in ends]
        update = "UPDATE life SET dies_us = ?, ending = ? WHERE serial = ?"
        self._db.write_each(update, [(dies_us, ending, serial) for serial, dies_us, ending in values])
        self._db.insert(rows.ENDING, values)

    # --- units, groups, and what is published about them ---

    def unit(self, unit_serial: str) -> Unit | None:
        row = self._one(f"{SELECT_UNIT} WHERE serial = ?", unit_serial)
        return None if row is None else rows.unit_of(row)

    def units_of_chip(self, chip: ChipID) -> tuple[Unit, ...]:
        found = self._db.read(f"{SELECT_UNIT} WHERE chip = ? ORDER BY serial", chip_key(chip))
        return tuple(rows.unit_of(row) for row in found)

    def issuances_of_chip(self, chip: ChipID) -> tuple[Issuance, ...]:
        found = self._db.read(f"{SELECT_ISSUANCE} WHERE l.chip = ? ORDER BY i.number", chip_key(chip))
        return tuple(rows.issuance_of(row) for row in found)

    def anchors_of_units(self, after: str, at: datetime, limit: int) -> tuple[UnitAnchors, ...]:
        page = "SELECT serial FROM unit WHERE serial > ? AND state <> ? ORDER BY serial LIMIT ?"
        units = [row[0] for row in self._db.read(page, after, UnitState.RETIRED.value, limit)]
        certificates = self._db.read(_USED, units, us(at), us(at), Ending.HELD.value)
        said = "SELECT unit_serial, certificate, anchors, at_us FROM unit_anchors WHERE unit_serial IN LIST"
        used = {row[0]: (row[1], row[2]) for row in certificates}
        contacts = {row[0]: rows.anchors_contact_of(row) for row in self._db.read(said, units)}
        return tuple(rows.unit_anchors_of(unit, used.get(unit), contacts.get(unit)) for unit in units)

    def retired_roots(self) -> frozenset[str]:
        return frozenset(row[0] for row in self._db.read("SELECT sha256 FROM retired_root"))

    def client_denials(self) -> tuple[ClientDenial, ...]:
        query = "SELECT client, reason, since_us FROM denied_client ORDER BY since_us, client"
        return tuple(rows.client_denial_of(row) for row in self._db.read(query))

    def rig_ticket(self, digest: str) -> RigTicket | None:
        row = self._one("SELECT digest, proposal, spki, certificate FROM rig_ticket WHERE digest = ?", digest)
        return None if row is None else rows.rig_ticket_of(row)

    def group_denials(self) -> tuple[GroupDenial, ...]:
        query = "SELECT kind, name, reason, since_us, settled_us FROM denied_group ORDER BY since_us, kind, name"
        return tuple(rows.group_denial_of(row) for row in self._db.read(query))

    def living_of_group(self, group: ChipGroup, at: datetime, limit: int) -> tuple[Issuance, ...]:
        column = "ak_fingerprint" if group.kind is GroupKind.AK else "chip_model"
        where = f"WHERE i.{column} = ? AND l.expires_us > ? AND ({OPEN} OR l.ending = ?) ORDER BY i.number LIMIT ?"
        arguments = (group.name, us(at), us(at), Ending.HELD.value, limit)
        return tuple(rows.issuance_of(row) for row in self._db.read(f"{SELECT_ISSUANCE} {where}", *arguments))

    def signed_status(self, name: str) -> SignedStatus | None:
        query = "SELECT digest, number, this_us, next_us, refresh_us, body FROM published WHERE name = ?"
        row = self._one(query, name)
        return None if row is None else rows.signed_status_of(row)

    def ageing_status(self, prefix: str, at: datetime, limit: int) -> tuple[str, ...]:
        query = "SELECT name FROM published WHERE refresh_us <= ? AND name LIKE ? ORDER BY refresh_us LIMIT ?"
        return tuple(row[0] for row in self._db.read(query, us(at), f"{prefix}%", limit))

    def put_units(self, units: Sequence[Unit]) -> None:
        self._db.write_each(_PUT_UNIT, [values_of(unit_row(unit)) for unit in units])

    def hold(self, serials: Sequence[str], at: datetime) -> None:
        keep = "INSERT INTO hold (serial, dies_us, ending) SELECT serial, dies_us, ending FROM life WHERE serial = ?"
        self._db.write_each(keep, [(serial,) for serial in serials])
        self.end([End(serial, at, Ending.HELD) for serial in serials])

    def release(self, serials: Sequence[str], at: datetime) -> None:
        found = self._db.read(
            "SELECT h.serial, h.dies_us, h.ending FROM hold h JOIN life l ON l.serial = h.serial"
            " WHERE h.serial IN LIST AND l.ending = ?",
            serials,
            Ending.HELD.value,
        )
        held = sorted(found, key=lambda row: serials.index(row[0]))
        update = "UPDATE life SET dies_us = ?, ending = ? WHERE serial = ?"
        self._db.write_each(update, [(dies_us, ending, serial) for serial, dies_us, ending in held])
        self._db.write_each("DELETE FROM hold WHERE serial = ?", [(row[0],) for row in held])
        released = [(row[0], us(at), Ending.RELEASED.value) for row in held]
        self._db.insert(rows.ENDING, released + [row for row in held if row[1] is not None])

    def put_anchors(self, contacts: Sequence[AnchorsContact]) -> None:
        self._db.write_each(_PUT_ANCHORS, [rows.anchors_values(contact) for contact in contacts])

    def retire_root(self, sha256: str, successor: str, at: datetime) -> None:
        insert = "INSERT INTO retired_root (sha256, successor, at_us) VALUES (?, ?, ?)"
        self._db.write(insert, *values_of(retired_root_row(sha256, successor, at)))

    def deny_client(self, denial: ClientDenial) -> None:
        insert = "INSERT INTO denied_client (client, reason, since_us) VALUES (?, ?, ?)"
        self._db.write(insert, *values_of(denied_client_row(denial)))

    def allow_client(self, client: DeniedClient) -> None:
        self._db.write("DELETE FROM denied_client WHERE client = ?", str(client))

    def put_rig_ticket(self, ticket: RigTicket) -> None:
        self._db.write(_PUT_TICKET, *values_of(rig_ticket_row(ticket)))

    def deny_group(self, denial: GroupDenial) -> None:
        insert = (
            "INSERT INTO denied_group (kind, name, reason, since_us, settled_us) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, name) DO UPDATE SET reason = excluded.reason, since_us = excluded.since_us,"
            " settled_us = excluded.settled_us"
        )
        self._db.write(insert, *values_of(denied_group_row(denial)))

    def put_signed_status(self, statuses: Sequence[tuple[str, SignedStatus]]) -> None:
        self._db.write_each(_PUT_STATUS, [(name, *rows.signed_status_values(status)) for name, status in statuses])

    def forget_signed_status(self, ended_before: datetime) -> None:
        self._db.write("DELETE FROM published WHERE next_us < ?", us(ended_before))

    def _one(self, query: str, *arguments: Argument) -> Row | None:
        found = self._db.read(query, *arguments)
        return found[0] if found else None
