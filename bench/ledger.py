# SPDX-License-Identifier: Apache-2.0
"""
The ledger at a million entries: a proof out of tiles, and the verification of the whole log as it streams by.

Tiles and entries are in memory here; what a database adds is its own.
"""

import hashlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import median

from rows import Row, row, seconds_per_call

from birthmark.tlog.errors import LogRefused
from birthmark.tlog.growth import Edge
from birthmark.tlog.reading import prove_inclusion
from birthmark.tlog.tiles import TILE_HEIGHT, Tile
from birthmark.tlog.tree import TreeHead, inclusion_path, leaf_hash, verify_stream

ENTRIES = 1_000_000
FEW = 1_000
_BATCH = 64
_PROOFS = 500
_CALLS = 100_000
_NODE = bytes(65)


def measure() -> list[Row]:
    """Build the log, prove entries of it, verify all of it."""
    shelf = _Shelf()
    head = _built(shelf)
    node_s = seconds_per_call(lambda: hashlib.sha256(_NODE).digest(), _CALLS)
    return [_proof(shelf, head, node_s), _stream(head, node_s), _memory()]


class _Shelf:
    """One row for (level, index), as a store keeps it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], bytes] = {}

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        return [self.rows[tile.level, tile.index] for tile in tiles]


def _entries(count: int) -> Iterator[bytes]:
    """Give audit entries of a usual length, the same ones every time."""
    told = (
        b'{"at":"2026-11-23T10:00:00Z","chip":"%064x","event":"issued","order":"P1","serial":"%040x","unit":"BM-%07d"}'
    )
    return (told % (n, n, n) for n in range(count))


def _built(shelf: _Shelf) -> TreeHead:
    edge, entries = Edge(), _entries(ENTRIES)
    while leaves := [leaf_hash(each) for each in islice(entries, _BATCH)]:
        growth = edge.grow(leaves)
        shelf.rows |= {(each.tile.level, each.tile.index): each.data for each in growth.tiles}
        edge = growth.edge
    return edge.head()


def _proof(shelf: _Shelf, head: TreeHead, node_s: float) -> Row:
    places = random.Random(1).sample(range(head.size), _PROOFS)  # noqa: S311 the same places every time
    times, hashed = [], []
    for place in places:
        begun = time.perf_counter()
        prove_inclusion(shelf, place, head)
        times.append(time.perf_counter() - begun)
        hashed.append(_hashes_in_proof(place, head.size))
    return row(
        "ledger.proof_ms",
        median(times) * 1e3,
        "ms",
        median(hashed) * node_s * 1e3,
        f"inclusion among {head.size:,} entries, made and verified, longest {max(times) * 1e3:.2f} ms; "
        f"floor: its {median(hashed):.0f} SHA-256",
    )


def _hashes_in_proof(place: int, size: int) -> int:
    """Count the nodes to hash: below each hash of the proof to the row that is stored, and up to the root."""
    path = inclusion_path(place, size)
    inside = sum((1 << subtree.level % TILE_HEIGHT) - 1 for group in path for subtree in group)
    return inside + sum(len(group) - 1 for group in path) + len(path)


def _stream(head: TreeHead, node_s: float) -> Row:
    entries = list(_entries(ENTRIES))
    begun = time.perf_counter()
    verify_stream(entries, head)
    verified_s = time.perf_counter() - begun
    leaf_s = seconds_per_call(lambda: hashlib.sha256(entries[0]).digest(), _CALLS)
    return row(
        "ledger.verify_entries_per_s",
        head.size / verified_s,
        "1/s",
        1 / (leaf_s + node_s),
        f"all of {head.size:,} entries of {len(entries[0])} bytes; floor: two SHA-256 an entry",
    )


def _memory() -> Row:
    few, all_of_them = (_peak_mib(count) for count in (FEW, ENTRIES))
    told = f"peak of a process that verifies {ENTRIES:,} entries as they stream by; floor: {FEW:,} entries"
    return row("ledger.verify_memory_mib", all_of_them, "MiB", few, told)


def _peak_mib(count: int) -> float:
    done = subprocess.run([sys.executable, Path(__file__), str(count)], check=True, capture_output=True)  # noqa: S603 this file
    return int(done.stdout) / 1024


def _verify_and_print_peak_kib(count: int) -> None:
    """Verify a log against a wrong root, which is found out at its end only; print the peak of memory."""
    try:
        verify_stream(_entries(count), TreeHead(count, bytes(32)))
    except LogRefused:
        # Not ru_maxrss, which a child takes over from the large process that started it.
        told = Path("/proc/self/status").read_text()
        print(told.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    _verify_and_print_peak_kib(int(sys.argv[1]))
