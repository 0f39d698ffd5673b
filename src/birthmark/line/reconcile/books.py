# SPDX-License-Identifier: Apache-2.0
"""What is reconciled: the rows of the CA's ledger, of the rigs' databases, of their shared store and of the MES."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from birthmark.core.delivery import Backlog
from birthmark.core.work import UnitWork


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `birthmark ca ledger export`. Without a birth record `birth` is empty; members not named are ignored."""

    serial: str
    unit_serial: str
    chip_serial: str
    state: str
    certificate_sha256: str
    birth: str

    @property
    def living(self) -> bool:
        """Whether somebody could use it now."""
        return self.state in {"issued", "confirmed"}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared of one event of a rig, as its database has it or as a MES received it."""

    event: str
    idempotency_key: str
    rig: str
    journal: str
    sequence: int
    at: str
    unit: str = ""
    verdict: str = ""
    certificate_sha256: str = ""
    jws: str = ""

    @property
    def number(self) -> tuple[str, int]:
        """Which event of all rigs it is."""
        return self.journal, self.sequence


@dataclass(frozen=True, slots=True)
class RigBook:
    """One rig's database: the events that it still has, in their order, and how its destinations stand."""

    rig: str
    events: tuple[Told, ...]
    destinations: tuple[Backlog, ...] = ()

    @property
    def journal(self) -> str:
        """Return the name of its journal, or nothing when it never told anything."""
        return self.events[0].journal if self.events else ""

    @property
    def first(self) -> int:
        """Return the lowest number that it still has."""
        return self.events[0].sequence if self.events else 1


@dataclass(frozen=True, slots=True)
class Books:
    """All that is known. `units` has a record of every unit that anybody names; `mes` the events by destination."""

    certificates: tuple[Certificate, ...]
    rigs: tuple[RigBook, ...]
    units: tuple[UnitWork, ...]
    mes: Mapping[str, tuple[Told, ...]]


def units_named(certificates: tuple[Certificate, ...], rigs: tuple[RigBook, ...]) -> frozenset[str]:
    """Return the serials of all units that ledger and rigs name."""
    by_rigs = {event.unit for rig in rigs for event in rig.events}
    return frozenset({row.unit_serial for row in certificates} | by_rigs) - {""}
