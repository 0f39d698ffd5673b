# SPDX-License-Identifier: Apache-2.0
"""
Events for a MES that reads a file: one JSON object per line, appended and on disk before the delivery counts.

A line is the event as receivers get it (`core.line_events`); that of a birth has its `record` in plain, beside the
`jws`. Each key stands in the file once, whatever was delivered twice. A line that a power cut has left unfinished is
cut off before the next one is written; its event is then delivered again. A file that is renamed or removed is gone on
with under its old name as a new one, whose keys alone are remembered from then on.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Final

import msgspec

from birthmark.core.delivery import DeliveryDeferred, Parcel
from birthmark.core.errors import ConfigError
from birthmark.core.line_events import delivered_form

READ_BYTES: Final = 1 << 20
"""How much of the file is looked at in one go: what other rigs have written may be long."""


class _Key(msgspec.Struct, frozen=True):
    """What is read of an earlier line."""

    idempotency_key: str


_KEY: Final = msgspec.json.Decoder(_Key)


class MESFile:
    """
    A destination (`line.ports.Destination`). Opened at the first delivery.

    Several rigs may share the file: each write has it locked, and looks first at what the others have written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._keys: set[str] = set()
        self._read_bytes = 0

    def deliver(self, parcel: Parcel) -> None:
        """
        Append the event unless its key is in the file; return when it is on the disk.

        Raises:
            DeliveryDeferred: the file cannot be written now, or holds a line that is not ours.
            DecodeError: not an event, or not a birth record in it.

        """
        line = delivered_form(parcel.event()) + b"\n"
        try:
            self._append(parcel.key, line)
        except (OSError, msgspec.MsgspecError) as error:
            self.close()
            what = error.strerror if isinstance(error, OSError) else error
            raise DeliveryDeferred(f"{self._path}: {what}", hint="look at the file and its disk") from error

    def _append(self, key: str, line: bytes) -> None:
        file = self._locked()
        try:
            self._catch_up(file)
            if key not in self._keys:
                _write(file, line)
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _locked(self) -> FileIO:
        """Return the file that has the name now, locked: one that was renamed or removed is somebody else's."""
        while True:
            file = self._file or self._open()
            fcntl.flock(file, fcntl.LOCK_EX)
            if self._is_named(file):
                return file
            self.close()

    def _is_named(self, file: FileIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _open(self) -> FileIO:
        # Unbuffered: what could not be written is not tried again behind our back when the file is closed.
        self._file = FileIO(self._path, "a+")
        self._keys.clear()
        self._read_bytes = 0
        _sync_folder(self._path.parent)
        return self._file

    def _catch_up(self, file: FileIO) -> None:
        """Learn the keys that were added since the last look, and cut off what was not written to its end."""
        file.seek(self._read_bytes)
        rest = b""
        while new := file.read(READ_BYTES):
            whole, end, rest = (rest + new).rpartition(b"\n")
            # Not splitlines: it takes more for the end of a line than we write.
            self._keys.update(_KEY.decode(line).idempotency_key for line in whole.split(b"\n") if end)
            self._read_bytes += len(whole) + len(end)
        if rest:
            file.truncate(self._read_bytes)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def kept_in_file(path: Path) -> Iterator[bytes]:
    """Yield the events in a file, in the order of their arrival; none when there is no file. Raises ConfigError."""
    try:
        with path.open("rb") as file:
            # What stands behind the last end of a line is unfinished.
            yield from (line for line in file if line.endswith(b"\n"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="name a readable file") from error


def _write(file: FileIO, line: bytes) -> None:
    if file.write(line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # A new file's name is on the disk only when its folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
