# SPDX-License-Identifier: Apache-2.0
"""Tiles: their names, their bytes, growing by them, and proofs out of them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.tlog.errors import LogRequestError, TileRefused
from birthmark.tlog.growth import Edge
from birthmark.tlog.reading import prove_consistency, prove_inclusion, read_head
from birthmark.tlog.tiles import (
    ENTRY_MAX_BYTES,
    TILE_LEVELS,
    EntryBundle,
    Tile,
    decode_bundle,
    edge_tiles,
    encode_bundle,
    read_path,
    tile_width,
)
from birthmark.tlog.tree import SIZE_MAX, CompactRange, TreeHead, leaf_hash, verify_consistency, verify_inclusion
from support import logs
from support.damage import damaged

WIDTHS = st.integers(1, 256)
INDICES = st.integers(0, 2**60)


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "path"),
    [
        # The index is the example of C2SP tlog-tiles.
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(63, 0), "tile/63/000"),
        (Tile(1, 999, 255), "tile/1/999.p/255"),
        (Tile(2, 1000, 1), "tile/2/x001/000.p/1"),
        (EntryBundle(1234067), "tile/entries/x001/x234/067"),
        (EntryBundle(0, 7), "tile/entries/000.p/7"),
    ],
)
def test_a_name_is_the_one_that_c2sp_gives(named: Tile | EntryBundle, path: str) -> None:
    assert named.path == path
    assert read_path(path) == named


@given(st.builds(Tile, st.integers(0, 63), INDICES, WIDTHS) | st.builds(EntryBundle, INDICES, WIDTHS))
def test_every_name_is_read_back(named: Tile | EntryBundle) -> None:
    assert read_path(named.path) == named


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "/tile/0/000",
            "tile/0/000/",
            "tile/0/000\n",
            "tile/0/000.p/1\n",
            "tile/0/00",
        ),
        *(
            "tile/00/000",
            "tile/64/000",
            "tile/-1/000",
            "tile/100/000",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/002",
        ),
        *("tile/0/x001", "tile/0/x001/x002", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/"),
        *(
            "tile/0/\u0660\u0660\u0660",
            "tile/data/000",
            "tile/entries/x000/000",
            "tile/8/0/000",
            "tile/0/" + "x001/" * 20 + "001",
        ),
    ],
)
def test_every_other_name_is_refused(path: str) -> None:
    with pytest.raises(DecodeError):
        read_path(path)


@given(damaged(b"tile/2/x001/x234/067.p/12"))
def test_a_damaged_name_is_refused_or_another_right_one(path: bytes) -> None:
    text = path.decode("latin-1")
    try:
        found = read_path(text)
    except DecodeError:
        return
    assert found.path == text


# --- bundles ----------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=256))
def test_a_bundle_is_read_back(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data, EntryBundle(0, len(entries))) == tuple(entries)
    for wrong in (data + b"\x00", data[:-1]):
        with pytest.raises(DecodeError):
            decode_bundle(wrong, EntryBundle(0, len(entries)))


def test_a_bundle_has_the_bytes_of_c2sp() -> None:
    assert encode_bundle([b"ab", b"", b"c" * 256]) == b"\x00\x02ab" + b"\x00\x00" + b"\x01\x00" + b"c" * 256


def test_an_entry_longer_than_16_bits_can_say_is_refused() -> None:
    assert len(encode_bundle([bytes(ENTRY_MAX_BYTES)])) == 2 + ENTRY_MAX_BYTES
    with pytest.raises(LogRequestError) as refused:
        encode_bundle([bytes(ENTRY_MAX_BYTES + 1)])
    assert refused.value.finding == "tlog.entry-size"


# --- which tiles a log has --------------------------------------------------------------------------------------


def test_a_log_of_70000_has_the_tiles_that_c2sp_counts() -> None:
    # C2SP tlog-tiles, Partial Tiles: 273 full and one of 112 at level 0, one full and one of 17 at level 1, one of 1.
    assert edge_tiles(70_000) == (Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1))
    assert [tile_width(0, index, 70_000) for index in (0, 272, 273, 274)] == [256, 256, 112, 0]
    assert edge_tiles(256) == (Tile(1, 0, 1),)
    assert edge_tiles(0) == ()
    assert len(edge_tiles(SIZE_MAX)) == TILE_LEVELS


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 511, 512, 70_000])
def test_a_log_stores_every_tile_that_c2sp_demands_and_no_other(size: int) -> None:
    log = logs.log_of(size)
    widths = {place: len(data) // 32 for place, data in log.shelf.rows.items()}
    wanted = {(level, index): tile_width(level, index, size) for level in range(4) for index in range(300)}
    assert widths == {place: width for place, width in wanted.items() if width}
    for (level, index), data in log.shelf.rows.items():
        if level:
            span = 256**level
            first = index * 256 * span
            assert data[:32] == logs.mth(first, first + span)
        else:
            assert data[:32] == leaf_hash(logs.entry(index * 256))


# --- growing ----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 600), max_size=5))
def test_a_log_is_the_same_however_it_grew(batches: list[int]) -> None:
    grown = logs.MemoryLog()
    for batch in batches:
        grown.append([logs.entry(len(grown.entries) + n) for n in range(batch)])
        assert grown.edge.head() == read_head(grown.shelf, grown.edge.size)
    at_once = logs.log_of(sum(batches))
    assert grown.shelf.rows == at_once.shelf.rows
    assert grown.edge == at_once.edge == Edge.read(grown.shelf, grown.edge.size)
    assert grown.edge.head() == TreeHead(sum(batches), logs.mth(0, sum(batches)))


@given(st.integers(0, 600), st.integers(0, 600))
def test_growing_again_after_a_crash_gives_the_same_tiles(size: int, more: int) -> None:
    log = logs.log_of(size)
    leaves = [leaf_hash(logs.entry(size + n)) for n in range(more)]
    first = log.edge.grow(leaves)
    log.shelf.put(first.tiles)
    again = Edge.read(log.shelf, size).grow(leaves)
    assert again == first
    assert log.edge.size == size


def test_growing_stores_only_what_is_new() -> None:
    log = logs.log_of(70_000)
    growth = log.edge.grow([leaf_hash(b"one more")])
    assert [each.tile for each in growth.tiles] == [Tile(0, 273, 113)]
    growth = log.edge.grow([leaf_hash(b"many more")] * 150)
    assert [each.tile for each in growth.tiles] == [Tile(0, 273), Tile(0, 274, 6), Tile(1, 1, 18)]
    assert log.edge.grow([]).tiles == ()


def test_what_is_no_leaf_and_what_is_too_much_does_not_grow() -> None:
    with pytest.raises(LogRequestError):
        Edge().grow([b"short"])
    with pytest.raises(LogRequestError):
        Edge(SIZE_MAX).grow([bytes(32)])


# --- proofs out of tiles ----------------------------------------------------------------------------------------


@given(st.integers(1, 700), st.data())
def test_a_proof_out_of_tiles_is_the_one_of_rfc_6962(size: int, data: st.DataObject) -> None:
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    later = data.draw(st.integers(0, 300))
    log = logs.log_of(size + later)
    head, old_head = TreeHead(size, logs.mth(0, size)), TreeHead(old, logs.mth(0, old))
    assert list(prove_inclusion(log.shelf, index, head)) == logs.audit_path(index, 0, size)
    assert list(prove_consistency(log.shelf, old_head, head)) == logs.consistency(old, size)
    assert read_head(log.shelf, size) == head


def test_every_proof_of_a_log_with_three_levels_of_tiles_verifies() -> None:
    size = 66_000
    log = logs.log_of(size)
    head = log.edge.head()
    compact = CompactRange()
    compact.extend([leaf_hash(each) for each in log.entries])
    assert head == compact.head()
    for index in (0, 255, 256, 65_535, 65_536, 65_792, size - 1):
        proof = prove_inclusion(log.shelf, index, head)
        verify_inclusion(leaf_hash(log.entries[index]), index, proof, head)
        assert list(proof) == logs.audit_path(index, 0, size)
    for old_size in (1, 256, 65_535, 65_536, 65_537, size):
        old = read_head(log.shelf, old_size)
        verify_consistency(old, head, prove_consistency(log.shelf, old, head))


@given(st.integers(0, 65_999))
def test_a_proof_reads_a_few_tiles_in_one_call(index: int) -> None:
    log = LARGE
    log.shelf.reads.clear()
    prove_inclusion(log.shelf, index, log.edge.head())
    (asked,) = log.shelf.reads
    assert len(asked) == len(set(asked)) <= 5


LARGE = logs.log_of(66_000)


def proof_or_finding(log: logs.MemoryLog, index: int, head: TreeHead) -> tuple[bytes, ...] | str:
    try:
        return prove_inclusion(log.shelf, index, head)
    except TileRefused as refused:
        return refused.finding


@pytest.mark.parametrize("index", [0, 300, 599])
def test_every_byte_of_a_tile_that_a_proof_uses_is_watched_over(index: int) -> None:
    log = logs.log_of(600)
    head = log.edge.head()
    used = prove_inclusion(log.shelf, index, head)
    for place, data in list(log.shelf.rows.items()):
        for at in range(0, len(data), 7):
            log.shelf.rows[place] = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            assert proof_or_finding(log, index, head) in (used, "tlog.tile.damaged")
        log.shelf.rows[place] = data


def test_a_past_that_was_rewritten_is_not_proven() -> None:
    log, old = logs.log_of(600), TreeHead(300, leaf_hash(b"another past"))
    with pytest.raises(TileRefused) as refused:
        prove_consistency(log.shelf, old, log.edge.head())
    assert refused.value.finding == "tlog.tile.damaged"


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"", "tlog.tile.length"),
        (bytes(32 * 87), "tlog.tile.length"),
        (bytes(32 * 88 + 1), "tlog.tile.length"),
        (bytes(32 * 257), "tlog.tile.length"),
        (bytes(32 * 88), "tlog.tile.damaged"),
    ],
)
def test_a_tile_that_is_short_or_long_or_of_another_log_is_refused(data: bytes, finding: str) -> None:
    log = logs.log_of(600)
    log.shelf.rows[0, 2] = data
    with pytest.raises(TileRefused) as refused:
        prove_inclusion(log.shelf, 599, log.edge.head())
    assert refused.value.finding == finding
    assert re.search(r"tile|600", refused.value.message)


def test_a_tile_that_is_missing_is_refused() -> None:
    log = logs.log_of(600)
    del log.shelf.rows[0, 1]
    with pytest.raises(TileRefused) as refused:
        prove_inclusion(log.shelf, 300, log.edge.head())
    assert refused.value.finding == "tlog.tile.missing"


def test_a_reader_that_answers_less_than_it_was_asked_is_refused() -> None:
    class Lossy(logs.TileShelf):
        def read_tiles(self, tiles: list[Tile]) -> list[bytes]:  # type: ignore[override]  # a list is enough here
            return list(super().read_tiles(tiles))[:-1]

    log = logs.log_of(600)
    with pytest.raises(TileRefused) as refused:
        read_head(Lossy(log.shelf.rows), 600)
    assert refused.value.finding == "tlog.tile.missing"
