# SPDX-License-Identifier: Apache-2.0
"""
The Merkle tree of RFC 6962 §2.1 over SHA-256: hashes, roots, and the proofs that an outsider verifies.

What makes proofs works on the tree's definition (it splits ranges of leaves); what verifies them follows the
algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2. The two share nothing but the hash of a node.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from itertools import islice

from birthmark.tlog.errors import LogRefused, LogRequestError, ProofRefused

HASH_BYTES = 32
SIZE_MAX = 2**63 - 1
EMPTY_ROOT = sha256(b"").digest()

_LEAF = b"\x00"
_NODE = b"\x01"
_BATCH_LEVEL = 8
_BATCH = 1 << _BATCH_LEVEL


@dataclass(frozen=True, slots=True)
class TreeHead:
    """How many entries a log has, and the root hash over all of them."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Subtree:
    """A node over a full power of two of leaves: those from index * 2**level on, 2**level of them."""

    level: int
    index: int


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node from those of its two children."""
    return sha256(_NODE + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over subtrees that shrink from left to right, as at the right edge of a tree."""
    return reduce(lambda right, left: node_hash(left, right), reversed(hashes)) if hashes else EMPTY_ROOT


def row_above(row: bytes) -> bytes:
    """Return the hashes of the nodes above a row of hashes, side by side. A hash without a sibling is left out."""
    pairs = range(0, len(row) - 2 * HASH_BYTES + 1, 2 * HASH_BYTES)
    return b"".join([sha256(_NODE + row[at : at + 2 * HASH_BYTES]).digest() for at in pairs])


def perfect_root(row: bytes) -> bytes:
    """Return the hash over a row of 2**n hashes."""
    while len(row) > HASH_BYTES:
        row = row_above(row)
    return row


def peaks(start: int, end: int) -> tuple[Subtree, ...]:
    """Return the subtrees of leaves [start, end), shrinking from left to right. `start` is where a larger one could."""
    found = []
    while start < end:
        level = (end - start).bit_length() - 1
        found.append(Subtree(level, start >> level))
        start += 1 << level
    return tuple(found)


# --- making proofs ---------------------------------------------------------------------------------------------


def inclusion_path(index: int, size: int) -> tuple[tuple[Subtree, ...], ...]:
    """
    Return what the proof that leaf `index` is in a tree of `size` is made of: `fold` the hashes of each group.

    RFC 6962 §2.1.1, from the leaf's sibling up. Raises LogRequestError when the tree has no such leaf.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise LogRequestError(f"a log of {size} entries has none at index {index}")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(peaks(middle, end))
            end = middle
        else:
            path.append(peaks(start, middle))
            start = middle
    return tuple(reversed(path))


def consistency_path(old_size: int, new_size: int) -> tuple[tuple[Subtree, ...], ...]:
    """
    Return what the proof that a tree of `old_size` begins the tree of `new_size` is made of: `fold` each group.

    RFC 6962 §2.1.2; nothing for an empty old tree, and for the same size. Raises LogRequestError for an old tree that
    is the larger one.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise LogRequestError(f"a log of {new_size} entries does not grow out of one of {old_size}")
    start, end, path = 0, new_size, []
    while 0 < old_size < end:
        middle = start + _split(end - start)
        if old_size <= middle:
            path.append(peaks(middle, end))
            end = middle
        else:
            path.append(peaks(start, middle))
            start = middle
    if start > 0:
        path.append(peaks(start, end))
    return tuple(reversed(path))


def _split(width: int) -> int:
    return 1 << ((width - 1).bit_length() - 1)


# --- verifying proofs ------------------------------------------------------------------------------------------


def verify_inclusion(leaf: bytes, index: int, proof: Sequence[bytes], head: TreeHead) -> None:
    """
    Pass when the leaf hash `leaf` stands at `index` in the tree (RFC 9162 §2.1.3.2).

    Raises:
        ProofRefused: the proof is too long, too short or of something else.

    """
    if not 0 <= index < head.size <= SIZE_MAX:
        raise ProofRefused(f"a log of {head.size} entries has none at index {index}")
    _only_hashes((leaf, head.root, *proof))
    place, last, found = index, head.size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofRefused(f"the inclusion proof of index {index} goes on behind the root")
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            place, last = _skip_missing(place, last)
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    if last != 0 or found != head.root:
        raise ProofRefused(f"the inclusion proof of index {index} does not lead to the root of {head.size} entries")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """
    Pass when the entries of the old tree are the first ones of the new tree, none altered (RFC 9162 §2.1.4.2).

    An empty old tree begins every tree; its root must still be the one of an empty tree.

    Raises:
        ProofRefused: the proof is too long, too short or of something else, or the old tree is the larger one.

    """
    if not 0 <= old.size <= new.size <= SIZE_MAX:
        raise ProofRefused(f"a log of {new.size} entries does not grow out of one of {old.size}")
    _only_hashes((old.root, new.root, *proof))
    if old.size in {0, new.size}:
        expected = EMPTY_ROOT if old.size == 0 else new.root
        if proof or old.root != expected or (new.size == 0 and new.root != EMPTY_ROOT):
            raise ProofRefused(f"the log of {new.size} entries is not the one of {old.size} entries")
        return
    if _consistent_roots(old, new, proof) != (old.root, new.root):
        raise ProofRefused(f"the log of {new.size} entries does not begin with the {old.size} entries of the old one")


def _consistent_roots(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Return both roots as the proof has them; None when the proof has not the length that the sizes demand."""
    place, last = old.size - 1, new.size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    hashes = list(proof) if place else [old.root, *proof]
    if not hashes:
        return None
    old_root = new_root = hashes[0]
    for each in hashes[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old_root, new_root = node_hash(each, old_root), node_hash(each, new_root)
            place, last = _skip_missing(place, last)
        else:
            new_root = node_hash(new_root, each)
        place, last = place >> 1, last >> 1
    return (old_root, new_root) if last == 0 else None


def _skip_missing(place: int, last: int) -> tuple[int, int]:
    """Step over the levels at which a node on the right edge has no sibling."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _only_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofRefused(f"a hash is not {HASH_BYTES} bytes long")


# --- whole logs ------------------------------------------------------------------------------------------------


class CompactRange:
    """
    The hash of a log while it is read from its first entry on, in memory that grows with the logarithm of its size.

    Holds one hash for each 1 in the binary form of the size, the largest subtree first.
    """

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        self._push(leaf, 0)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add the hashes of the next leaves."""
        if len(leaves) == _BATCH and self.size % _BATCH == 0:
            self._push(perfect_root(b"".join(leaves)), _BATCH_LEVEL)
            return
        for leaf in leaves:
            self._push(leaf, 0)

    def head(self) -> TreeHead:
        """Return the tree head of what was added so far."""
        return TreeHead(self.size, fold(self._peaks))

    def _push(self, hashed: bytes, level: int) -> None:
        above = self.size >> level
        while above & 1:
            hashed = node_hash(self._peaks.pop(), hashed)
            above >>= 1
        self._peaks.append(hashed)
        self.size += 1 << level


def verify_stream(entries: Iterable[bytes], head: TreeHead) -> None:
    """
    Pass when these entries, in this order, are all the entries of the log that the tree head commits to.

    Memory does not grow with the log. At most 255 entries past the head's size are read before that is noticed.

    Raises:
        LogRefused: an entry is altered, missing, added or moved. `tlog.entries.count` when their number differs.

    """
    compact = CompactRange()
    rest = iter(entries)
    while leaves := [sha256(_LEAF + entry).digest() for entry in islice(rest, _BATCH)]:
        compact.extend(leaves)
        if compact.size > head.size:
            raise LogRefused(f"there are more entries than the {head.size} of the log", finding="tlog.entries.count")
    if compact.size < head.size:
        told = f"there are {compact.size} entries, the log has {head.size}"
        raise LogRefused(told, finding="tlog.entries.count")
    if compact.head() != head:
        raise LogRefused(f"the {head.size} entries do not give the root of the log", finding="tlog.entries.root")
