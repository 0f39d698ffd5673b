# SPDX-License-Identifier: Apache-2.0
"""
What the line needs from outside: a CA, a store, a way to chips, destinations for events, somebody who listens.

Each is a small Protocol; `wiring.py` chooses what stands behind it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cryptography.x509 import Certificate, ObjectIdentifier

from birthmark.core.attempts import Attempt, Cell, Ending, Grain, KeepUnits, OwedEnd, Period
from birthmark.core.delivery import Aside, Backlog, JournalEntry, Keep, Parcel
from birthmark.core.line_events import LineEvent
from birthmark.core.work import Transition, UnitChange, UnitWork
from birthmark.silicon.port import Algorithm, SecureElement

Event = dict[str, object]
# Takes one event and has handed it on (printed and flushed) when it returns. Called by one thread at a time.
Emit = Callable[[Event], None]
# Seconds on a clock that never goes back, for durations and deadlines.
Stopwatch = Callable[[], float]
# Opens the chip at an address. Raises ChipError when nothing answers there.
OpenChip = Callable[[str], SecureElement]


@dataclass(frozen=True, slots=True)
class CertificateState:
    """What the CA knows of one certificate."""

    unit_serial: str
    chip_serial: str
    state: str
    order: str


class Authority(Protocol):
    """
    The CA, as one rig sees it under one order. Thread-safe.

    Every call raises AuthorityAway when asking again later can help, and AuthorityRefused when it cannot.
    """

    def issuing_certificates(self) -> tuple[Certificate, ...]:
        """Return the CA certificates that are no roots, as the CA hands them out."""
        ...

    def warm(self, connections: int, threads: Executor) -> None:
        """Open so many connections at once. Whoever needs one later will see errors."""
        ...

    def key_type(self) -> Algorithm:
        """Return the type of key that the CA wants under the order."""
        ...

    def nonce(self, statement_type: ObjectIdentifier, unit: str) -> bytes:
        """Return a fresh nonce for this unit's evidence. It also leases the unit to this rig."""
        ...

    def enrol(self, csr: bytes) -> Certificate:
        """Return the certificate for a CSR. The same chip and key get the same certificate again."""
        ...

    def certificate(self, sha256: str) -> CertificateState | None:
        """Return what the CA knows of the certificate with this fingerprint, or None."""
        ...


class LineStore(Protocol):
    """
    Journal, events and outbox of one rig, on disk when a call returns. Thread-safe.

    Every call raises a BirthmarkError when the disk or the database does not do what was asked; nothing is halved.
    """

    def journal(self, entries: Sequence[JournalEntry], events: Sequence[LineEvent] = ()) -> None:
        """
        Append the entries, and the events that tell them, all or none.

        Each event gets the next sequence of this journal, and is a parcel for every destination that wants it. One
        whose key is there already is not added again.
        """
        ...

    def has(self, key: str) -> bool:
        """Say whether an event with this idempotency key is on the disk."""
        ...

    def since(self, kinds: Sequence[str]) -> tuple[Parcel, ...]:
        """Return the last event of these kinds and all after it, as parcels for nobody; all, where there is none."""
        ...

    def require_room(self) -> None:
        """Raise when the disk has too little room for a panel's births: asked before anything is issued."""
        ...

    def parcels(self, destination: str, limit: int) -> tuple[Parcel, ...]:
        """Return the first that wait for a destination: what was let go again, then the others in their order."""
        ...

    def delivered(self, parcels: Sequence[Parcel]) -> None:
        """Note that their destination has taken these parcels, the first ones that `parcels` gave."""
        ...

    def deferred(self, parcel: Parcel, reason: str, pause_until: str) -> None:
        """Note a failed attempt, and until when (RFC 3339, or empty) the destination asks for patience."""
        ...

    def pause_until(self, destination: str) -> str:
        """Return until when the destination asks for patience (RFC 3339), or nothing."""
        ...

    def parked(self, parcel: Parcel, reason: str, at: str) -> None:
        """Put a parcel aside, with the reason and the moment; the next one moves up."""
        ...

    def unpark(self, destination: str, sequence: int | None = None) -> int:
        """Let the parked parcels of a destination, or one of them, wait again; return how many there were."""
        ...

    def waiting_parcel(self, destination: str, sequence: int) -> Parcel | None:
        """Return a parcel that waits for the destination, or None."""
        ...

    def aside(self, destination: str = "") -> tuple[Aside, ...]:
        """Return what is parked, for one destination or all, in the order of the events."""
        ...

    def event_at(self, sequence: int) -> Parcel | None:
        """Return the event with this number, as a parcel for nobody; None when there is none, or no more."""
        ...

    def backlog(self) -> tuple[Backlog, ...]:
        """Return how every destination stands."""
        ...

    def waiting(self) -> int:
        """Return how many parcels wait, over all destinations. Parked ones are not counted."""
        ...

    def parked_count(self) -> int:
        """Return how many parcels are parked, over all destinations."""
        ...

    def forget(self, destination: str) -> bool:
        """Give up what waits for a destination. Return False when there is no such one."""
        ...

    def prune(self, keep: Keep) -> int:
        """Take away some of what need not be kept; return how many rows went."""
        ...

    def owe(self, end: OwedEnd) -> None:
        """Keep an end that the units' store could not be told."""
        ...

    def owed(self) -> tuple[OwedEnd, ...]:
        """Return the ends that are still to be told."""
        ...

    def settled(self, end: OwedEnd) -> None:
        """Forget an end that was told."""
        ...

    def decisions_told(self) -> int | None:
        """Return up to which change in the units' history the decisions were told, or None before the first look."""
        ...

    def tell_decisions(self, number: int, events: Sequence[LineEvent]) -> None:
        """Keep events about leads' decisions, up to this change in the units' history, in one transaction."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class UnitStore(Protocol):
    """
    What the rigs of a line know together of their units. Thread-safe; shared by processes and machines.

    Every call raises UnitsAway when the store cannot be reached; a change was made then, or was not.
    """

    def units(self, serials: Sequence[str]) -> tuple[UnitWork, ...]:
        """Return the records, in this order; of a unit that nobody has seen, a new one."""
        ...

    def change(self, serial: str, transition: Transition) -> UnitWork:
        """
        Return the record as `transition` makes it of the present one; nobody else changes it in between.

        The moment that it is given is the store's, the same clock for all rigs.

        What `transition` raises passes through, and nothing is changed. Every change that is none of the lease alone
        is added to the history.
        """
        ...

    def sharing(self, chip_serial: str, key_sha256: str) -> tuple[UnitWork, ...]:
        """Return the units that were seen with this chip or this key. An empty value is shared by none."""
        ...

    def history(self, after: int, limit: int) -> tuple[UnitChange, ...]:
        """Return at most so many changes with higher numbers, in their order."""
        ...

    def history_of(self, serial: str) -> tuple[UnitChange, ...]:
        """Return all changes of one unit, in their order."""
        ...

    def end(self, serial: str, ending: Ending) -> Attempt:
        """
        Return the attempt as it counts; it and what becomes of its unit are kept in one transaction.

        An attempt that is there already (rig, run and position) is returned as it is, and nothing is changed. What
        `ending` raises passes through, and nothing is changed.
        """
        ...

    def cells(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return what the attempts of a period came to."""
        ...

    def unfinished(self, period: Period, grain: Grain) -> tuple[Cell, ...]:
        """Return the first attempts of a period whose units are not good now: not passed, spent, quarantined."""
        ...

    def last(self, rig: str, limit: int) -> tuple[Attempt, ...]:
        """Return the last attempts at a rig, newest first."""
        ...

    def attempts(self, period: Period, after: Attempt | None, limit: int) -> tuple[Attempt, ...]:
        """Return at most so many attempts of a period in the order of their ends, behind `after`."""
        ...

    def passed(self, order: str) -> int:
        """Return how many attempts passed under an order, as far as they are kept: one for each unit."""
        ...

    def prune(self, keep: KeepUnits) -> int:
        """
        Take away some of what need not be kept; return how many units and attempts went.

        A unit that is not done stays, however old its record is; so does how often it was tried.
        """
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Destination(Protocol):
    """Somebody who takes events, each once per key however often it is offered. Used by one thread."""

    def deliver(self, parcel: Parcel) -> None:
        """
        Return once the event is safe at the destination.

        Raises:
            DeliveryDeferred: not now; offer it again, not before `retry_after_s` where that is said.
            DeliveryRefused: never; park it.
            DecodeError: it cannot be read; park it.

        """
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


@runtime_checkable
class NetworkDestination(Destination, Protocol):
    """A destination that is also a member of a network, which is to know that the rig is there before a birth is."""

    def start(self) -> None:
        """Join the network now, and again after every outage, until `close`."""
        ...
