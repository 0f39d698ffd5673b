# SPDX-License-Identifier: Apache-2.0
"""
What the line's store keeps and hands on: journal entries, signed births, and parcels on their way to a destination.

Plain data between the line and its stores, which may not import each other, and the two ways in which a destination
says no. What is in a parcel: `core.line_events`.

DeliveryError (see core.errors for the root)
├── DeliveryDeferred    not now: the parcel stays, and so does everything behind it
└── DeliveryRefused     never: the parcel is parked, the next one goes
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from birthmark.core.errors import BirthmarkError
from birthmark.core.line_events import LineEvent, decode_event


class DeliveryError(BirthmarkError):
    """A destination did not take a parcel."""

    default_finding = "delivery.failed"


class DeliveryDeferred(DeliveryError):
    """
    The destination is away, busy or not in order. Trying again later can help.

    `retry_after_s` is the destination's own word for how much later, or None.
    """

    default_finding = "delivery.deferred"

    def __init__(self, message: str, *, hint: str = "", finding: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint, finding=finding)
        self.retry_after_s = retry_after_s


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


class Wants(StrEnum):
    """What a destination gets."""

    BIRTHS = "births"
    EVERYTHING = "everything"


CA_DESTINATION: Final = "ca"
"""The name of the CA among the destinations: its receipt of a birth confirms the certificate."""
# The destinations of a rig, by their names.
Routes: TypeAlias = Mapping[str, Wants]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One event on its way to one destination. `sequence` gives the order in which the events were committed."""

    destination: str
    sequence: int
    key: str
    unit: str
    body: bytes = field(repr=False)
    attempts: int = 0

    def event(self) -> LineEvent:
        """Return what is told. Raises DecodeError when the store's copy is damaged: it is parked then."""
        return decode_event(self.body)


@dataclass(frozen=True, slots=True)
class Backlog:
    """
    How a destination stands: what waits, since when (RFC 3339, empty when nothing does), and what it said last.

    `done` is the highest number up to which everything was delivered or put aside. `configured`: rig.toml names it.
    """

    destination: str
    wants: Wants
    waiting: int
    oldest_at: str
    parked: int
    attempts: int
    reason: str
    pause_until: str
    done: int
    configured: bool


@dataclass(frozen=True, slots=True)
class Keep:
    """
    What a rig's store keeps of what is done with; moments are RFC 3339 in UTC.

    An event that every destination has taken goes when it is older than `events_since`, or more than `events` newer
    ones are there. A journal entry goes when it is older than `journal_since`.
    """

    events_since: str
    events: int
    journal_since: str


@dataclass(frozen=True, slots=True)
class Aside:
    """A parcel that was put aside, and why."""

    parcel: Parcel
    reason: str
    at: str
