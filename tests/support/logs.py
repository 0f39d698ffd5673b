# SPDX-License-Identifier: Apache-2.0
"""A naive Merkle tree as RFC 6962 §2.1 defines it, and a log in memory: tiles, entries, checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from birthmark.tlog.bundle import ProofBundle, ProvenEntry, encode_bundle
from birthmark.tlog.checkpoint import Checkpoint, sign_checkpoint
from birthmark.tlog.errors import TileRefused
from birthmark.tlog.growth import Edge, TileData
from birthmark.tlog.keys import Signer
from birthmark.tlog.reading import prove_inclusion
from birthmark.tlog.tiles import Tile
from birthmark.tlog.tree import leaf_hash

NAME = "ca.example/births"
ED25519_SIGNER = Signer(NAME, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
ECDSA_SIGNER = Signer(NAME, ec.derive_private_key(0xB0A2D, ec.SECP256R1()))
SIGNERS = [ED25519_SIGNER, ECDSA_SIGNER]


def entry(index: int) -> bytes:
    return b'{"event":"issued","number":%d}' % index


# --- RFC 6962 §2.1, word by word, over the entries [start, end) of the log above ---------------------------------


@cache
def mth(start: int, end: int) -> bytes:
    if end - start == 0:
        return sha256(b"").digest()
    if end - start == 1:
        return sha256(b"\x00" + entry(start)).digest()
    k = start + split(end - start)
    return sha256(b"\x01" + mth(start, k) + mth(k, end)).digest()


def audit_path(m: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    k = split(end - start)
    if m < k:
        return [*audit_path(m, start, start + k), mth(start + k, end)]
    return [*audit_path(m - k, start + k, end), mth(start, start + k)]


def consistency(m: int, n: int) -> list[bytes]:
    return [] if m == 0 else subproof(m, 0, n, whole=True)


def subproof(m: int, start: int, end: int, *, whole: bool) -> list[bytes]:
    if m == end - start:
        return [] if whole else [mth(start, end)]
    k = split(end - start)
    if m <= k:
        return [*subproof(m, start, start + k, whole=whole), mth(start + k, end)]
    return [*subproof(m - k, start + k, end, whole=False), mth(start, start + k)]


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


# --- a log in memory ------------------------------------------------------------------------------------------


@dataclass
class TileShelf:
    """Keeps one tile for each place, the widest that it was given, and counts what is read."""

    rows: dict[tuple[int, int], bytes] = field(default_factory=dict)
    reads: list[list[Tile]] = field(default_factory=list)

    def put(self, tiles: Sequence[TileData]) -> None:
        for each in tiles:
            place = each.tile.level, each.tile.index
            held = self.rows.get(place, b"")
            assert each.data[: len(held)] == held or held[: len(each.data)] == each.data, "a tile's front never changes"
            self.rows[place] = max(held, each.data, key=len)

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        self.reads.append(list(tiles))
        missing = [tile for tile in tiles if (tile.level, tile.index) not in self.rows]
        if missing:
            raise TileRefused(f"{missing[0].path} is not stored", finding="tlog.tile.missing")
        return [self.rows[tile.level, tile.index] for tile in tiles]


@dataclass
class MemoryLog:
    """A log that grows by batches, and gives what an auditor asks for."""

    edge: Edge = field(default_factory=Edge)
    shelf: TileShelf = field(default_factory=TileShelf)
    entries: list[bytes] = field(default_factory=list)

    def append(self, entries: Sequence[bytes]) -> None:
        growth = self.edge.grow([leaf_hash(each) for each in entries])
        self.shelf.put(growth.tiles)
        self.edge = growth.edge
        self.entries += entries

    def checkpoint(self, *signers: Signer) -> bytes:
        return sign_checkpoint(Checkpoint(NAME, self.edge.head()), signers or SIGNERS)

    def bundle(self, indices: Sequence[int], *signers: Signer) -> bytes:
        head = self.edge.head()
        proven = tuple(ProvenEntry(n, self.entries[n], prove_inclusion(self.shelf, n, head)) for n in indices)
        return encode_bundle(ProofBundle(proven, self.checkpoint(*signers)))


def log_of(size: int) -> MemoryLog:
    log = MemoryLog()
    log.append([entry(index) for index in range(size)])
    return log
