# SPDX-License-Identifier: Apache-2.0
"""
Rows of which the log says what they are: each must be what the last entry about it said, and there must be no other.

What the entries say and what the tables hold is brought into one order (`Spill`), and compared row by row.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import Final

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import Discrepancy, rows_of, shown
from birthmark.ca.transparency.spill import LINKED, LINKS, Record, Spill
from birthmark.core.ledger_rows import GONE, KEYS, RowValues, row_digest, row_key

NOUNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "production_order": "order",
        "order_unit": "mark",
        "proposal": "proposal",
        "ruling": "ruling",
        "unit": "unit",
        "denied_chip": "denial",
        "denied_group": "denial",
        "denied_client": "denial",
        "rig_ticket": "ticket",
        "retired_root": "root",
        "policy": "policy",
        "configuration": "configuration",
        "thread": "thread",
    }
)
"""What findings call the rows of a table: `ledger.order.altered`."""
IN_FORCE: Final = ("policy", "configuration")
_IN_TABLE: Final = 1 << 63
"""Stands in place of an entry's number, above all of them."""
_UNSAID: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {"production_order": frozenset({"units"}), **dict.fromkeys(IN_FORCE, frozenset({"number"}))}
)
"""Columns of which entries say nothing: they count and number."""


def check_stated(ledger: LedgerReader, spill: Spill) -> Iterator[Discrepancy]:
    """Yield every row that is not what the log says; `spill` holds what all entries say."""
    for table in KEYS:
        for row in rows_of(ledger, table):
            if table != "order_unit" or row["scrapped"] or row["reworked"]:
                spill.add((row_key(table, row), _IN_TABLE, row_digest(_said(table, row))))
    for name, records in groupby(spill.in_order(), key=lambda record: record[0]):
        check = _unlinked if name.startswith(LINKS) else _compared
        yield from check(name, records)
    for table in IN_FORCE:
        yield from _check_order(ledger, table)


def _said(table: str, row: RowValues) -> RowValues:
    return {column: value for column, value in row.items() if column not in _UNSAID.get(table, ())}


def _compared(name: str, records: Iterable[Record]) -> Iterator[Discrepancy]:
    table, _, subject = name.partition("/")
    what = f"ledger.{NOUNS.get(table, table)}"
    said: dict[str, int] = {}
    last, found = "", None
    for _, number, digest in records:
        if number == _IN_TABLE:
            found = digest
        else:
            said[digest], last = number, digest
    if found is None and last == GONE:
        return
    if found is None:
        yield Discrepancy(f"{what}.missing", subject, f"entry {said[last]} says what it is, and it is not in {table}")
    elif not said:
        yield Discrepancy(f"{what}.unlogged", subject, f"it is in {table}, and no entry says so")
    elif found == last:
        return
    elif found in said:
        told = f"in {table} it is what entry {said[found]} said; since then entry {said[last]} has said something else"
        yield Discrepancy(f"{what}.older", subject, told)
    else:
        yield Discrepancy(f"{what}.altered", subject, f"in {table} it is not what entry {said[last]} said")


def _unlinked(name: str, records: Iterable[Record]) -> Iterator[Discrepancy]:
    """Each entry of a thread names the one before it."""
    before = ""
    for _, number, links in records:
        said, _, own = links.partition(LINKED)
        if said != before:
            told = f"before it comes {before or 'none'} of {name.removeprefix(LINKS)}, it says {said or 'none'}"
            yield Discrepancy("ledger.entry.previous", str(number), told)
        before = own


def _check_order(ledger: LedgerReader, table: str) -> Iterator[Discrepancy]:
    """What is in force is the last one by number, so the numbers must be in the order of the entries."""
    last = 0
    for row in rows_of(ledger, table):  # by entry
        number = row["number"]
        if not isinstance(number, int) or number <= last:
            told = f"entry {shown(row['entry'])} has number {shown(number)}, behind number {last}"
            yield Discrepancy(f"ledger.{table}.order", shown(row["digest"]), told)
            return
        last = number
