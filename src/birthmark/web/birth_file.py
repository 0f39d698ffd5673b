# SPDX-License-Identifier: Apache-2.0
"""
The births in a MES file (one event of the line per line, those of births with a `record`), as they can be looked at.

The file belongs to the rigs that append to it; here it is only read, and only what was added since the last look. What
is kept between looks is where each line stands and the counts, so a year's births cost memory but no waiting.
"""

import os
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from birthmark.core.birth import BirthRecord
from birthmark.core.line_events import BIRTH_KIND

LINE_MAX_BYTES = 65_536
"""A longer line is no birth: a record has at most 16 KiB, and stands in its line twice."""


class _Line(msgspec.Struct, frozen=True):
    """What is read of a line. The signature in `jws` is for the auditor; a page does not check it."""

    record: BirthRecord | None = None
    event: str = BIRTH_KIND
    """Earlier releases wrote births alone, and did not say so."""


@dataclass(slots=True)
class _Index:
    """Where the lines are, and what they add up to."""

    identity: tuple[int, int] = (0, 0)
    read_bytes: int = 0
    offsets: list[int] = field(default_factory=list)
    units: dict[str, list[int]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    rigs: Counter[str] = field(default_factory=Counter)
    days: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def add(self, offset: int, line: bytes) -> None:
        """Take in one whole line."""
        read = _read(line)
        if read is None or (read.record is None and read.event == BIRTH_KIND):
            self.unreadable += 1
            return
        record = read.record
        if record is None:  # another event
            return
        self.offsets.append(offset)
        self.units.setdefault(record.unit_serial, []).append(offset)
        self.outcomes[record.outcome] += 1
        self.rigs[record.rig] += 1
        self.days[record.finished[:10]] += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Births:
    """What one look has found. `newest` begins with the birth that came last; `found` counts all that match."""

    newest: tuple[BirthRecord, ...] = ()
    found: int = 0
    total: int = 0
    today: int = 0
    by_outcome: tuple[tuple[str, int], ...] = ()
    by_rig: tuple[tuple[str, int], ...] = ()
    unreadable: int = 0
    unfinished: bool = False
    """The last line has no end: it is being written now, or a power cut has halved it."""
    problem: str = ""
    """Why nothing could be read; empty when the file could be."""


class BirthFile:
    """One MES file. For one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = _Index()

    def look(self, at: datetime, limit: int, unit: str = "") -> Births:
        """
        Return the newest births, at most `limit`, of units whose serial contains `unit`; count today's by UTC.

        Never raises for what the file holds or for a file that is away: `problem` says so.
        """
        try:
            with self.path.open("rb") as file:
                unfinished = self._catch_up(file)
                offsets = self._matching(unit)
                newest = [_record(_line_at(file, offset)) for offset in islice(reversed(offsets), limit)]
        except FileNotFoundError:
            self._index = _Index()
            return Births(problem="the file is not there yet: the first birth that is delivered makes it")
        except OSError as error:
            return Births(problem=f"the file cannot be read: {error.strerror}")
        index = self._index
        return Births(
            newest=tuple(record for record in newest if record is not None),
            found=len(offsets),
            total=len(index.offsets),
            today=index.days[f"{at:%Y-%m-%d}"],
            by_outcome=tuple(sorted(index.outcomes.items())),
            by_rig=tuple(sorted(index.rigs.items())),
            unreadable=index.unreadable,
            unfinished=unfinished,
        )

    def _matching(self, unit: str) -> list[int]:
        if not unit:
            return self._index.offsets
        units = self._index.units
        return sorted(offset for serial in units if unit in serial for offset in units[serial])

    def _catch_up(self, file: BinaryIO) -> bool:
        """Read what was added; begin anew when this is another file than last time, or a shorter one."""
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        if identity != self._index.identity or status.st_size < self._index.read_bytes:
            self._index = _Index(identity)
        file.seek(self._index.read_bytes)
        while line := file.readline(LINE_MAX_BYTES):
            length = len(line) if line.endswith(b"\n") else _rest_of(file, line)
            if length == 0:
                return True
            self._index.add(self._index.read_bytes, line)
            self._index.read_bytes += length
        return False


def _rest_of(file: BinaryIO, begun: bytes) -> int:
    """Return the whole length of a line that was read up to the limit; 0 when it has no end yet."""
    length = len(begun)
    while part := file.readline(LINE_MAX_BYTES):
        length += len(part)
        if part.endswith(b"\n"):
            return length
    return 0


def _line_at(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.readline(LINE_MAX_BYTES)


def _record(line: bytes) -> BirthRecord | None:
    read = _read(line)
    return read.record if read else None


def _read(line: bytes) -> _Line | None:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
