# SPDX-License-Identifier: Apache-2.0
"""
The ledger held against its own log: what the tables say must be what the log says, in both directions.

Whoever alters, adds or removes a row leaves a discrepancy here, unless they alter tables and log alike; against that
stand the checkpoints that others have kept (`birthmark audit verify-log`). docs/reference/ledger-format.md says, column
by column, what is seen and what is not. One consistent view; memory does not grow with the ledger. No clock, no key.
"""

import json
from collections.abc import Iterator
from typing import Final

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import Discrepancy, rows_of, shown
from birthmark.ca.transparency.entries import check_entries, check_links
from birthmark.ca.transparency.hashes import check_hashes
from birthmark.ca.transparency.lives import check_lives
from birthmark.ca.transparency.signed_documents import check_signed
from birthmark.ca.transparency.spill import Spill
from birthmark.ca.transparency.stated import IN_FORCE, NOUNS, check_stated
from birthmark.core.ids import fingerprint
from birthmark.core.ledger_rows import RowValues, moment

STRAYS_MAX: Final = 100
"""Rows without an issuance that are told one by one, of each table."""
DOCUMENTS_PAGE: Final = 20
"""Documents that are read at a time: each may be large."""


def check_ledger(ledger: LedgerReader, authority: str) -> Iterator[Discrepancy]:
    """
    Yield every discrepancy between the tables and the log, as they are found; nothing from a sound ledger.

    What persons have signed must be there as they signed it, and for this authority: `authority` is the log's origin.

    Raises:
        StoreError: the ledger cannot be read. OSError: there is no room for temporary files.

    """
    with Spill() as spill:
        yield from check_entries(ledger, spill)
        yield from check_links(ledger)
        yield from check_lives(ledger)
        yield from check_stated(ledger, spill)
    yield from _check_counts(ledger)
    yield from _check_documents(ledger)
    yield from check_signed(ledger, authority)
    yield from check_hashes(ledger)


def _check_counts(ledger: LedgerReader) -> Iterator[Discrepancy]:
    for order in rows_of(ledger, "production_order"):
        name = str(order["id"])
        taken = ledger.order_account(name, moment(0)).taken
        if order["units"] != taken:
            told = f"the order counts {shown(order['units'])} units, {taken} have a place in it"
            yield Discrepancy("ledger.quota.count", name, told)
    for each in ledger.numbered():
        if each.rows != each.last - each.first + 1:
            told = f"{each.rows} rows from number {each.first} on, the last one has number {each.last}"
            yield Discrepancy(f"ledger.{NOUNS.get(each.table, each.table)}.gap", each.table, told)
    for table, key in ledger.strays(STRAYS_MAX):
        noun = "quota" if table == "order_unit" else table
        yield Discrepancy(f"ledger.{noun}.stray", key, "it belongs to an issuance that is not there")


def _check_documents(ledger: LedgerReader) -> Iterator[Discrepancy]:
    for kept in rows_of(ledger, "document", DOCUMENTS_PAGE):
        content = kept["content"]
        digest = fingerprint(content) if isinstance(content, bytes) else ""
        if digest != kept["sha256"]:
            told = f"the document that is kept under this digest has the digest {digest}"
            yield Discrepancy("ledger.document.altered", str(kept["sha256"]), told)
    for table in IN_FORCE:
        for row in rows_of(ledger, table):
            yield from _missing_texts(ledger, table, row)


def _missing_texts(ledger: LedgerReader, table: str, row: RowValues) -> Iterator[Discrepancy]:
    try:
        files = json.loads(str(row["files"]))
        wanted = {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, AttributeError, RecursionError):
        return  # the row is not the one that the log says: told elsewhere
    known = ledger.known_documents(list(wanted.values()))
    for name, digest in wanted.items():
        if digest not in known:
            told = f"{name} of the {table} {shown(row['digest'])} is not kept"
            yield Discrepancy("ledger.document.missing", digest, told)
