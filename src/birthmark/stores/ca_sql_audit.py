# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - what each operation guarantees stands in ca.ports.LedgerReader, which these implement
"""What an audit rests on, once for every database: entries that are linked, and the documents that they name."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from birthmark.core.audit import AuditRow, link, linked, unit_thread
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.core.ledger_rows import in_force_row, moment
from birthmark.stores import ca_rows as rows
from birthmark.stores.ca_database import Database, Query
from birthmark.stores.ca_rows import Row, Table, values_of

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


_NO_FILES: Final = MappingProxyType[str, str]({})
RECENT: Final = "SELECT digest, entry, since_us FROM configuration ORDER BY number DESC LIMIT 8"


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
        links = {unit_thread(unit): link(number, bytes(entry)) for number, unit, entry in found[1]}
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

    def put_policy(self, policy: InForce) -> None:
        self._db.insert(rows.POLICY, [values_of(in_force_row(policy))])

    def policies(self) -> tuple[InForce, ...]:
        return self._in_force(rows.POLICY)

    def put_configuration(self, configuration: InForce) -> None:
        self._db.insert(rows.CONFIGURATION, [values_of(in_force_row(configuration))])

    def recent_configurations(self) -> tuple[InForce, ...]:
        return tuple(map(recent_of, self._db.read(RECENT)))

    def configurations(self) -> tuple[InForce, ...]:
        return self._in_force(rows.CONFIGURATION)

    def _in_force(self, table: Table) -> tuple[InForce, ...]:
        query = f"SELECT digest, files, entry, since_us FROM {table.name} ORDER BY number"  # noqa: S608 constant text
        return tuple(
            InForce(digest, MappingProxyType(json.loads(files)), entry, moment(since_us))
            for digest, files, entry, since_us in self._db.read(query)
        )


def recent_of(row: Row) -> InForce:
    """Return what a row of RECENT says."""
    digest, entry, since_us = row
    return InForce(digest, _NO_FILES, entry, moment(since_us))
