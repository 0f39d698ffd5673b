# SPDX-License-Identifier: Apache-2.0
"""What a ledger holds about one issuance in all of its tables, and an entry of its log as it lies there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

_Row: TypeAlias = Mapping[str, str | bytes | int | None]


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry of the transparency log, and the unit that the ledger finds it by ("" for none)."""

    number: int
    unit_serial: str
    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """
    An issuance with all that hangs on it: rows as they are in the tables, values by column names.

    Nothing here is checked yet: a row may hold what no program has written.
    """

    number: int
    """Issuances are numbered from 1 without a gap."""
    issuance: _Row
    life: _Row | None
    certificate: _Row | None
    birth: _Row | None
    hold: _Row | None
    ends: tuple[_Row, ...]
    """Every decision to end its life, in order."""
    holds_place: bool
    """Whether its unit counts towards its order."""
    leaves: tuple[Leaf, ...]
    """Every entry of the log about its unit, by number."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """How many rows there are in a table whose rows are numbered without a gap, and the last number."""

    table: str
    rows: int
    first: int
    """The number of the first row that there ever was."""
    last: int
