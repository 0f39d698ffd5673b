# SPDX-License-Identifier: Apache-2.0
"""Hashes and proofs against the words of RFC 6962, and against what others published."""

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.tlog.errors import LogRefused, LogRequestError, ProofRefused
from birthmark.tlog.tree import (
    EMPTY_ROOT,
    SIZE_MAX,
    CompactRange,
    Subtree,
    TreeHead,
    consistency_path,
    fold,
    inclusion_path,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
    verify_stream,
)
from support import logs

VECTORS = Path(__file__).parents[2] / "vectors" / "tlog"
MERKLE: dict[str, Any] = json.loads((VECTORS / "merkle.json").read_text())
ARGON: dict[str, Any] = json.loads((VECTORS / "argon2020.json").read_text())
LEAVES = [bytes.fromhex(each) for each in MERKLE["leaves"]]
ROOTS = [bytes.fromhex(each) for each in MERKLE["roots"]]
SIZES = st.integers(1, 700)


def hexes(proof: Sequence[str]) -> list[bytes]:
    return [bytes.fromhex(each) for each in proof]


def b64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def made(path: Sequence[Sequence[Subtree]]) -> list[bytes]:
    """A proof out of the naive tree."""
    return [
        fold([logs.mth(each.index << each.level, (each.index + 1) << each.level) for each in part]) for part in path
    ]


def head(size: int) -> TreeHead:
    return TreeHead(size, logs.mth(0, size))


# --- published vectors ------------------------------------------------------------------------------------------


def test_the_empty_tree_has_the_root_of_rfc_6962() -> None:
    # RFC 6962 §2.1: MTH({}) = SHA-256()
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert CompactRange().head() == TreeHead(0, EMPTY_ROOT)


@pytest.mark.parametrize("size", range(1, 9))
def test_the_published_roots_are_ours(size: int) -> None:
    verify_stream(LEAVES[:size], TreeHead(size, ROOTS[size - 1]))


@pytest.mark.parametrize("vector", MERKLE["inclusion"], ids=str)
def test_the_published_inclusion_proofs_are_passed(vector: dict[str, Any]) -> None:
    index, size = vector["index"], vector["size"]
    verify_inclusion(leaf_hash(LEAVES[index]), index, hexes(vector["proof"]), TreeHead(size, ROOTS[size - 1]))


@pytest.mark.parametrize("vector", MERKLE["consistency"], ids=str)
def test_the_published_consistency_proofs_are_passed(vector: dict[str, Any]) -> None:
    old, new = (TreeHead(vector[side], ROOTS[vector[side] - 1]) for side in ("old", "new"))
    verify_consistency(old, new, hexes(vector["proof"]))


@pytest.mark.parametrize("vector", MERKLE["consistency"][1:], ids=str)
def test_the_published_consistency_proofs_are_refused_for_other_sizes(vector: dict[str, Any]) -> None:
    # corruptConsistencyProof beside the vectors: the roots are right, one of the sizes is not.
    old, new, proof = vector["old"], vector["new"], hexes(vector["proof"])
    for other in {(old - 1, new), (old + 1, new), (old ^ 2, new), (old, new * 2), (old, new // 2)}:
        with pytest.raises(ProofRefused):
            verify_consistency(TreeHead(other[0], ROOTS[old - 1]), TreeHead(other[1], ROOTS[new - 1]), proof)


def test_the_proofs_of_a_real_certificate_log_are_passed() -> None:
    log = TreeHead(ARGON["size"], b64(ARGON["root"]))
    verify_inclusion(leaf_hash(b64(ARGON["entry"])), ARGON["index"], [b64(each) for each in ARGON["proof"]], log)
    old = TreeHead(ARGON["old_size"], b64(ARGON["old_root"]))
    verify_consistency(old, log, [b64(each) for each in ARGON["consistency"]])


# --- against the naive tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(65))
def test_every_proof_in_every_small_log_is_the_one_of_rfc_6962(size: int) -> None:
    for index in range(size):
        proof = made(inclusion_path(index, size))
        assert proof == logs.audit_path(index, 0, size)
        verify_inclusion(leaf_hash(logs.entry(index)), index, proof, head(size))
    for old_size in range(size + 1):
        proof = made(consistency_path(old_size, size))
        assert proof == logs.consistency(old_size, size)
        verify_consistency(head(old_size), head(size), proof)


@given(SIZES, st.data())
def test_a_proof_in_a_log_of_hundreds_is_the_one_of_rfc_6962(size: int, data: st.DataObject) -> None:
    index, old_size = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    proof = made(inclusion_path(index, size))
    assert proof == logs.audit_path(index, 0, size)
    verify_inclusion(leaf_hash(logs.entry(index)), index, proof, head(size))
    proof = made(consistency_path(old_size, size))
    assert proof == logs.consistency(old_size, size)
    verify_consistency(head(old_size), head(size), proof)


def test_the_root_of_a_log_that_is_read_on_is_right_after_every_entry() -> None:
    compact = CompactRange()
    for size in range(700):
        assert compact.head() == head(size)
        compact.append(leaf_hash(logs.entry(size)))


@given(st.lists(st.integers(0, 300), max_size=5))
def test_the_root_does_not_depend_on_how_the_leaves_come(batches: list[int]) -> None:
    compact = CompactRange()
    for batch in batches:
        compact.extend([leaf_hash(logs.entry(compact.size + n)) for n in range(batch)])
    assert compact.head() == head(sum(batches))


@given(SIZES, st.data())
def test_a_proof_for_another_place_or_size_is_refused(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other_index, other_size = data.draw(st.integers(-1, size + 1)), data.draw(st.integers(-1, 2 * size))
    proof, leaf = logs.audit_path(index, 0, size), leaf_hash(logs.entry(index))
    if other_index != index:
        with pytest.raises(ProofRefused):
            verify_inclusion(leaf, other_index, proof, head(size))
    longer = len(logs.audit_path(index, 0, other_size)) if other_size > index else None
    if longer != len(proof):
        with pytest.raises(ProofRefused):
            verify_inclusion(leaf, index, proof, TreeHead(other_size, logs.mth(0, size)))


def changes(proof: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Every single-bit change, and a hash too few, too many, twice, too long or too short."""
    for at, hashed in enumerate(proof):
        for bit in range(256):
            flipped = (int.from_bytes(hashed, "big") ^ 1 << bit).to_bytes(32, "big")
            yield [*proof[:at], flipped, *proof[at + 1 :]]
        yield [*proof[:at], *proof[at + 1 :]]
        yield [*proof[:at], hashed, *proof[at:]]
        yield [*proof[:at], hashed + b"\x00", *proof[at + 1 :]]
        yield [*proof[:at], hashed[:-1], *proof[at + 1 :]]
    yield [*proof, EMPTY_ROOT]
    yield [EMPTY_ROOT, *proof]


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 8), (5, 8), (6, 7), (4, 5), (12, 13), (99, 100)])
def test_every_change_of_an_inclusion_proof_is_refused(index: int, size: int) -> None:
    leaf = leaf_hash(logs.entry(index))
    for changed in changes(logs.audit_path(index, 0, size)):
        with pytest.raises(ProofRefused):
            verify_inclusion(leaf, index, changed, head(size))


@pytest.mark.parametrize(("old", "new"), [(0, 5), (3, 3), (1, 2), (4, 7), (6, 8), (7, 13), (8, 16), (77, 100)])
def test_every_change_of_a_consistency_proof_is_refused(old: int, new: int) -> None:
    for changed in changes(logs.consistency(old, new)):
        with pytest.raises(ProofRefused):
            verify_consistency(head(old), head(new), changed)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TreeHead(0, EMPTY_ROOT), TreeHead(0, bytes(32))),
        (TreeHead(0, bytes(32)), TreeHead(0, bytes(32))),
        (TreeHead(0, bytes(32)), head(3)),
        (TreeHead(3, bytes(32)), head(3)),
        (head(3), head(2)),
        (TreeHead(-1, EMPTY_ROOT), head(2)),
        (head(3), TreeHead(SIZE_MAX + 1, bytes(32))),
        (head(2), head(3)),
        (TreeHead(3, b""), TreeHead(3, b"")),
    ],
)
def test_two_heads_that_nothing_can_join_are_refused(old: TreeHead, new: TreeHead) -> None:
    with pytest.raises(ProofRefused):
        verify_consistency(old, new, [])


def test_a_log_whose_past_was_rewritten_has_no_proof() -> None:
    rewritten = CompactRange()
    rewritten.extend([leaf_hash(b"another")] + [leaf_hash(logs.entry(index)) for index in range(1, 20)])
    for old_size in range(1, 20):
        with pytest.raises(ProofRefused):
            verify_consistency(head(old_size), rewritten.head(), logs.consistency(old_size, 20))


@pytest.mark.parametrize(
    ("path", "first", "size"),
    [(inclusion_path, 3, 3), (inclusion_path, -1, 3), (consistency_path, 4, 3), (consistency_path, -1, 3)],
)
def test_a_path_that_the_log_does_not_have_is_not_made(
    path: Callable[[int, int], object], first: int, size: int
) -> None:
    with pytest.raises(LogRequestError):
        path(first, size)


# --- whole logs -------------------------------------------------------------------------------------------------

WHOLE = [0, 1, 2, 255, 256, 257, 511, 512, 513, 700]


@pytest.mark.parametrize("size", WHOLE)
def test_a_whole_log_is_verified_as_it_streams_by(size: int) -> None:
    verify_stream((logs.entry(index) for index in range(size)), head(size))


@pytest.mark.parametrize("size", WHOLE)
def test_a_log_with_an_entry_more_or_less_is_refused_for_its_number(size: int) -> None:
    for given_size in {size + 1, max(size - 1, 0)} - {size}:
        with pytest.raises(LogRefused) as refused:
            verify_stream((logs.entry(index) for index in range(given_size)), head(size))
        assert refused.value.finding == "tlog.entries.count"


@given(st.integers(2, 700), st.data())
def test_a_log_with_an_entry_altered_or_moved_is_refused(size: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, size - 2))
    entries = [logs.entry(index) for index in range(size)]
    altered, moved = [*entries], [*entries]
    altered[at] += b" "
    moved[at], moved[at + 1] = moved[at + 1], moved[at]
    for each in (altered, moved):
        with pytest.raises(LogRefused) as refused:
            verify_stream(each, head(size))
        assert refused.value.finding == "tlog.entries.root"


def test_an_endless_log_is_not_read_to_its_end() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield logs.entry(read)

    with pytest.raises(LogRefused):
        verify_stream(endless(), head(3))
    assert read <= 3 + 255


def test_the_vectors_say_where_they_are_from() -> None:
    told = (VECTORS / "README.md").read_text()
    assert all(f"`{path.name}`" in told for path in VECTORS.glob("*.json"))
