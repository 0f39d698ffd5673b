# SPDX-License-Identifier: Apache-2.0
"""
Tiles and entry bundles of a log: their names and their bytes (C2SP tlog-tiles).

A tile holds up to 256 hashes side by side; those at level 0 are leaf hashes, and each hash at level n + 1 is the root
of a full tile at level n. An entry bundle holds the entries of one tile at level 0.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from birthmark.core.errors import DecodeError
from birthmark.core.reader import ByteReader
from birthmark.tlog.errors import LogRequestError, TileRefused
from birthmark.tlog.tree import HASH_BYTES, SIZE_MAX

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_MAX_BYTES = TILE_WIDTH * HASH_BYTES
TILE_MAX_LEVEL = 63
TILE_LEVELS = -(-SIZE_MAX.bit_length() // TILE_HEIGHT)
ENTRY_MAX_BYTES = 2**16 - 1
BUNDLE_MAX_BYTES = TILE_WIDTH * (2 + ENTRY_MAX_BYTES)

_PATH_MAX_CHARACTERS = 64
_PATH = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?|entries)"
    r"/(?P<index>(?:x[0-9]{3}/)*[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A tile by its place. A width below 256 makes it a partial one: what the log had there at some size."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where the tile is served, under the prefix of the log."""
        return f"tile/{self.level}/{_index_path(self.index, self.width)}"


@dataclass(frozen=True, slots=True, order=True)
class EntryBundle:
    """An entry bundle by its place: the entries of the tile (0, index, width)."""

    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where the bundle is served, under the prefix of the log."""
        return f"tile/entries/{_index_path(self.index, self.width)}"


class TileReader(Protocol):
    """What stores the tiles of a log."""

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        """
        Return the bytes of every tile, in the order asked.

        A tile that has grown since may come in any greater width: its front is the tile that was asked for. So a
        store may keep one row for (level, index). A tile that is not there raises TileRefused with the finding
        `tlog.tile.missing`.
        """
        ...


def read_path(path: str) -> Tile | EntryBundle:
    """Return what a path names. Raises DecodeError for every path that `path` of a tile or bundle does not give."""
    match = _PATH.fullmatch(path) if len(path) <= _PATH_MAX_CHARACTERS else None
    if match is None:
        raise DecodeError("the path names neither a tile nor an entry bundle")
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"] or TILE_WIDTH)
    found = EntryBundle(index, width) if match["level"] == "entries" else Tile(int(match["level"]), index, width)
    if found.path != path or (isinstance(found, Tile) and found.level > TILE_MAX_LEVEL):
        raise DecodeError("the path is not the one right name of a tile")
    return found


def _index_path(index: int, width: int) -> str:
    digits = f"{index:03d}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]]) + partial


def tile_width(level: int, index: int, size: int) -> int:
    """Return how many hashes the tile has in a log of so many entries; 0 when it does not exist yet."""
    return min(TILE_WIDTH, max(0, (size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH))


def edge_tiles(size: int) -> tuple[Tile, ...]:
    """Return the partial tiles of a log of so many entries, lowest level first."""
    rows = [(level, size >> (TILE_HEIGHT * level)) for level in range(TILE_LEVELS)]
    return tuple(Tile(level, row // TILE_WIDTH, row % TILE_WIDTH) for level, row in rows if row % TILE_WIDTH)


def read_row(reader: TileReader, tiles: Sequence[Tile]) -> dict[Tile, bytes]:
    """
    Return the hashes of every tile, exactly as many as its width.

    Raises:
        TileRefused: the store has none, too few or too many bytes, or a part of a hash.

    """
    found = reader.read_tiles(tiles)
    if len(found) != len(tiles):
        raise TileRefused(f"{len(tiles)} tiles were asked for, {len(found)} came", finding="tlog.tile.missing")
    for tile, data in zip(tiles, found, strict=True):
        if len(data) % HASH_BYTES or not tile.width * HASH_BYTES <= len(data) <= TILE_MAX_BYTES:
            raise TileRefused(f"{tile.path} has {len(data)} bytes", finding="tlog.tile.length")
    return {tile: data[: tile.width * HASH_BYTES] for tile, data in zip(tiles, found, strict=True)}


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Return the entries behind their 16-bit lengths. Raises LogRequestError for an entry that is too long."""
    encoded = bytearray()
    for entry in entries:
        check_entry(entry)
        encoded += len(entry).to_bytes(2, "big") + entry
    return bytes(encoded)


def decode_bundle(data: bytes, bundle: EntryBundle) -> tuple[bytes, ...]:
    """Return the entries of the bundle, as many as its width says. Raises DecodeError for anything more or less."""
    if len(data) > BUNDLE_MAX_BYTES:
        raise DecodeError(f"{bundle.path} is longer than the {BUNDLE_MAX_BYTES} bytes that are read")
    with ByteReader(data, bundle.path) as reader:
        return tuple(reader.sized16() for _ in range(bundle.width))


def check_entry(entry: bytes) -> None:
    """Pass an entry that fits into an entry bundle. Raises LogRequestError with the finding `tlog.entry-size`."""
    if len(entry) > ENTRY_MAX_BYTES:
        told = f"an entry of {len(entry)} bytes, at most {ENTRY_MAX_BYTES} can be logged"
        raise LogRequestError(told, hint="log its digest", finding="tlog.entry-size")
