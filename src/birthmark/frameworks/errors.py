# SPDX-License-Identifier: Apache-2.0
"""
What a program hears of a station besides a panel's result.

FrameworkError
├── StationAway         it does not answer, or not as a station does
├── StationRefused      it said no, with its finding; nothing was begun
└── RigTrouble          the run says nothing about the boards: rig, CA, database, order or operator were the cause
"""

from birthmark.core.errors import BirthmarkError


class FrameworkError(BirthmarkError):
    """Root: there is no result to judge boards by."""

    default_finding = "line.station"


class StationAway(FrameworkError):
    """Nobody answers, or nobody that is a station. Asked again under the same key, nothing is run twice."""

    default_finding = "net.station"
    default_hint = "is it running (birthmark line serve), and is this its address?"


class StationRefused(FrameworkError):
    """The station's own finding and words."""

    default_finding = "line.station.refused"


class RigTrouble(FrameworkError):
    """A board without an identity, for a reason that is not the board's. Mend it, and run the panel again."""

    default_finding = "line.station.trouble"
