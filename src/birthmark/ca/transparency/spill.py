# SPDX-License-Identifier: Apache-2.0
"""
More records than memory holds, in order: they are sorted in runs, which lie in temporary files until they are merged.

The files have no names and are gone with the process. Memory is bounded by RUN_RECORDS, disk grows with the records.
"""

import heapq
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import IO, Final, Self, TypeAlias

import msgspec

Record: TypeAlias = tuple[str, int, str]
"""Records are ordered by text, then by number."""

LINKS: Final = "links/"
"""Begins the text of records about a thread: what an entry says of the one before, and what the next is to say."""
LINKED: Final = "|"
"""Stands between the two."""

RUN_RECORDS: Final = 50_000
RUNS_MAX: Final = 64
"""Runs that are merged at a time: each is an open file."""

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Record)


class Spill:
    """Takes records in any order, and gives them back in order."""

    def __init__(self, run_records: int = RUN_RECORDS) -> None:
        self._run_records = run_records
        self._records: list[Record] = []
        self._runs: list[IO[bytes]] = []
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._open.close()

    def add(self, record: Record) -> None:
        """Take a record. Raises OSError when there is no room for temporary files."""
        self._records.append(record)
        if len(self._records) >= self._run_records:
            self._store(sorted(self._records))
            self._records = []
            if len(self._runs) >= RUNS_MAX:
                self._join()

    def in_order(self) -> Iterator[Record]:
        """Return all records. Nothing may be added afterwards."""
        return heapq.merge(sorted(self._records), *map(_read, self._runs))

    def _join(self) -> None:
        runs, self._runs = self._runs, []
        self._store(heapq.merge(*map(_read, runs)))
        for run in runs:
            run.close()

    def _store(self, records: Iterable[Record]) -> None:
        run = self._open.enter_context(tempfile.TemporaryFile(prefix="birthmark-"))  # noqa: SIM115 closed with the spill
        run.writelines(_ENCODER.encode(record) + b"\n" for record in records)
        self._runs.append(run)


def _read(run: IO[bytes]) -> Iterator[Record]:
    run.seek(0)
    return map(_DECODER.decode, run)
