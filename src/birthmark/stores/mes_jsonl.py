# SPDX-License-Identifier: Apache-2.0
"""
Births for a MES that reads a file: one JSON object per line, appended and on disk before the delivery counts.

A line is {"idempotency_key", "record", "jws"}. Each key stands in the file once, whatever was delivered twice. A line
that a power cut has left unfinished is cut off before the next one is written; its birth is then delivered again.
"""

import errno
import fcntl
import os
from io import FileIO
from pathlib import Path

import msgspec

from birthmark.core.birth import BirthRecord, read_birth
from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, SignedBirth
from birthmark.core.errors import DecodeError


class _Line(msgspec.Struct, frozen=True):
    idempotency_key: str
    record: BirthRecord
    jws: str


class _Key(msgspec.Struct, frozen=True):
    """What is read of an earlier line."""

    idempotency_key: str


class MESFile:
    """A destination (`line.ports.Destination`). Opened at the first delivery; locked until closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._keys: set[str] = set()

    def deliver(self, birth: SignedBirth) -> None:
        """
        Append the birth unless its key is in the file; return when it is on the disk.

        Raises:
            DeliveryDeferred: the file cannot be written now, or another process writes it.
            DeliveryRefused: not a birth record.

        """
        try:
            line = _Line(birth.key, read_birth(birth.jws), birth.jws)
        except DecodeError as error:
            raise DeliveryRefused(error.message) from error
        try:
            self._append(line)
        except (OSError, msgspec.MsgspecError) as error:
            self.close()
            raise DeliveryDeferred(f"{self._path}: {error}", hint="look at the file and its disk") from error

    def _append(self, line: _Line) -> None:
        file = self._file or self._open()
        if line.idempotency_key in self._keys:
            return
        data = msgspec.json.encode(line) + b"\n"
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
        self._keys.add(line.idempotency_key)

    def _open(self) -> FileIO:
        # Unbuffered: what could not be written is not tried again behind our back when the file is closed.
        file = FileIO(self._path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._keys, whole = _read_keys(self._path)
            file.truncate(whole)
            _sync_folder(self._path.parent)
        except BaseException:
            file.close()
            raise
        self._file = file
        return file

    def close(self) -> None:
        """Let others write the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _read_keys(path: Path) -> tuple[set[str], int]:
    """Return the keys in the file and the length of its whole lines."""
    keys = set()
    whole = 0
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                keys.add(msgspec.json.decode(line, type=_Key).idempotency_key)
                whole += len(line)
    return keys, whole


def _sync_folder(folder: Path) -> None:
    # A new file's name is on the disk only when its folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
