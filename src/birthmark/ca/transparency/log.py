# SPDX-License-Identifier: Apache-2.0
"""
The transparency log of the authority: every decision is an entry, committed with the act itself.

Entries are written by the acts. This module makes a log of them: tiles of hashes, and checkpoints that the log's key
has signed. It may run in several workers at the same time: the same entries give the same tiles, and the first
checkpoint of a size stays.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from birthmark.ca.errors import NotNow
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.pki.errors import PKIError
from birthmark.tlog.bundle import ProofBundle, ProvenEntry, encode_bundle
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint, sign_checkpoint
from birthmark.tlog.errors import LogRefused, TileRefused
from birthmark.tlog.growth import Edge, Growth
from birthmark.tlog.keys import Signer
from birthmark.tlog.reading import prove_consistency, prove_inclusion
from birthmark.tlog.tiles import EntryBundle, Tile
from birthmark.tlog.tiles import encode_bundle as encode_entries
from birthmark.tlog.tree import TreeHead, leaf_hash

GROW_MAX_ENTRIES = 8_192
"""Entries that are taken into the log in one step."""
SIGNER_RETRY_S = 5


@dataclass(frozen=True, slots=True)
class StoredTiles:
    """The tiles of a ledger, as `tlog.tiles.TileReader` wants them; in place of some, what they are to become."""

    ledger: LedgerReader
    grown: Mapping[tuple[int, int], bytes] = field(default_factory=dict)

    def read_tiles(self, tiles: Sequence[Tile]) -> Sequence[bytes]:
        """Return the bytes of every tile, in the order asked. Raises TileRefused."""
        wanted = [(tile.level, tile.index) for tile in tiles]
        found = {**self.ledger.tiles([each for each in wanted if each not in self.grown]), **self.grown}
        try:
            return [found[each] for each in wanted]
        except KeyError as error:
            raise TileRefused(f"the ledger has no tile {error}") from error


class Log:
    """The log over one ledger. `signer.name` is its origin."""

    def __init__(self, store: CAStore, signer: Signer) -> None:
        self._store = store
        self._signer = signer
        self._keys = (signer.verifier,)

    @property
    def verifier(self) -> str:
        """The key that verifies the checkpoints, as auditors are given it: name+id+base64."""
        return self._signer.verifier.text

    def publish(self) -> int:
        """
        Take all entries into the log, sign its new checkpoint, and return its size.

        A history that does not go on from the last checkpoint is not signed for.

        Raises:
            NotNow: the log's key cannot sign now. TlogError: the ledger is not the one that was signed for before.
            StoreError: the ledger.

        """
        while True:
            with self._store.reading() as ledger:
                old = self._head(ledger)
                size = min(ledger.log_size(), old.size + GROW_MAX_ENTRIES)
                if size == old.size and ledger.checkpoint(size) is not None:
                    return size
                growth = _growth(ledger, old, size)
            head = growth.edge.head()
            # Signed while nobody waits for the ledger: the key may be in a token that is away.
            note = self._signed(head)
            with self._store.writing() as ledger:
                ledger.put_tiles({(each.tile.level, each.tile.index): each.data for each in growth.tiles})
                if old.size:
                    prove_consistency(StoredTiles(ledger), old, head)  # what is kept is what was signed for
                ledger.put_checkpoint(size, note)

    def checkpoint(self) -> str:
        """Return the latest checkpoint. Raises NotNow where there is none yet, StoreError."""
        with self._store.reading() as ledger:
            return self._latest(ledger)

    def tile(self, tile: Tile) -> bytes | None:
        """Return the bytes of a tile as wide as asked, or None. Raises StoreError."""
        with self._store.reading() as ledger, suppress(TileRefused):
            (data,) = StoredTiles(ledger).read_tiles([tile])
            wanted = tile.width * (len(leaf_hash(b"")))
            return data[:wanted] if len(data) >= wanted else None
        return None

    def bundle(self, bundle: EntryBundle, first: int) -> bytes | None:
        """Return the entries of a bundle that begins with number `first`, or None. Raises StoreError."""
        with self._store.reading() as ledger:
            if first + bundle.width > self._head(ledger).size:
                return None
            return encode_entries(ledger.entries(first, bundle.width))

    def prove_unit(self, unit_serial: str) -> bytes:
        """Return a proof bundle of every entry about a unit that the latest checkpoint covers. Raises NotNow."""
        with self._store.reading() as ledger:
            head = self._head(ledger)
            return self._proven(ledger, [each for each in ledger.entries_of_unit(unit_serial) if each[0] < head.size])

    def prove(self, numbers: Sequence[int]) -> bytes:
        """Return a proof bundle of the entries with these numbers. Raises NotNow, LogRequestError, StoreError."""
        with self._store.reading() as ledger:
            entries = [(number, entry) for number in sorted(set(numbers)) for entry in ledger.entries(number, 1)]
            return self._proven(ledger, entries)

    def _proven(self, ledger: LedgerReader, entries: Sequence[tuple[int, bytes]]) -> bytes:
        note, tiles = self._latest(ledger), StoredTiles(ledger)
        head = open_checkpoint(note.encode(), self._keys).head
        proven = (ProvenEntry(number, entry, prove_inclusion(tiles, number, head)) for number, entry in entries)
        return encode_bundle(ProofBundle(tuple(proven), note.encode()))

    def _latest(self, ledger: LedgerReader) -> str:
        note = ledger.checkpoint()
        if note is None:
            raise NotNow("ca.log.empty", "the log has no checkpoint yet", retry_after_s=SIGNER_RETRY_S)
        return note

    def _head(self, ledger: LedgerReader) -> TreeHead:
        """Return the head that was signed last, verified; that of an empty log where there is none."""
        note = ledger.checkpoint()
        return Edge().head() if note is None else open_checkpoint(note.encode(), self._keys).head

    def _signed(self, head: TreeHead) -> str:
        try:
            return sign_checkpoint(Checkpoint(self._signer.name, head), (self._signer,)).decode()
        except PKIError as error:
            raise NotNow("ca.log.signer", "the log's key cannot sign now", retry_after_s=SIGNER_RETRY_S) from error


def _growth(ledger: LedgerReader, old: TreeHead, size: int) -> Growth:
    """Return what the log grows by up to this size, seen to go on from the last checkpoint."""
    entries = ledger.entries(old.size, size - old.size)
    if len(entries) != size - old.size:
        raise LogRefused(f"of entries {old.size} to {size - 1} some are gone", finding="tlog.entries.count")
    growth = Edge.read(StoredTiles(ledger), old.size).grow([leaf_hash(entry) for entry in entries])
    if old.size:
        grown = {(each.tile.level, each.tile.index): each.data for each in growth.tiles}
        prove_consistency(StoredTiles(ledger, grown), old, growth.edge.head())
    return growth
