# SPDX-License-Identifier: Apache-2.0
"""The stored tiles and checkpoints held against the entries: all hashes are computed anew. No signature is verified."""

from collections.abc import Iterator, Sequence
from typing import Final

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import Discrepancy, rows_of, shown
from birthmark.core.errors import DecodeError
from birthmark.core.ledger_rows import RowValues
from birthmark.tlog.checkpoint import decode_checkpoint
from birthmark.tlog.growth import Edge, TileData
from birthmark.tlog.tiles import TILE_WIDTH, Tile
from birthmark.tlog.tree import HASH_BYTES, TreeHead, leaf_hash

STEP: Final = 4_096
"""Entries that are read and hashed at a time."""
_BLANK_LINE: Final = "\n\n"


class _Grown:
    """The tree as the entries make it, and how many tiles of it were seen."""

    def __init__(self, ledger: LedgerReader) -> None:
        self._ledger = ledger
        self.edge = Edge()
        self.tiles = 0

    def up_to(self, size: int) -> Iterator[Discrepancy]:
        """Grow to this size, or as far as there are entries; compare the tiles that are full."""
        while self.edge.size < size:
            entries = self._ledger.entries(self.edge.size, min(STEP, size - self.edge.size))
            if not entries:
                return
            growth = self.edge.grow([leaf_hash(entry) for entry in entries])
            self.edge = growth.edge
            yield from self.compared([each for each in growth.tiles if each.tile.width == TILE_WIDTH])

    def partial(self) -> Iterator[Discrepancy]:
        """Compare the tiles that are not full."""
        tiles = []
        for level, data in enumerate(self.edge.rows):
            if data:
                index = (self.edge.size >> (8 * level)) // TILE_WIDTH
                tiles.append(TileData(Tile(level, index, len(data) // HASH_BYTES), data))
        return self.compared(tiles)

    def compared(self, tiles: Sequence[TileData]) -> Iterator[Discrepancy]:
        """Yield the tiles that are stored otherwise."""
        self.tiles += len(tiles)
        stored = self._ledger.tiles([(each.tile.level, each.tile.index) for each in tiles])
        for each in tiles:
            name = each.tile.level, each.tile.index
            if name not in stored:
                yield Discrepancy("ledger.tile.missing", str(name), "a checkpoint signs for it")
            elif stored[name] != each.data:
                yield Discrepancy("ledger.tile.altered", str(name), "its hashes are not those of the entries")


def check_hashes(ledger: LedgerReader) -> Iterator[Discrepancy]:
    """Yield every checkpoint that is not of the entries, and every tile that is not theirs. Raises StoreError."""
    grown = _Grown(ledger)
    for row in rows_of(ledger, "checkpoint"):
        size = row["size"]
        yield from grown.up_to(size if isinstance(size, int) else 0)
        if _head(row) != grown.edge.head() or size != grown.edge.size:
            told = f"it does not sign for the first {shown(size)} entries"
            yield Discrepancy("ledger.checkpoint.altered", shown(size), told)
            return
    yield from grown.partial()
    stored = ledger.tile_count()
    if stored != grown.tiles:
        told = f"{stored} tiles are stored, the last checkpoint has {grown.tiles}"
        yield Discrepancy("ledger.tile.stray", "tiles", told)


def _head(row: RowValues) -> TreeHead | None:
    try:
        return decode_checkpoint(str(row["note"]).partition(_BLANK_LINE)[0] + "\n").head
    except DecodeError:
        return None
