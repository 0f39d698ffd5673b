# SPDX-License-Identifier: Apache-2.0
"""
Proofs out of tiles.

A proof needs at most one tile a level (three in a log of a million entries) and, at the right edge, the partial ones;
all are asked for in one call. Every proof is verified before it is given out: a damaged tile is found here, and not by
the auditor.
"""

from collections.abc import Iterable, Sequence

from birthmark.tlog.errors import ProofRefused, TileRefused
from birthmark.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, TileReader, read_row, tile_width
from birthmark.tlog.tree import (
    HASH_BYTES,
    Subtree,
    TreeHead,
    consistency_path,
    fold,
    inclusion_path,
    peaks,
    perfect_root,
    verify_consistency,
    verify_inclusion,
)


def prove_inclusion(reader: TileReader, index: int, head: TreeHead) -> tuple[bytes, ...]:
    """
    Return the proof that the entry at `index` is in the log of this head.

    Raises:
        LogRequestError: the log has no such entry.
        TileRefused: the tiles are not those of this head.

    """
    path = inclusion_path(index, head.size)
    leaf = Subtree(0, index)
    hashes = _read(reader, [leaf, *_flat(path)], head.size)
    proof = _folded(path, hashes)
    try:
        verify_inclusion(hashes[leaf], index, proof, head)
    except ProofRefused as error:
        raise _damaged(head) from error
    return proof


def prove_consistency(reader: TileReader, old: TreeHead, new: TreeHead) -> tuple[bytes, ...]:
    """
    Return the proof that the log of the old head begins the log of the new one.

    A log asks for it before it signs a new head: a history that was rewritten is not signed for.

    Raises:
        LogRequestError: the new head is the smaller one.
        TileRefused: the tiles are not those of both heads.

    """
    path = consistency_path(old.size, new.size)
    proof = _folded(path, _read(reader, _flat(path), new.size))
    try:
        verify_consistency(old, new, proof)
    except ProofRefused as error:
        raise _damaged(new) from error
    return proof


def read_head(reader: TileReader, size: int) -> TreeHead:
    """Return the head of the log's first `size` entries, as the tiles have it. Raises TileRefused, see `TileReader`."""
    path = peaks(0, size)
    return TreeHead(size, fold(_folded([(each,) for each in path], _read(reader, path, size))))


def _flat(path: Iterable[Sequence[Subtree]]) -> list[Subtree]:
    return [subtree for group in path for subtree in group]


def _folded(path: Iterable[Sequence[Subtree]], hashes: dict[Subtree, bytes]) -> tuple[bytes, ...]:
    return tuple(fold([hashes[subtree] for subtree in group]) for group in path)


def _read(reader: TileReader, subtrees: Sequence[Subtree], size: int) -> dict[Subtree, bytes]:
    """Return the hash of every subtree, from tiles as wide as they are in a log of `size` entries."""
    homes = {subtree: _home(subtree, size) for subtree in subtrees}
    rows = read_row(reader, sorted(set(homes.values())))
    return {subtree: _hash_in(rows[tile], subtree) for subtree, tile in homes.items()}


def _home(subtree: Subtree, size: int) -> Tile:
    level, above = divmod(subtree.level, TILE_HEIGHT)
    index = (subtree.index << above) // TILE_WIDTH
    return Tile(level, index, tile_width(level, index, size))


def _hash_in(row: bytes, subtree: Subtree) -> bytes:
    above = subtree.level % TILE_HEIGHT
    begin = (subtree.index << above) % TILE_WIDTH * HASH_BYTES
    return perfect_root(row[begin : begin + (HASH_BYTES << above)])


def _damaged(head: TreeHead) -> TileRefused:
    return TileRefused(f"the stored tiles do not give the root of {head.size} entries", finding="tlog.tile.damaged")
