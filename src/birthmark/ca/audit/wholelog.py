# SPDX-License-Identifier: Apache-2.0
"""
A whole log against its checkpoint, and against an older one that the auditor has kept. In constant memory.

The entries are the witness: tiles are not asked. Whoever edits, deletes, swaps or cuts entries, and computes all tiles
and the checkpoint anew with the log's own key, still cannot give the root of the checkpoint that was kept.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from birthmark.ca.audit.errors import AuditRefused
from birthmark.tlog.checkpoint import Checkpoint
from birthmark.tlog.tree import CompactRange, TreeHead, leaf_hash

STEP: Final = 256
"""Entries that are hashed together: the width of a tile."""


class EntrySource(Protocol):
    """Where the entries of a log come from, in order."""

    def entries(self, size: int) -> Iterator[bytes]:
        """Yield the first `size` entries, or as many as there are."""
        ...


def _nothing(_done: int) -> None:
    """Show nothing."""


def verify_whole_log(
    source: EntrySource, now: Checkpoint, kept: Sequence[Checkpoint] = (), progress: Callable[[int], None] = _nothing
) -> None:
    """
    Pass when the entries are all those of the checkpoint, and begin with those of every checkpoint that was kept.

    `progress` is told how many entries are done.

    Raises:
        AuditRefused: audit.log.origin (a checkpoint of another log), audit.log.shorter (the log is shorter than it
            was), audit.log.history (its entries are not those that it once had), audit.log.entries (they are not those
            of its own checkpoint).

    """
    for each in kept:
        _demand_later(now, each)
    stops = sorted({each.head.size for each in kept} | {now.head.size})
    entries, whole = source.entries(now.head.size), CompactRange()
    for stop in stops:
        _grow(whole, entries, stop, progress)
        for each in kept:
            if each.head.size == stop:
                _demand_head(whole.head(), each.head, "audit.log.history", "the entries that the log once had")
    _demand_head(whole.head(), now.head, "audit.log.entries", "the entries of the log's own checkpoint")


def _demand_later(now: Checkpoint, kept: Checkpoint) -> None:
    if kept.origin != now.origin:
        raise AuditRefused(f"{kept.origin} is another log than {now.origin}", finding="audit.log.origin")
    if kept.head.size > now.head.size:
        told = f"the log has {now.head.size} entries; it had {kept.head.size}"
        raise AuditRefused(told, hint="an older copy was put in its place", finding="audit.log.shorter")


def _grow(whole: CompactRange, entries: Iterator[bytes], stop: int, progress: Callable[[int], None]) -> None:
    while whole.size < stop:
        wanted = min(STEP - whole.size % STEP, stop - whole.size)
        leaves = [leaf_hash(entry) for entry in islice(entries, wanted)]
        if len(leaves) < wanted:
            told = f"there are {whole.size + len(leaves)} entries where {stop} must be"
            raise AuditRefused(told, finding="audit.log.entries")
        whole.extend(leaves)
        progress(whole.size)


def _demand_head(found: TreeHead, wanted: TreeHead, finding: str, what: str) -> None:
    if found != wanted:
        raise AuditRefused(f"the first {wanted.size} entries are not {what}", finding=finding)
