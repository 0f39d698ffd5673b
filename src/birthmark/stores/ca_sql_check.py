# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.LedgerReader, which these implement
"""
The tables as they lie there, to be held against the log: by pages, so that memory does not grow with the ledger.

Rows come back as they are. What is in them may be what no program has written, and nothing here is read into types
that could refuse it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from birthmark.core.dossier import Dossier, Leaf, Numbered
from birthmark.core.ledger_rows import KEYS, RowValues
from birthmark.stores import ca_rows as rows
from birthmark.stores.ca_database import Database
from birthmark.stores.ca_rows import ORDER_COLUMNS, UNIT_COLUMNS, Row

_ISSUANCE: Final = ("number", *rows.ISSUANCE.columns)
_HOLD: Final = ("serial", "dies_us", "ending")
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "production_order": (*ORDER_COLUMNS.split(", "), "units"),
    "order_unit": (*rows.ORDER_UNIT.columns, "scrapped", "reworked"),
    "proposal": rows.PROPOSAL.columns,
    "ruling": rows.RULING.columns,
    "unit": tuple(UNIT_COLUMNS.split(", ")),
    "denied_chip": ("chip", "reason"),
    "denied_group": ("kind", "name", "reason", "since_us", "settled_us"),
    "denied_client": ("client", "reason", "since_us"),
    "rig_ticket": ("digest", "proposal", "spki", "certificate"),
    "retired_root": ("sha256", "successor", "at_us"),
    "policy": ("number", *rows.POLICY.columns),
    "configuration": ("number", *rows.CONFIGURATION.columns),
    "thread": rows.THREAD.columns,
    "document": rows.DOCUMENT.columns,
    "checkpoint": ("size", "note"),
    "tile": ("level", "number", "hashes"),
}
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    **KEYS,
    "document": ("sha256",),
    "checkpoint": ("size",),
    "tile": ("level", "number"),
}
_NUMBERED: Final = {"ending": 0, "proposal": 1, "policy": 1, "configuration": 1}
"""The number of the first row. Gaps between issuances and between entries are found where those are read."""
_OF_ISSUANCE: Final = ("life", "certificate", "ending", "hold")
_STRAY: Final = (
    "SELECT serial FROM {table} t WHERE NOT EXISTS (SELECT 1 FROM issuance i WHERE i.serial = t.serial)"
    " ORDER BY serial LIMIT ?"
)
_STRAY_BIRTH: Final = (
    "SELECT certificate_sha256 FROM birth t WHERE NOT EXISTS"
    " (SELECT 1 FROM certificate c WHERE c.sha256 = t.certificate_sha256) ORDER BY certificate_sha256 LIMIT ?"
)
_STRAY_PLACE: Final = (
    "SELECT t.order_id || '/' || t.unit_serial AS place FROM order_unit t WHERE NOT EXISTS"
    " (SELECT 1 FROM issuance i WHERE i.order_id = t.order_id AND i.unit_serial = t.unit_serial) ORDER BY place LIMIT ?"
)
_STRAYS: Final = (
    *((table, _STRAY.format(table=table)) for table in _OF_ISSUANCE),
    ("birth", _STRAY_BIRTH),
    ("order_unit", _STRAY_PLACE),
)
_LEAVES_OF_UNITS: Final = (
    "SELECT number, unit_serial, entry FROM leaf WHERE unit_serial IN LIST AND unit_serial <> '' ORDER BY number"
)
_NONCE_USES: Final = (
    "SELECT n.digest, u.serial FROM nonce n LEFT JOIN nonce_use u ON u.digest = n.digest WHERE n.digest IN LIST"
)


class CheckReads:
    """The part of `ca_sql.SQLLedger` that `ca.transparency.check` asks."""

    _db: Database

    def leaves(self, first: int, limit: int) -> tuple[Leaf, ...]:
        query = "SELECT number, unit_serial, entry FROM leaf WHERE number >= ? ORDER BY number LIMIT ?"
        return tuple(_leaf(row) for row in self._db.read(query, first, limit))

    def leaves_by_unit(self, after: tuple[str, int], limit: int) -> tuple[Leaf, ...]:
        query = (
            "SELECT number, unit_serial, entry FROM leaf WHERE unit_serial <> ''"
            " AND (unit_serial, number) > (?, ?) ORDER BY unit_serial, number LIMIT ?"
        )
        return tuple(_leaf(row) for row in self._db.read(query, *after, limit))

    def table_rows(self, table: str, after: RowValues | None, limit: int) -> tuple[RowValues, ...]:
        names, keys = _COLUMNS[table], _KEYS[table]
        behind = () if after is None else tuple(after[key] for key in keys)
        where = f"WHERE ({', '.join(keys)}) > ({', '.join('?' * len(keys))})" if behind else ""
        query = f"SELECT {', '.join(names)} FROM {table} {where} ORDER BY {', '.join(keys)} LIMIT ?"  # noqa: S608 constant text
        return tuple(_named(names, row) for row in self._db.read(query, *behind, limit))

    def dossiers(self, after: int, limit: int) -> tuple[Dossier, ...]:
        query = f"SELECT {', '.join(_ISSUANCE)} FROM issuance WHERE number > ? ORDER BY number LIMIT ?"  # noqa: S608 constant text
        issued = [_named(_ISSUANCE, row) for row in self._db.read(query, after, limit)]
        serials, units = [str(each["serial"]) for each in issued], [str(each["unit_serial"]) for each in issued]
        lives, certificates, holds, endings, places, leaves = self._db.read_all(
            (
                (_select("life", rows.LIFE.columns, "serial"), (serials,)),
                (_select("certificate", rows.CERTIFICATE.columns, "serial"), (serials,)),
                (_select("hold", _HOLD, "serial"), (serials,)),
                (f"{_select('ending', rows.ENDING.columns, 'serial')} ORDER BY number", (serials,)),
                ("SELECT order_id, unit_serial FROM order_unit WHERE unit_serial IN LIST", (units,)),
                (_LEAVES_OF_UNITS, (units,)),
            )
        )
        digests = [str(row[1]) for row in certificates]
        births = self._db.read(_select("birth", rows.BIRTH.columns, "certificate_sha256"), digests)
        parts = _Parts(
            lives=_by_first(rows.LIFE.columns, lives),
            certificates=_by_first(rows.CERTIFICATE.columns, certificates),
            births=_by_first(rows.BIRTH.columns, births),
            holds=_by_first(_HOLD, holds),
            ends=_lists([(row[0], _named(rows.ENDING.columns, row)) for row in endings]),
            held=frozenset((order_id, unit) for order_id, unit in places),
            leaves=_lists([(row[1], _leaf(row)) for row in leaves]),
        )
        return tuple(parts.of(each) for each in issued)

    def known_serials(self, serials: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in self._db.read("SELECT serial FROM issuance WHERE serial IN LIST", serials))

    def known_documents(self, digests: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in self._db.read("SELECT sha256 FROM document WHERE sha256 IN LIST", digests))

    def nonce_uses(self, digests: Sequence[str]) -> Mapping[str, str | None]:
        return dict(self._db.read(_NONCE_USES, digests))

    def tile_count(self) -> int:
        return int(self._db.read("SELECT count(*) FROM tile")[0][0])

    def strays(self, limit: int) -> tuple[tuple[str, str], ...]:
        return tuple((table, row[0]) for table, query in _STRAYS for row in self._db.read(query, limit))

    def numbered(self) -> tuple[Numbered, ...]:
        found = self._db.read_all(
            [
                (f"SELECT count(*), coalesce(max(number), {first - 1}) FROM {table}", ())  # noqa: S608 constant text
                for table, first in _NUMBERED.items()
            ]
        )
        return tuple(
            Numbered(table, int(row[0][0]), first, int(row[0][1]))
            for (table, first), row in zip(_NUMBERED.items(), found, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What one set of reads found about a page of issuances, to be dealt out to them."""

    lives: Mapping[str, RowValues]
    certificates: Mapping[str, RowValues]
    births: Mapping[str, RowValues]
    holds: Mapping[str, RowValues]
    ends: Mapping[str, list[RowValues]]
    held: frozenset[tuple[str, str]]
    leaves: Mapping[str, list[Leaf]]

    def of(self, issued: RowValues) -> Dossier:
        issuance = {name: value for name, value in issued.items() if name != "number"}
        serial, unit, number = str(issued["serial"]), str(issued["unit_serial"]), issued["number"]
        certificate = self.certificates.get(serial)
        return Dossier(
            number=number if isinstance(number, int) else 0,
            issuance=issuance,
            life=self.lives.get(serial),
            certificate=certificate,
            birth=None if certificate is None else self.births.get(str(certificate["sha256"])),
            hold=self.holds.get(serial),
            ends=tuple(self.ends.get(serial, ())),
            holds_place=(issued["order_id"], unit) in self.held,
            leaves=tuple(self.leaves.get(unit, ())),
        )


def _select(table: str, names: Sequence[str], by: str) -> str:
    return f"SELECT {', '.join(names)} FROM {table} WHERE {by} IN LIST"  # noqa: S608 constant text


def _named(names: Sequence[str], row: Row) -> RowValues:
    # psycopg hands bytes out as what they lie in.
    plain = (bytes(value) if isinstance(value, memoryview | bytearray) else value for value in row)
    return dict(zip(names, plain, strict=True))


def _by_first(names: Sequence[str], found: Sequence[Row]) -> dict[str, RowValues]:
    return {row[0]: _named(names, row) for row in found}


_T = TypeVar("_T")


def _lists(pairs: Sequence[tuple[str, _T]]) -> dict[str, list[_T]]:
    found: dict[str, list[_T]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _leaf(row: Row) -> Leaf:
    return Leaf(row[0], row[1], bytes(row[2]))
