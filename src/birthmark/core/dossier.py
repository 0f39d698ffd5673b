# SPDX-License-Identifier: Apache-2.0
"""What a ledger holds about one issuance in all of its tables, and an entry of its log as it lies there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from birthmark.core.issuance import End, Issuance


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry of the transparency log, and the unit that the ledger finds it by ("" for none)."""

    number: int
    unit_serial: str
    entry: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """An issuance with all that hangs on it, as it is in the tables: nothing here is checked yet."""

    number: int
    """Issuances are numbered from 1 without a gap."""
    issuance: Issuance
    certificate_sha256: str
    """Under which digest the certificate is found; "" when there is none."""
    birth: str | None
    """The birth record (compact JWS)."""
    ends: tuple[End, ...]
    """Every decision to end its life, in order."""
    holds_place: bool
    """Whether its unit counts towards its order."""
    leaves: tuple[Leaf, ...]
    """Every entry of the log about its unit, by number."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many rows there are of what is written once and never changed."""

    entries: int
    last_entry: int
    """Entries are numbered from 0; -1 when there is none."""
    endings: int
    last_ending: int
    """Endings are numbered from 0; -1 when there is none."""
    proposals: int
    rulings: int


@dataclass(frozen=True, slots=True)
class PolicyInForce:
    """Which appraisal policy was in force from a moment on, until the next one."""

    digest: str
    """That of `Endorsements.digest`."""
    files: Mapping[str, str]
    """SHA-256 of each file that it is made of, by name; the first is the policy's own."""
    entry: int
    """Number of the log entry that says so."""
    since: datetime
