# SPDX-License-Identifier: Apache-2.0
"""
The journal of a ceremony: what was begun and what was done, on the disk before and after each act.

One JSON object per line. A line that a power cut left without its end never was written; any other line that cannot be
read means that the journal was changed. The file is locked: one run at a time.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from birthmark.ca.ceremony.errors import CeremonyChanged, CeremonyRefused
from birthmark.ca.ceremony.files import SECRET_MODE, flush_directory

NAME: Final = "journal.jsonl"
JOURNAL_MAX_BYTES: Final = 4 << 20

Facts: TypeAlias = dict[str, str | tuple[str, ...]]
"""What an act found out about what it made: fingerprints, places, attributes. Never a secret."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="line"):
    at: datetime


class Opened(_Line, frozen=True, tag="opened"):
    """The first line: the plan that this journal is of."""

    plan_sha256: str
    journal: Literal["birthmark.ceremony-journal.v1"] = "birthmark.ceremony-journal.v1"


class Started(_Line, frozen=True, tag="started"):
    """A run began, with this software."""

    software: dict[str, str]


class Begun(_Line, frozen=True, tag="begun"):
    """An act is about to be done; what it makes was not there."""

    act: str


class Done(_Line, frozen=True, tag="done"):
    """An act was done."""

    act: str
    facts: Facts


class Finished(_Line, frozen=True, tag="finished"):
    """The transcript was written."""

    transcript_sha256: str


Line: TypeAlias = Opened | Started | Begun | Done | Finished
_DECODER: Final = msgspec.json.Decoder(Line)


class Journal:
    """What is in the journal, and the way to add to it."""

    def __init__(self, lines: tuple[Line, ...], descriptor: int) -> None:
        self._descriptor = descriptor
        self.lines = list(lines)

    @property
    def plan_sha256(self) -> str:
        """The plan of this journal, or nothing when it is new."""
        return next((line.plan_sha256 for line in self.lines if isinstance(line, Opened)), "")

    @property
    def begun(self) -> dict[str, datetime]:
        """When each act was begun for the first time."""
        return {line.act: line.at for line in self.lines if isinstance(line, Begun)}

    @property
    def done(self) -> dict[str, Done]:
        """The acts that were done."""
        return {line.act: line for line in self.lines if isinstance(line, Done)}

    @property
    def started(self) -> tuple[Started, ...]:
        """Every run, in order."""
        return tuple(line for line in self.lines if isinstance(line, Started))

    @property
    def finished(self) -> Finished | None:
        """The end, if the ceremony has come to it."""
        return next((line for line in self.lines if isinstance(line, Finished)), None)

    def add(self, line: Line) -> None:
        """
        Put a line on the disk; when this returns, it is there.

        Raises:
            CeremonyRefused: `ceremony.clock`, the clock went back: the transcript could not say what came first.
            OSError: none of it is there.

        """
        if self.lines and line.at < self.lines[-1].at:
            message = f"the clock went back from {self.lines[-1].at.isoformat()} to {line.at.isoformat()}"
            raise CeremonyRefused(message, hint="set this machine's clock, and go on", finding="ceremony.clock")
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            _write_all(self._descriptor, msgspec.json.encode(line) + b"\n")
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, end)
            raise
        self.lines.append(line)


def read_journal(folder: Path) -> tuple[Line, ...]:
    """
    Return the lines of the journal in a folder, without a lock; none when there is no journal.

    Raises:
        CeremonyChanged: `ceremony.journal`, it is damaged.

    """
    try:
        content = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return ()
    return _lines(content, folder / NAME)


@contextmanager
def open_journal(folder: Path) -> Iterator[Journal]:
    """
    Open the journal of a folder for one run. The folder is made when it is not there.

    Raises:
        CeremonyRefused: `ceremony.running`, another run holds it.
        CeremonyChanged: `ceremony.journal`, it is damaged.

    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND, SECRET_MODE)
    try:
        _lock(descriptor, folder)
        content = os.read(descriptor, JOURNAL_MAX_BYTES)
        whole = content[: content.rfind(b"\n") + 1]
        os.ftruncate(descriptor, len(whole))
        flush_directory(folder)
        yield Journal(_lines(whole, folder / NAME), descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        message = f"another run of the ceremony in {folder} is under way"
        raise CeremonyRefused(message, hint="wait for its end", finding="ceremony.running") from None


def _lines(content: bytes, path: Path) -> tuple[Line, ...]:
    """Return the lines that have their end."""
    try:
        lines = tuple(_DECODER.decode(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n"))
    except msgspec.MsgspecError as error:
        raise CeremonyChanged(f"{path} is damaged: {error}", finding="ceremony.journal") from error
    if lines and not isinstance(lines[0], Opened):
        raise CeremonyChanged(f"{path} does not begin with its plan", finding="ceremony.journal")
    return lines
