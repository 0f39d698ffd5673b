# SPDX-License-Identifier: Apache-2.0
"""What a lead decides at a station: a unit is let out of quarantine, or begins anew. With a PIN and a reason."""

from enum import StrEnum

from birthmark.core.work import UnitChange, UnitWork
from birthmark.line.lead import UnitOffice
from birthmark.line.people import People
from birthmark.line.station.desk import StationDesk


class Act(StrEnum):
    """What can be decided."""

    OVERRIDE = "override"
    REWORK = "rework"


class LeadDesk:
    """The units' records at a station. Used from any thread; every call raises UnitsAway when they are out of reach."""

    def __init__(self, office: UnitOffice, people: People, desk: StationDesk) -> None:
        self._office = office
        self._people = people
        self._desk = desk

    def show(self, unit: str) -> tuple[UnitWork, tuple[UnitChange, ...]]:
        """Return how a unit stands, and how it came to that."""
        return self._office.show(unit), self._office.history(unit)

    def decide(self, act: Act, unit: str, lead: str, pin: str, reason: str) -> UnitWork:
        """
        Return the unit as a lead's decision leaves it. It stands in the unit's history, and on the screen.

        Raises:
            LeadRefused: nobody who decides, a wrong PIN, or too many of them.
            UnitStopped: the decision does not fit the unit, or has no reason.

        """
        self._people.demand_lead(lead, pin)
        decided = self._office.override if act is Act.OVERRIDE else self._office.rework
        work = decided(unit, lead, reason)
        self._desk.decided(unit, f"{act}: {lead}")
        return work
