# SPDX-License-Identifier: Apache-2.0
"""
The journal of one board's run: each step is on disk, and announced, before it happens.

The end of a step is written together with the beginning of the next, in one transaction: what is lost by a power cut
in between is a duration, never the knowledge of what was begun.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from birthmark.core.clock import Clock
from birthmark.core.delivery import JournalEntry, SignedBirth
from birthmark.core.errors import StoreError
from birthmark.line.chip_time import TimedChip
from birthmark.line.errors import JournalUnwritable
from birthmark.line.events import Events
from birthmark.line.ports import LineStore, Stopwatch

_MS = 1000.0
_WRONG_FILE = frozenset({"store.foreign", "store.version"})


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
    """What all journals of one run write with. `run` names the run in the journal."""

    run: str
    store: LineStore
    events: Events
    clock: Clock
    stopwatch: Stopwatch

    def now(self) -> str:
        """Return the moment in RFC 3339, as journal and births have it."""
        return self.clock().isoformat(timespec="milliseconds")


class BoardJournal:
    """The journal of one board in one run. Used by the board's own thread."""

    def __init__(self, desk: Desk, position: int, unit: str) -> None:
        self._desk = desk
        self._position = position
        self._unit = unit
        self._ended: list[JournalEntry] = []
        self.step_ms: dict[str, float] = {}

    @contextmanager
    def step(self, step: Step, chip: TimedChip | None = None) -> Iterator[None]:
        """
        Journal and announce the beginning, let it happen, announce the end.

        Raises:
            JournalUnwritable: the beginning could not be written; nothing has happened.

        """
        self._write(replace(self._entry("begin"), step=step.value))
        self._desk.events.emit(event="step.begin", position=self._position, unit=self._unit, step=step.value)
        began, chip_began = self._desk.stopwatch(), chip.seconds if chip else 0.0
        yield
        ms = (self._desk.stopwatch() - began) * _MS
        chip_ms = (chip.seconds - chip_began) * _MS if chip else 0.0
        self._end(step, ms, chip_ms)

    def commit_birth(self, birth: SignedBirth, destinations: Sequence[str], result: Result) -> None:
        """
        Put birth, parcels and verdict on disk in one transaction.

        Raises:
            JournalUnwritable: none of it is there.

        """
        verdict = replace(self._entry("verdict"), verdict=result.value)
        with writable():
            self._desk.store.commit_birth(birth, destinations, (*self._ended, verdict))
        self._ended.clear()

    def has_birth(self, key: str) -> bool:
        """Say whether this rig has the birth record with this key on disk."""
        with writable():
            return self._desk.store.birth(key) is not None

    def verdict(self, result: Result, finding: str, detail: str) -> None:
        """Journal a verdict that comes without a birth. Raises JournalUnwritable."""
        self._write(replace(self._entry("verdict"), verdict=result.value, finding=finding, detail=detail))

    def check_room(self) -> None:
        """Raise JournalUnwritable when the disk could not take the birth that an issuance must end in."""
        with writable():
            self._desk.store.require_room()

    def _end(self, step: Step, ms: float, chip_ms: float) -> None:
        self.step_ms[step] = round(self.step_ms.get(step, 0.0) + ms, 3)
        self._ended.append(replace(self._entry("end"), step=step.value, ms=round(ms, 3)))
        self._desk.events.emit(
            event="step",
            position=self._position,
            unit=self._unit,
            step=step.value,
            ms=round(ms, 3),
            chip_ms=round(chip_ms, 3),
        )

    def _write(self, entry: JournalEntry) -> None:
        with writable():
            self._desk.store.journal((*self._ended, entry))
        self._ended.clear()

    def _entry(self, event: Literal["begin", "end", "verdict"]) -> JournalEntry:
        return JournalEntry(self._desk.now(), self._desk.run, self._position, self._unit, event)


@contextmanager
def writable() -> Iterator[None]:
    """Raise JournalUnwritable for what the store cannot do inside; the file of another program stays a StoreError."""
    try:
        yield
    except StoreError as error:
        if error.finding in _WRONG_FILE:
            raise
        raise JournalUnwritable(
            f"the journal cannot be written: {error.message}", hint=error.hint or "make room on the rig's disk"
        ) from error
