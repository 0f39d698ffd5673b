# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.Ledger, which these implement
"""
The issuing authority's ledger in SQL, once for every database (`ca.ports.Ledger`).

A `ca_database.Database` runs the statements inside one open transaction. They are written for SQLite, with `?` for a
value and `IN LIST` for "among these texts"; a database that says it otherwise rewrites them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.core.issuance import (
    Ask,
    ChipID,
    Issuance,
    LedgerFacts,
    NonceGrant,
    Order,
    OrderAccount,
    OrderUse,
    Unit,
    UnitMark,
)
from birthmark.core.ledger_rows import (
    chip_key,
    denied_chip_row,
    group_key,
    issuance_row,
    order_row,
    proposal_row,
    ruling_row,
    us,
)
from birthmark.core.proposals import Proposal, Ruling
from birthmark.stores import ca_rows as rows
from birthmark.stores.ca_census_sql import CensusReads
from birthmark.stores.ca_rows import ORDER_COLUMNS, SELECT_ISSUANCE, SELECT_PROPOSAL, values_of
from birthmark.stores.ca_sql_audit import RECENT, AuditReads, recent_of
from birthmark.stores.ca_sql_check import CheckReads
from birthmark.stores.ca_sql_status import OPEN, SELECT_UNIT, SQLStatus

PAGE: Final = 500
"""Issuances that are read at a time."""

_SELECT_ORDER = f"SELECT {ORDER_COLUMNS} FROM production_order"  # noqa: S608 constant text
_SELECT_ORDERS_IN_USE = f"SELECT {ORDER_COLUMNS}, units FROM production_order WHERE id IN LIST"  # noqa: S608 constant text
_SELECT_NONCE = (
    "SELECT n.digest, n.holder, n.unit_serial, n.expires_us, n.waiting, u.serial"
    " FROM nonce n LEFT JOIN nonce_use u ON u.digest = n.digest"
)
_PUT_ORDER = (
    f"INSERT INTO production_order ({ORDER_COLUMNS}) VALUES ({', '.join('?' * 13)})"  # noqa: S608 constant text
    " ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in ORDER_COLUMNS.split(", ")[1:])
)

_MARK: Final = {
    UnitMark.SCRAPPED: "UPDATE order_unit SET scrapped = 1 WHERE unit_serial = ? AND order_id = ?",
    UnitMark.REWORKED: (
        "UPDATE order_unit SET scrapped = 0, reworked = reworked + 1 WHERE unit_serial = ? AND order_id = ?"
    ),
}
# Of each unit of the order, its furthest life: 3 alive and confirmed, 2 alive, 1 born and ended, 0 never confirmed.
_ACCOUNT = (
    "SELECT CASE WHEN u.scrapped > 0 THEN 'scrapped' WHEN f.stage = 3 THEN 'confirmed' WHEN f.stage = 2 THEN"  # noqa: S608 constant text
    " 'unconfirmed' WHEN f.stage = 1 THEN 'ended' ELSE 'lapsed' END AS fate, count(*), sum(u.reworked)"
    " FROM order_unit u LEFT JOIN ("
    f"SELECT i.unit_serial AS unit_serial, max((CASE WHEN {OPEN} THEN 2 ELSE 0 END)"
    " + (CASE WHEN l.confirmed_us IS NOT NULL THEN 1 ELSE 0 END)) AS stage"
    " FROM issuance i JOIN life l ON l.serial = i.serial WHERE i.order_id = ? GROUP BY i.unit_serial"
    ") f ON f.unit_serial = u.unit_serial WHERE u.order_id = ? GROUP BY fate"
)
_SELECT_DENIALS = (
    "SELECT 'chip', chip, reason FROM denied_chip WHERE chip IN LIST"
    " UNION ALL SELECT 'group', kind || ':' || name, reason FROM denied_group WHERE kind || ':' || name IN LIST"
)


class SQLLedger(SQLStatus, CensusReads, AuditReads, CheckReads):
    """The operations of `ca.ports.Ledger` inside one open transaction."""

    # --- what candidates are decided by ---

    def facts(self, asks: Sequence[Ask]) -> tuple[LedgerFacts, ...]:
        units, chips = [ask.unit_serial for ask in asks], [chip_key(ask.chip) for ask in asks]
        groups = [group_key(group) for ask in asks for group in ask.groups]
        orders, nonces, near, held, denied, known_units, recent = self._db.read_all(
            (
                (_SELECT_ORDERS_IN_USE, (_once(ask.order for ask in asks),)),
                (f"{_SELECT_NONCE} WHERE n.digest IN LIST", ([ask.nonce for ask in asks],)),
                (f"{SELECT_ISSUANCE} WHERE l.chip IN LIST OR l.unit_serial IN LIST ORDER BY i.number", (chips, units)),
                (
                    "SELECT order_id, unit_serial, scrapped, reworked FROM order_unit WHERE unit_serial IN LIST",
                    (units,),
                ),
                (_SELECT_DENIALS, (chips, groups)),
                (f"{SELECT_UNIT} WHERE serial IN LIST", (units,)),
                (RECENT, ()),
            )
        )
        known = _Known(
            orders={row[0]: (rows.order_of(row[:-1]), row[-1]) for row in orders},
            grants={row[0]: rows.nonce_of(row) for row in nonces},
            issuances=tuple(rows.issuance_of(row) for row in near),
            held={(order_id, unit): (scrapped > 0, reworked) for order_id, unit, scrapped, reworked in held},
            denied={(kind, name): reason for kind, name, reason in denied},
            units={row[0]: rows.unit_of(row) for row in known_units},
            configurations=tuple(map(recent_of, recent)),
        )
        return tuple(known.of(ask) for ask in asks)

    def order(self, order_id: str) -> Order | None:
        row = self._one(f"{_SELECT_ORDER} WHERE id = ?", order_id)
        return None if row is None else rows.order_of(row)

    def orders(self) -> tuple[Order, ...]:
        return tuple(rows.order_of(row) for row in self._db.read(f"{_SELECT_ORDER} ORDER BY id"))

    def order_use(self, order_id: str, unit_serial: str) -> OrderUse:
        row = self._one("SELECT units FROM production_order WHERE id = ?", order_id)
        query = "SELECT scrapped, reworked FROM order_unit WHERE unit_serial = ? AND order_id = ?"
        held = self._one(query, unit_serial, order_id)
        units = 0 if row is None else row[0]
        if held is None:
            return OrderUse(units, holds_unit=False)
        return OrderUse(units, holds_unit=True, scrapped=held[0] > 0, reworked=held[1])

    def order_account(self, order_id: str, at: datetime) -> OrderAccount:
        ordered = self._one("SELECT quantity FROM production_order WHERE id = ?", order_id)
        counts = {row[0]: row[1:] for row in self._db.read(_ACCOUNT, us(at), order_id, order_id)}
        fates = {fate: count for fate, (count, _) in counts.items()}
        reworked = sum(int(times) for _, times in counts.values())
        return OrderAccount(ordered=0 if ordered is None else ordered[0], reworked=reworked, **fates)

    def nonce(self, digest: str) -> NonceGrant | None:
        row = self._one(f"{_SELECT_NONCE} WHERE n.digest = ?", digest)
        return None if row is None else rows.nonce_of(row)

    def leases(self, unit_serials: Sequence[str], at: datetime) -> tuple[NonceGrant, ...]:
        where = "WHERE n.unit_serial IN LIST AND (n.waiting <> '' OR u.serial IS NULL AND n.expires_us > ?)"
        return tuple(map(rows.nonce_of, self._db.read(f"{_SELECT_NONCE} {where}", unit_serials, us(at))))

    def living_nonces(self, holder: str, at: datetime) -> int:
        query = (
            "SELECT count(*) FROM nonce n WHERE n.holder = ? AND n.expires_us > ?"
            " AND NOT EXISTS (SELECT 1 FROM nonce_use u WHERE u.digest = n.digest)"
        )
        return int(self._db.read(query, holder, us(at))[0][0])

    # --- certificates ---

    def issuances(self) -> Iterator[Issuance]:
        after = 0
        while page := self._db.read(
            f"SELECT p.* , n.number FROM ({SELECT_ISSUANCE}) p JOIN issuance n ON n.serial = p.serial"  # noqa: S608 constant text
            f" WHERE n.number > ? ORDER BY n.number LIMIT {PAGE}",
            after,
        ):
            yield from (rows.issuance_of(row[:-1]) for row in page)
            after = page[-1][-1]

    def issuances_near(self, chip: ChipID, unit_serial: str) -> tuple[Issuance, ...]:
        where = "WHERE l.chip = ? OR l.unit_serial = ? ORDER BY i.number"
        found = self._db.read(f"{SELECT_ISSUANCE} {where}", chip_key(chip), unit_serial)
        return tuple(rows.issuance_of(row) for row in found)

    def issuances_of_unit(self, unit_serial: str) -> tuple[Issuance, ...]:
        found = self._db.read(f"{SELECT_ISSUANCE} WHERE l.unit_serial = ? ORDER BY i.number", unit_serial)
        return tuple(rows.issuance_of(row) for row in found)

    def issuance(self, serial: str) -> Issuance | None:
        row = self._one(f"{SELECT_ISSUANCE} WHERE l.serial = ?", serial)
        return None if row is None else rows.issuance_of(row)

    def issuance_of(self, certificate_sha256: str) -> Issuance | None:
        row = self._one(f"{SELECT_ISSUANCE} WHERE c.sha256 = ?", certificate_sha256)
        return None if row is None else rows.issuance_of(row)

    def unfinished(self, serials: Sequence[str], at: datetime) -> frozenset[str]:
        query = (
            "SELECT l.serial FROM life l LEFT JOIN certificate c ON c.serial = l.serial"  # noqa: S608 constant text
            f" WHERE l.serial IN LIST AND c.serial IS NULL AND {OPEN}"
        )
        return frozenset(row[0] for row in self._db.read(query, serials, us(at)))

    def denial(self, chip: ChipID) -> str | None:
        row = self._one("SELECT reason FROM denied_chip WHERE chip = ?", chip_key(chip))
        return None if row is None else str(row[0])

    def birth(self, certificate_sha256: str) -> str | None:
        row = self._one("SELECT jws FROM birth WHERE certificate_sha256 = ?", certificate_sha256)
        return None if row is None else str(row[0])

    # --- acts that need two persons ---

    def proposal(self, proposal_id: str) -> Proposal | None:
        row = self._one(f"{SELECT_PROPOSAL} WHERE p.id = ?", proposal_id)
        return None if row is None else rows.proposal_of(row)

    def proposals(self, limit: int, skip: int = 0) -> tuple[Proposal, ...]:
        found = self._db.read(f"{SELECT_PROPOSAL} ORDER BY p.number DESC LIMIT ? OFFSET ?", limit, skip)
        return tuple(rows.proposal_of(row) for row in found)

    def overdue_proposals(self, at: datetime, limit: int) -> tuple[Proposal, ...]:
        where = "WHERE r.state IS NULL AND p.expires_us <= ? ORDER BY p.number LIMIT ?"
        return tuple(rows.proposal_of(row) for row in self._db.read(f"{SELECT_PROPOSAL} {where}", us(at), limit))

    def put_proposal(self, proposal: Proposal) -> None:
        self._db.insert(rows.PROPOSAL, [values_of(proposal_row(proposal))])
        if proposal.ruling is not None:
            self.rule(proposal.id, proposal.ruling)

    def rule(self, proposal_id: str, ruling: Ruling) -> None:
        self._db.insert(rows.RULING, [values_of(ruling_row(proposal_id, ruling))])

    # --- the transparency log ---

    def log_size(self) -> int:
        return int(self._db.read("SELECT coalesce(max(number), -1) + 1 FROM leaf")[0][0])

    def entries(self, first: int, count: int) -> tuple[bytes, ...]:
        query = "SELECT entry FROM leaf WHERE number >= ? AND number < ? ORDER BY number"
        return tuple(bytes(row[0]) for row in self._db.read(query, first, first + count))

    def entries_of_unit(self, unit_serial: str) -> tuple[tuple[int, bytes], ...]:
        query = "SELECT number, entry FROM leaf WHERE unit_serial = ? AND unit_serial <> '' ORDER BY number"
        return tuple((row[0], bytes(row[1])) for row in self._db.read(query, unit_serial))

    def tiles(self, wanted: Sequence[tuple[int, int]]) -> Mapping[tuple[int, int], bytes]:
        query = "SELECT hashes FROM tile WHERE level = ? AND number = ?"
        found = self._db.read_all([(query, tile) for tile in wanted])
        return {tile: bytes(row[0][0]) for tile, row in zip(wanted, found, strict=True) if row}

    def checkpoint(self, size: int | None = None) -> str | None:
        if size is None:
            row = self._one("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
        else:
            row = self._one("SELECT note FROM checkpoint WHERE size = ?", size)
        return None if row is None else str(row[0])

    # --- writes ---

    def put_order(self, order: Order) -> None:
        self._db.write(_PUT_ORDER, *values_of(order_row(order)))

    def take_quota(self, takes: Sequence[tuple[str, str]]) -> None:
        self._db.insert(rows.ORDER_UNIT, takes)
        update = "UPDATE production_order SET units = units + ? WHERE id = ?"
        counts = Counter(order_id for order_id, _ in takes)
        self._db.write_each(update, [(count, order_id) for order_id, count in counts.items()])

    def mark_unit(self, order_id: str, unit_serial: str, mark: UnitMark) -> None:
        changed = self._db.change(_MARK[mark], unit_serial, order_id)
        if not changed:
            raise StoreError(f"unit {unit_serial} has no place in order {order_id}", finding="store.conflict")

    def grant_nonces(self, grants: Sequence[NonceGrant]) -> None:
        replaced = (
            "DELETE FROM nonce WHERE unit_serial = ? AND holder = ?"
            " AND NOT EXISTS (SELECT 1 FROM nonce_use u WHERE u.digest = nonce.digest)"
        )
        self._db.write_each(replaced, [(grant.unit_serial, grant.holder) for grant in grants])
        self._db.insert(rows.NONCE, [rows.nonce_values(grant) for grant in grants])

    def use_nonces(self, uses: Sequence[tuple[str, str]]) -> None:
        self._db.insert(rows.NONCE_USE, list(uses), or_ignore=True)

    def extend_nonces(self, extensions: Sequence[tuple[str, datetime]]) -> None:
        update = "UPDATE nonce SET expires_us = ? WHERE digest = ? AND expires_us < ? AND waiting = ''"
        self._db.write_each(update, [(us(until), digest, us(until)) for digest, until in extensions])

    def queue_for_nonces(self, queues: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        update = "UPDATE nonce SET waiting = ? WHERE digest = ?"
        self._db.write_each(update, [(rows.queue_text(waiting), digest) for digest, waiting in queues])

    def forget_nonces(self, expired_before: datetime, limit: int) -> int:
        # Use and nonce go together: a used nonce is never an unused one, not for a moment.
        old = "(SELECT digest FROM nonce WHERE expires_us < ? ORDER BY expires_us, digest LIMIT ?)"
        arguments = us(expired_before), limit
        self._db.write(f"DELETE FROM nonce_use WHERE digest IN {old}", *arguments)  # noqa: S608 constant text
        return self._db.change(f"DELETE FROM nonce WHERE digest IN {old}", *arguments)  # noqa: S608 constant text

    def intend(self, issuances: Sequence[Issuance]) -> None:
        self._db.insert(rows.ISSUANCE, [values_of(issuance_row(issuance)) for issuance in issuances])
        self._db.insert(rows.LIFE, [rows.life_values(issuance) for issuance in issuances])

    def record(self, certificates: Sequence[tuple[str, bytes]]) -> None:
        self._db.insert(rows.CERTIFICATE, [(serial, fingerprint(der), der) for serial, der in certificates])

    def confirm(self, births: Sequence[tuple[str, str]], at: datetime) -> None:
        self._db.insert(rows.BIRTH, [(sha256, us(at), jws) for sha256, jws in births])
        update = (
            "UPDATE life SET confirmed_us = ?, dies_us = NULL, ending = NULL"
            " WHERE serial = (SELECT serial FROM certificate WHERE sha256 = ?)"
        )
        self._db.write_each(update, [(us(at), sha256) for sha256, _ in births])

    def deny(self, chip: ChipID, reason: str) -> None:
        insert = "INSERT INTO denied_chip (chip, reason) VALUES (?, ?) ON CONFLICT (chip) DO UPDATE SET reason = ?"
        self._db.write(insert, *values_of(denied_chip_row(chip, reason)), reason)

    def put_tiles(self, tiles: Mapping[tuple[int, int], bytes]) -> None:
        insert = (
            "INSERT INTO tile (level, number, hashes) VALUES (?, ?, ?)"
            " ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes"
            " WHERE length(excluded.hashes) > length(tile.hashes)"
        )
        self._db.write_each(insert, [(level, number, hashes) for (level, number), hashes in tiles.items()])

    def put_checkpoint(self, size: int, note: str) -> None:
        self._db.write("INSERT INTO checkpoint (size, note) VALUES (?, ?) ON CONFLICT (size) DO NOTHING", size, note)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What one set of reads found, to be dealt out to the candidates."""

    orders: Mapping[str, tuple[Order, int]]
    grants: Mapping[str, NonceGrant]
    issuances: tuple[Issuance, ...]
    held: Mapping[tuple[str, str], tuple[bool, int]]
    denied: Mapping[tuple[str, str], str]
    units: Mapping[str, Unit]
    configurations: tuple[InForce, ...]

    def of(self, ask: Ask) -> LedgerFacts:
        order, units = self.orders.get(ask.order, (None, 0))
        held = self.held.get((ask.order, ask.unit_serial))
        scrapped, reworked = held or (False, 0)
        return LedgerFacts(
            order=order,
            grant=self.grants.get(ask.nonce),
            near=tuple(i for i in self.issuances if i.chip == ask.chip or i.unit_serial == ask.unit_serial),
            use=OrderUse(units, holds_unit=held is not None, scrapped=scrapped, reworked=reworked),
            denial=next((self.denied[key] for key in _denial_keys(ask) if key in self.denied), None),
            unit=self.units.get(ask.unit_serial),
            configurations=self.configurations,
        )


def _denial_keys(ask: Ask) -> Iterator[tuple[str, str]]:
    yield "chip", chip_key(ask.chip)
    yield from (("group", group_key(group)) for group in ask.groups)


def _once(texts: Iterable[str]) -> list[str]:
    """Return the texts without repetition, in their order."""
    return list(dict.fromkeys(texts))
