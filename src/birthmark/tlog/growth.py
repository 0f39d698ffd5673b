# SPDX-License-Identifier: Apache-2.0
"""
How a log grows: the right edge of its tiles, and the tiles that new leaves add or widen.

The edge is all that must be known of a log to make it longer; it is at most 255 hashes a level, whatever the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from birthmark.tlog.errors import LogRequestError
from birthmark.tlog.tiles import (
    TILE_HEIGHT,
    TILE_LEVELS,
    TILE_MAX_BYTES,
    TILE_WIDTH,
    Tile,
    TileReader,
    edge_tiles,
    read_row,
)
from birthmark.tlog.tree import HASH_BYTES, SIZE_MAX, TreeHead, fold, peaks, perfect_root


@dataclass(frozen=True, slots=True)
class TileData:
    """A tile and its bytes."""

    tile: Tile
    data: bytes


@dataclass(frozen=True, slots=True)
class Edge:
    """
    The right edge of a log: for every level the hashes of its partial tile, none where the last tile is full.

    The same edge and the same new leaves always give the same tiles, so that growing may be repeated after a crash.
    """

    size: int = 0
    rows: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, reader: TileReader, size: int) -> Self:
        """Return the edge of a log of `size` entries. Raises TileRefused for tiles that are missing or short."""
        tiles = edge_tiles(size)
        found = {tile.level: data for tile, data in read_row(reader, tiles).items()}
        return cls(size, tuple(found.get(level, b"") for level in range(max(found, default=-1) + 1)))

    def head(self) -> TreeHead:
        """Return the tree head of the log up to here."""
        return TreeHead(self.size, fold([self._peak(each.level) for each in peaks(0, self.size)]))

    def grow(self, leaves: Sequence[bytes]) -> "Growth":
        """
        Return the log longer by these leaf hashes.

        Raises LogRequestError for a leaf that is no hash, and for a log that would pass 2**63 - 1 entries.
        """
        if any(len(leaf) != HASH_BYTES for leaf in leaves) or self.size + len(leaves) > SIZE_MAX:
            raise LogRequestError(f"these {len(leaves)} leaf hashes cannot follow on {self.size} entries")
        rows: list[bytes] = []
        tiles: list[TileData] = []
        added = b"".join(leaves)
        for level in range(TILE_LEVELS):
            row = (self.rows[level] if level < len(self.rows) else b"") + added
            if added:
                tiles += _cut(level, (self.size >> (TILE_HEIGHT * level)) // TILE_WIDTH, row)
            added = b"".join(perfect_root(full) for full in _full_tiles(row))
            rows.append(row[len(row) - len(row) % TILE_MAX_BYTES :])
        while rows and not rows[-1]:
            rows.pop()
        return Growth(Edge(self.size + len(leaves), tuple(rows)), tuple(tiles))

    def _peak(self, level: int) -> bytes:
        """Return the hash of the one subtree of this level that ends in the edge."""
        tile_level, above = divmod(level, TILE_HEIGHT)
        row = self.rows[tile_level]
        begin = (len(row) // HASH_BYTES >> (above + 1) << (above + 1)) * HASH_BYTES
        return perfect_root(row[begin : begin + (HASH_BYTES << above)])


@dataclass(frozen=True, slots=True)
class Growth:
    """A longer log: its new edge, and the tiles to store. A partial tile replaces the narrower one of its place."""

    edge: Edge
    tiles: tuple[TileData, ...]


def _full_tiles(row: bytes) -> list[bytes]:
    return [row[at : at + TILE_MAX_BYTES] for at in range(0, len(row) - TILE_MAX_BYTES + 1, TILE_MAX_BYTES)]


def _cut(level: int, first_index: int, row: bytes) -> list[TileData]:
    """Return the tiles of a row that begins with the tile `first_index`."""
    parts = [row[at : at + TILE_MAX_BYTES] for at in range(0, len(row), TILE_MAX_BYTES)]
    return [TileData(Tile(level, first_index + n, len(part) // HASH_BYTES), part) for n, part in enumerate(parts)]
