# SPDX-License-Identifier: Apache-2.0
"""
What the line's store keeps and hands on: journal entries, signed births, and parcels on their way to a destination.

Plain data between the line and its stores, which may not import each other, and the two ways in which a destination
says no.

DeliveryError (see core.errors for the root)
├── DeliveryDeferred    not now: the parcel stays, and so does everything behind it
└── DeliveryRefused     never: the parcel is parked, the next one goes
"""

from dataclasses import dataclass
from typing import Literal

from birthmark.core.errors import BirthmarkError


class DeliveryError(BirthmarkError):
    """A destination did not take a parcel."""

    default_finding = "delivery.failed"


class DeliveryDeferred(DeliveryError):
    """The destination is away, busy or not in order. Trying again later can help."""

    default_finding = "delivery.deferred"


class DeliveryRefused(DeliveryError):
    """The destination understood the parcel and will never take it. Trying again cannot help."""

    default_finding = "delivery.refused"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the rig's journal. `at` is RFC 3339 in UTC, `ms` the duration of a step that has ended."""

    at: str
    run: str
    position: int
    unit: str
    event: Literal["begin", "end", "verdict"]
    step: str = ""
    ms: float | None = None
    verdict: str = ""
    finding: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class SignedBirth:
    """A birth record as it is kept and sent: the compact JWS, and the key under which everyone takes it once."""

    key: str
    unit: str
    jws: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """One birth on its way to one destination. `sequence` gives the order in which the births were committed."""

    sequence: int
    destination: str
    birth: SignedBirth
    attempts: int
