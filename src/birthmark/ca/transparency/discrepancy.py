# SPDX-License-Identifier: Apache-2.0
"""What a check of the ledger tells, and how it reads: by pages, in one consistent view."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from birthmark.ca.ports import LedgerReader
from birthmark.core.ledger_rows import RowValues, Value

PAGE: Final = 500
"""Rows that are read at a time."""


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that the ledger says in two ways. `subject`: certificate serial, order, unit or entry number."""

    finding: str
    subject: str
    detail: str


def shown(value: Value) -> str:
    """Return a value of a row as it is told: bytes in hexadecimal."""
    return value.hex() if isinstance(value, bytes) else str(value)


def rows_of(ledger: LedgerReader, table: str, page: int | None = None) -> Iterator[RowValues]:
    """Return every row of a table, `page` or PAGE read at a time, as they are asked for. Raises StoreError."""
    last: RowValues | None = None
    while found := ledger.table_rows(table, last, page or PAGE):
        yield from found
        last = found[-1]
