# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.LedgerReader, which these implement
"""
What an audit rests on, once for every database: entries that are linked, tables that can be held against the log.

All of it is read by pages: memory does not grow with the ledger.
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from birthmark.core.audit import AuditRow, link, linked, unit_thread
from birthmark.core.dossier import Dossier, Leaf, PolicyInForce, Tally
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import End
from birthmark.stores import ca_rows as rows
from birthmark.stores.ca_database import Database, Query
from birthmark.stores.ca_rows import ISSUANCE_COLUMNS, ISSUANCE_TABLES, Row

_DOSSIERS: Final = (
    f"SELECT {ISSUANCE_COLUMNS}, i.number, c.sha256, b.jws FROM {ISSUANCE_TABLES}"  # noqa: S608 constant text
    " LEFT JOIN birth b ON b.certificate_sha256 = c.sha256 WHERE i.number > ? ORDER BY i.number LIMIT ?"
)
_TALLY: Final = (
    "SELECT (SELECT count(*) FROM leaf), (SELECT coalesce(max(number), -1) FROM leaf), (SELECT count(*) FROM ending),"
    " (SELECT coalesce(max(number), -1) FROM ending), (SELECT count(*) FROM proposal), (SELECT count(*) FROM ruling)"
)
_STRAY: Final = (
    "SELECT u.order_id, u.unit_serial FROM order_unit u WHERE NOT EXISTS (SELECT 1 FROM issuance i"
    " WHERE i.order_id = u.order_id AND i.unit_serial = u.unit_serial) ORDER BY u.order_id, u.unit_serial LIMIT ?"
)
_LEAVES_OF_UNITS: Final = (
    "SELECT number, unit_serial, entry FROM leaf WHERE unit_serial IN LIST AND unit_serial <> '' ORDER BY number"
)
# Until the transaction ends nobody else can append: the links are still those of the last entries when it commits.
_SIZE: Final = "SELECT coalesce(max(number), -1) + 1 FROM leaf"
# Not a join: a plan that PostgreSQL made while the table was small, and keeps, would read the whole table each time.
_LAST_OF_UNITS: Final = (
    "SELECT m.number, m.unit_serial, (SELECT entry FROM leaf WHERE number = m.number) FROM"
    " (SELECT unit_serial, max(number) AS number FROM leaf WHERE unit_serial IN LIST AND unit_serial <> ''"
    " GROUP BY unit_serial) m"
)
# What is linked and about no unit: a few entries for each order, and for each change of what is believed.
_THREAD: Final = (
    "SELECT t.number, l.entry FROM thread t JOIN leaf l ON l.number = t.number WHERE t.name = ? ORDER BY t.number"
)
_LAST_OF_THREADS: Final = (
    "SELECT m.number, m.name, (SELECT entry FROM leaf WHERE number = m.number) FROM"
    " (SELECT name, max(number) AS number FROM thread WHERE name IN LIST GROUP BY name) m"
)


class AuditReads:
    """The part of `ca_sql.SQLLedger` that an audit rests on."""

    _db: Database

    def append(self, entries: Sequence[AuditRow]) -> None:
        units = sorted({row.unit_serial for row in entries} - {""})
        if not entries:
            return
        threads = sorted({row.thread for row in entries if not row.unit_serial} - {""})
        queries: list[Query] = [(_SIZE, ()), (_LAST_OF_UNITS, (units,))]
        found = self._db.read_all([*queries, *([(_LAST_OF_THREADS, (threads,))] if threads else [])])
        first = int(found[0][0][0])
        links = {unit_thread(leaf.unit_serial): link(leaf.number, leaf.entry) for leaf in map(_leaf, found[1])}
        links |= {thread: link(number, bytes(entry)) for last in found[2:] for number, thread, entry in last}
        data = linked(entries, first, links)
        self._db.insert(rows.LEAF, [(row.unit_serial, entry) for row, entry in zip(entries, data, strict=True)])
        apart = [
            (row.thread, number) for number, row in enumerate(entries, first) if not row.unit_serial and row.thread
        ]
        if apart:
            self._db.insert(rows.THREAD, apart)

    def entries_of_thread(self, thread: str) -> tuple[tuple[int, bytes], ...]:
        return tuple((number, bytes(entry)) for number, entry in self._db.read(_THREAD, thread))

    def keep(self, contents: Sequence[bytes]) -> None:
        values = [(fingerprint(content), content) for content in dict.fromkeys(contents)]
        self._db.insert(rows.DOCUMENT, values, or_ignore=True)

    def kept(self, digests: Sequence[str]) -> Mapping[str, bytes]:
        found = self._db.read("SELECT sha256, content FROM document WHERE sha256 IN LIST", digests)
        return {row[0]: bytes(row[1]) for row in found}

    def put_policy(self, policy: PolicyInForce) -> None:
        values = (policy.digest, json.dumps(dict(policy.files)), policy.entry, rows.us(policy.since))
        self._db.insert(rows.POLICY, [values])

    def policies(self) -> tuple[PolicyInForce, ...]:
        found = self._db.read("SELECT digest, files, entry, since_us FROM policy ORDER BY number")
        return tuple(
            PolicyInForce(digest, MappingProxyType(json.loads(files)), entry, rows.moment(since_us))
            for digest, files, entry, since_us in found
        )

    def leaves(self, first: int, limit: int) -> tuple[Leaf, ...]:
        query = "SELECT number, unit_serial, entry FROM leaf WHERE number >= ? ORDER BY number LIMIT ?"
        return tuple(_leaf(row) for row in self._db.read(query, first, limit))

    def leaves_by_unit(self, after: tuple[str, int], limit: int) -> tuple[Leaf, ...]:
        query = (
            "SELECT number, unit_serial, entry FROM leaf WHERE unit_serial <> ''"
            " AND (unit_serial, number) > (?, ?) ORDER BY unit_serial, number LIMIT ?"
        )
        return tuple(_leaf(row) for row in self._db.read(query, *after, limit))

    def dossiers(self, after: int, limit: int) -> tuple[Dossier, ...]:
        found = self._db.read(_DOSSIERS, after, limit)
        serials, units = [row[0] for row in found], [row[1] for row in found]
        endings, places, leaves = self._db.read_all(
            (
                ("SELECT serial, dies_us, ending FROM ending WHERE serial IN LIST ORDER BY number", (serials,)),
                ("SELECT order_id, unit_serial FROM order_unit WHERE unit_serial IN LIST", (units,)),
                (_LEAVES_OF_UNITS, (units,)),
            )
        )
        ends: dict[str, list[End]] = {}
        for end in map(rows.end_of, endings):
            ends.setdefault(end.serial, []).append(end)
        held = {(order_id, unit) for order_id, unit in places}
        about: dict[str, list[Leaf]] = {}
        for leaf in map(_leaf, leaves):
            about.setdefault(leaf.unit_serial, []).append(leaf)
        return tuple(_dossier(row, ends, held, about) for row in found)

    def known_serials(self, serials: Sequence[str]) -> frozenset[str]:
        return frozenset(row[0] for row in self._db.read("SELECT serial FROM life WHERE serial IN LIST", serials))

    def stray_places(self, limit: int) -> tuple[tuple[str, str], ...]:
        return tuple((row[0], row[1]) for row in self._db.read(_STRAY, limit))

    def tally(self) -> Tally:
        return Tally(*(int(count) for count in self._db.read(_TALLY)[0]))


def _leaf(row: Row) -> Leaf:
    return Leaf(row[0], row[1], bytes(row[2]))


def _dossier(row: Row, ends: dict[str, list[End]], held: set[tuple[str, str]], about: dict[str, list[Leaf]]) -> Dossier:
    *issued, number, sha256, jws = row
    issuance = rows.issuance_of(tuple(issued))
    return Dossier(
        number=number,
        issuance=issuance,
        certificate_sha256=sha256 or "",
        birth=jws,
        ends=tuple(ends.get(issuance.serial, ())),
        holds_place=(issuance.order, issuance.unit_serial) in held,
        leaves=tuple(about.get(issuance.unit_serial, ())),
    )
