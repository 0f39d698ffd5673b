# SPDX-License-Identifier: Apache-2.0
"""
Whether a ledger that was restored is one to go on with. Pure: it reads a ledger and compares.

An older ledger forgets what was revoked and what was taken from an order: putting one back is an attack, whoever does
it. Whoever keeps a checkpoint elsewhere finds out, because a ledger that is older than that does not hold it.
"""

from dataclasses import dataclass

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.check import check_ledger
from birthmark.ca.upkeep.errors import LedgerRefused
from birthmark.tlog.checkpoint import Checkpoint
from birthmark.tlog.growth import Edge
from birthmark.tlog.tree import TreeHead, leaf_hash

PAGE = 4_096
"""Entries that are read at a time."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was found: entries in the log, and how many of them its own checkpoint covers."""

    entries: int
    signed_for: int


def demand_history(ledger: LedgerReader, own: Checkpoint, kept: Checkpoint | None = None) -> Restored:
    """
    Pass a ledger whose entries are those that its own checkpoint, and one that was kept elsewhere, signed for.

    Every entry is read, in constant memory.

    Raises:
        LedgerRefused: ca.restore.old (it lacks entries that `kept` signed for), ca.restore.log (its entries are not
            those that its own checkpoint signed for), ca.restore.history (nor those of `kept`).
        StoreError: the ledger.

    """
    size = ledger.log_size()
    if kept is not None and size < kept.head.size:
        told = f"the ledger has {size} entries; the checkpoint that was kept signed for {kept.head.size}"
        raise LedgerRefused(told, hint="it is an older state: restore a newer copy", finding="ca.restore.old")
    edge = Edge()
    for checkpoint, finding in _in_order(own, kept):
        edge = _grown(ledger, edge, checkpoint.head.size)
        if edge.head() != checkpoint.head:
            raise LedgerRefused(_other(edge.head(), checkpoint.head), finding=finding)
    return Restored(size, own.head.size)


def demand_agreement(ledger: LedgerReader, authority: str) -> None:
    """Pass a ledger whose tables say what its log says. Raises LedgerRefused (ca.restore.tables), and as the check."""
    for each in check_ledger(ledger, authority):
        told = f"tables and log disagree: {each.finding}, {each.subject}: {each.detail}"
        raise LedgerRefused(told, finding="ca.restore.tables")


def _in_order(own: Checkpoint, kept: Checkpoint | None) -> list[tuple[Checkpoint, str]]:
    found = [(own, "ca.restore.log")] + ([] if kept is None else [(kept, "ca.restore.history")])
    return sorted(found, key=lambda each: each[0].head.size)


def _grown(ledger: LedgerReader, edge: Edge, size: int) -> Edge:
    while edge.size < size:
        entries = ledger.entries(edge.size, min(PAGE, size - edge.size))
        if not entries:
            return edge
        edge = edge.grow([leaf_hash(entry) for entry in entries]).edge
    return edge


def _other(found: TreeHead, signed: TreeHead) -> str:
    if found.size != signed.size:
        return f"the checkpoint signed for {signed.size} entries, {found.size} are there"
    return f"the first {found.size} entries are not those that the checkpoint signed for"
