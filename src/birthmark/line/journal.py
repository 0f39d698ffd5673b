# SPDX-License-Identifier: Apache-2.0
"""
The journal of one board's run: each step is on disk, and announced, before it happens.

The end of a step is written together with the beginning of the next, in one transaction: what is lost by a power cut
in between is a duration, never the knowledge of what was begun. What the factory is told of it is in the transaction
of the entry that it tells.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from birthmark.core.clock import Clock
from birthmark.core.delivery import JournalEntry, Parcel, SignedBirth
from birthmark.core.errors import DecodeError, StoreError
from birthmark.core.line_events import LineEvent
from birthmark.line.chip_time import TimedChip
from birthmark.line.errors import JournalUnwritable
from birthmark.line.events import Events
from birthmark.line.ports import LineStore, Stopwatch
from birthmark.line.standing import ENDS, Standing, standing_of
from birthmark.line.telling import Teller, Told

_log = logging.getLogger(__name__)
_MS = 1000.0
WRONG_FILE: Final = frozenset({"store.foreign", "store.version"})
"""What a store says of the file of another program, or of another release: no waiting helps."""


class Step(StrEnum):
    """The steps of one board, in their order."""

    POWER = "power"
    OBSERVE = "observe"
    GENERATE = "generate"
    ATTEST = "attest"
    ENROL = "enrol"
    IMPORT = "import"
    PROVE = "prove"
    RECORD = "record"


class Result(StrEnum):
    """How a board's run ended."""

    PASS = "PASS"  # noqa: S105 a verdict, not a password
    PASS_ALREADY = "PASS-ALREADY"  # noqa: S105 as above
    RESUMED = "RESUMED"
    FAIL = "FAIL"
    QUARANTINE = "QUARANTINE"
    SKIP = "SKIP"


@dataclass(frozen=True, slots=True)
class Desk:
    """What all journals of one panel write with."""

    teller: Teller
    store: LineStore
    events: Events
    clock: Clock
    stopwatch: Stopwatch

    @property
    def run(self) -> str:
        """Return the name of the run in the journal."""
        return self.teller.run

    def now(self) -> str:
        """Return the moment in RFC 3339, as journal and births have it."""
        return self.teller.now()

    def standing(self) -> Standing:
        """Return how the rig stands by what is told. Raises JournalUnwritable."""
        return standing_in(self.store)

    def keep(self, *events: LineEvent, entries: tuple[JournalEntry, ...] = ()) -> None:
        """Put events on disk, and the journal entries that they tell. Raises JournalUnwritable."""
        with writable():
            self.store.journal(entries, events)


class BoardJournal:
    """The journal of one board in one run. Used by the board's own thread."""

    def __init__(self, desk: Desk, position: int, unit: str) -> None:
        self._desk = desk
        self._position = position
        self._unit = unit
        self._ended: list[JournalEntry] = []
        self._started = ""
        self.step_ms: dict[str, float] = {}
        self.begun = ""
        """The last step that was begun."""

    @contextmanager
    def step(self, step: Step, chip: TimedChip | None = None) -> Iterator[None]:
        """
        Journal and announce the beginning, let it happen, announce the end.

        Raises:
            JournalUnwritable: the beginning could not be written; nothing has happened.

        """
        started = () if self.begun else (self._desk.teller.started(self._position, self._unit),)
        entry = self._entry("begin", step)
        self._write(entry, *started)
        self._started = self._started or entry.at
        self.begun = step.value
        self._desk.events.emit(event="step.begin", position=self._position, unit=self._unit, step=step.value)
        began, chip_began = self._desk.stopwatch(), chip.seconds if chip else 0.0
        yield
        ms = (self._desk.stopwatch() - began) * _MS
        chip_ms = (chip.seconds - chip_began) * _MS if chip else 0.0
        self._end(step, ms, chip_ms)

    def commit_birth(self, birth: SignedBirth, result: Result) -> None:
        """
        Put birth and verdict on disk in one transaction.

        Raises:
            JournalUnwritable: none of it is there.

        """
        told = Told(result.value, certificate_sha256=birth.key)
        self._write_verdict(told, self._desk.teller.born(self._position, birth))

    def has_birth(self, key: str) -> bool:
        """Say whether this rig has the birth record with this key on disk."""
        with writable():
            return self._desk.store.has(key)

    def verdict(self, told: Told) -> None:
        """Journal a verdict that comes without a birth. Raises JournalUnwritable."""
        self._write_verdict(told)

    def check_room(self) -> None:
        """Raise JournalUnwritable when the disk could not take the birth that an issuance must end in."""
        with writable():
            self._desk.store.require_room()

    def _end(self, step: Step, ms: float, chip_ms: float) -> None:
        self.step_ms[step] = round(self.step_ms.get(step, 0.0) + ms, 3)
        self._ended.append(self._entry("end", step, ms=round(ms, 3)))
        self._desk.events.emit(
            event="step",
            position=self._position,
            unit=self._unit,
            step=step.value,
            ms=round(ms, 3),
            chip_ms=round(chip_ms, 3),
        )

    def _write_verdict(self, told: Told, *births: LineEvent) -> None:
        entry = _decided(self._desk, self._position, self._unit, told)
        self._write(entry, *births, self._desk.teller.verdict(self._position, self._unit, told, self._started))

    def _write(self, entry: JournalEntry, *events: LineEvent) -> None:
        self._desk.keep(*events, entries=(*self._ended, entry))
        self._ended.clear()

    def _entry(self, event: Literal["begin", "end"], step: Step, ms: float | None = None) -> JournalEntry:
        desk = self._desk
        return JournalEntry(desk.now(), desk.run, self._position, self._unit, event, step=step.value, ms=ms)


def untouched(desk: Desk, position: int, unit: str, told: Told) -> tuple[JournalEntry, LineEvent]:
    """Return what is to be journalled and told of a position that is not worked on."""
    return _decided(desk, position, unit, told), desk.teller.verdict(position, unit, told)


def _decided(desk: Desk, position: int, unit: str, told: Told) -> JournalEntry:
    verdict, finding, detail = told.verdict, told.finding, told.reason
    return JournalEntry(
        desk.now(), desk.run, position, unit, "verdict", verdict=verdict, finding=finding, detail=detail
    )


def standing_in(store: LineStore) -> Standing:
    """Return how the rig stands by the events in its store; a damaged one is passed over. Raises JournalUnwritable."""
    return standing_of(_last_told(store))


def last_teller(store: LineStore) -> str:
    """Return the name of the rig whose events are the last in a store; nothing where there are none."""
    return next((event.rig for event in _last_told(store)), "")


def _last_told(store: LineStore) -> Iterator[LineEvent]:
    with writable():
        parcels = store.since(ENDS)
    return (event for parcel in parcels if (event := _readable(parcel)) is not None)


def _readable(parcel: Parcel) -> LineEvent | None:
    try:
        return parcel.event()
    except DecodeError as error:
        _log.error("event %d cannot be read: %s", parcel.sequence, error)
        return None


@contextmanager
def writable() -> Iterator[None]:
    """Raise JournalUnwritable for what the store cannot do inside; the file of another program stays a StoreError."""
    try:
        yield
    except StoreError as error:
        if error.finding in WRONG_FILE:
            raise
        raise JournalUnwritable(
            f"the journal cannot be written: {error.message}", hint=error.hint or "make room on the rig's disk"
        ) from error
