# SPDX-License-Identifier: Apache-2.0
"""What the ledger's SQL runs on: one open transaction of some database. Written for SQLite; others rewrite it."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from birthmark.core.ledger_rows import Value
from birthmark.stores.ca_rows import Row, Table

Argument: TypeAlias = Value | Sequence[str]
Query: TypeAlias = tuple[str, tuple[Argument, ...]]


class Database(Protocol):
    """One open transaction. Everything raises StoreError."""

    def read(self, query: str, *arguments: Argument) -> list[Row]:
        """Return all rows."""
        ...

    def read_all(self, queries: Sequence[Query]) -> list[list[Row]]:
        """Return the rows of several queries, in one round trip where the database is elsewhere."""
        ...

    def write(self, statement: str, *arguments: Argument) -> None:
        """Run a statement."""
        ...

    def change(self, statement: str, *arguments: Argument) -> int:
        """Run a statement; return how many rows it touched, which costs a round trip of its own."""
        ...

    def write_each(self, statement: str, arguments: Sequence[tuple[Argument, ...]]) -> None:
        """Run a statement once for each set of arguments."""
        ...

    def insert(self, table: Table, values: Sequence[tuple[Value, ...]], *, or_ignore: bool = False) -> None:
        """Add rows. A numbered table numbers them on, in this order, without a gap."""
        ...
