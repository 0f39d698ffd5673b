# SPDX-License-Identifier: Apache-2.0
"""
Commits that threads share.

Each transaction waits for the disk once (synchronous=FULL). What threads want to write while another thread waits
there is gathered and committed together, so that eight boards cost little more than one.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from birthmark.core.errors import StoreError
from birthmark.stores.sqlite_file import SQLiteFile


def _unfinished() -> StoreError:
    return StoreError("the shared transaction was given up")


@dataclass(slots=True)
class _Batch:
    """Writes that share a transaction. It counts as failed until it has succeeded, whatever interrupts it."""

    writes: list[Callable[[], None]] = field(default_factory=list)
    finished: bool = False
    failure: StoreError | None = field(default_factory=_unfinished)


class GroupCommit:
    """Runs writes on one file, several in one transaction when they come at the same time. Thread-safe."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self._gathering = threading.Lock()
        self._committing = threading.Lock()
        self._batch = _Batch()

    def write(self, write: Callable[[], None]) -> None:
        """
        Run `write` inside a transaction; on disk when this returns.

        Raises:
            StoreError: nothing of it is there. Those who shared the transaction fail with it: the causes (full disk,
                locked or broken file) are not of one's own making.

        """
        with self._gathering:
            batch = self._batch
            batch.writes.append(write)
        with self._committing:
            if not batch.finished:
                self._commit(batch)
        if batch.failure is not None:
            raise batch.failure

    def _commit(self, batch: _Batch) -> None:
        with self._gathering:
            self._batch = _Batch()
        try:
            with self._file.transaction():
                for write in batch.writes:
                    write()
            batch.failure = None
        except StoreError as error:
            batch.failure = error
        finally:
            batch.finished = True
