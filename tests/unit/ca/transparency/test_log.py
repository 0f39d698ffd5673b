# SPDX-License-Identifier: Apache-2.0
"""The authority's log: what was decided is in it, proven, and a history that was changed is not signed for."""

from pathlib import Path

import pytest

from birthmark.ca.transparency.log import GROW_MAX_ENTRIES, Log
from birthmark.core.audit import AuditRow, decode_row
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys import software
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.tlog.bundle import verify_bundle
from birthmark.tlog.checkpoint import open_checkpoint
from birthmark.tlog.errors import TlogError
from birthmark.tlog.keys import NotePrivateKey, Signer, read_verifier_key
from birthmark.tlog.tiles import EntryBundle, Tile, decode_bundle
from birthmark.tlog.tree import TreeHead, verify_stream
from support.ca_parts import NOW, UNIT, CAParts


@pytest.fixture
def parts(tmp_path: Path) -> CAParts:
    return CAParts(SQLiteCAStore(tmp_path / "ca.sqlite"))


@pytest.fixture
def log(parts: CAParts) -> Log:
    key = software.generate(KeyAlgorithm.ED25519)
    assert isinstance(key, NotePrivateKey)
    return Log(parts.store, Signer("example.com/ca", key))


def fill(parts: CAParts, count: int) -> None:
    with parts.store.writing() as ledger:
        ledger.append([AuditRow(at=NOW, who="test", act="test", detail=str(number)) for number in range(count)])


def test_a_checkpoint_covers_every_decision_so_far(parts: CAParts, log: Log) -> None:
    parts.confirmed(parts.board())
    size = log.publish()
    checkpoint = open_checkpoint(log.checkpoint().encode(), [read_verifier_key(log.verifier)])
    with parts.store.reading() as ledger:
        assert checkpoint.head.size == size == ledger.log_size()
        verify_stream(ledger.entries(0, size), checkpoint.head)


def test_everything_about_a_unit_is_proven_with_the_logs_key_alone(parts: CAParts, log: Log) -> None:
    parts.confirmed(parts.board())
    parts.confirmed(parts.board("BM-000002"))
    fill(parts, 300)
    log.publish()
    verified = verify_bundle(log.prove_unit(UNIT), [read_verifier_key(log.verifier)])
    acts = [decode_row(each.entry) for each in verified.entries]
    assert [row.act for row in acts] == ["enrol", "birth"]
    assert {row.unit_serial for row in acts} == {UNIT}


def test_publishing_again_changes_nothing(parts: CAParts, log: Log) -> None:
    fill(parts, 3)
    log.publish()
    first = log.checkpoint()
    log.publish()
    assert log.checkpoint() == first


def test_a_long_log_grows_in_steps_and_serves_its_tiles_and_bundles(parts: CAParts, log: Log) -> None:
    fill(parts, GROW_MAX_ENTRIES + 300)
    size = log.publish()
    with parts.store.reading() as ledger:
        entries = ledger.entries(0, size)
    full = EntryBundle(0)
    served = log.bundle(full, 0)
    assert served is not None
    assert decode_bundle(served, full) == entries[:256]
    assert len(log.tile(Tile(0, 0)) or b"") == 256 * 32
    assert len(log.tile(Tile(1, 0, 33)) or b"") == 33 * 32
    assert log.tile(Tile(1, 0)) is None
    assert log.bundle(EntryBundle(size // 256, 256), size // 256 * 256) is None


@pytest.mark.parametrize(
    "statement", ["UPDATE leaf SET entry = x'00' WHERE number = 1", "DELETE FROM leaf WHERE number = 1"]
)
def test_a_history_that_was_changed_before_it_was_published_shows_in_the_tree(
    parts: CAParts, log: Log, statement: str
) -> None:
    fill(parts, 5)
    log.publish()
    head = open_checkpoint(log.checkpoint().encode(), [read_verifier_key(log.verifier)]).head
    assert isinstance(parts.store, SQLiteCAStore)
    parts.store._file.write(statement)
    with parts.store.reading() as ledger, pytest.raises(TlogError):
        verify_stream(ledger.entries(0, head.size), head)


def test_tiles_that_were_changed_are_not_signed_for(parts: CAParts, log: Log) -> None:
    fill(parts, 5)
    log.publish()
    assert isinstance(parts.store, SQLiteCAStore)
    parts.store._file.write("UPDATE tile SET hashes = zeroblob(length(hashes))")
    fill(parts, 1)
    with pytest.raises(TlogError):
        log.publish()


def test_nobody_waits_for_the_ledger_while_the_logs_key_signs(
    parts: CAParts, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.born(parts.board())
    with parts.store.reading() as ledger:
        size = ledger.log_size()
    signed, other = log._signed, SQLiteCAStore(tmp_path / "ca.sqlite")

    def meanwhile(head: TreeHead) -> str:
        if head.size == size:
            with other.writing() as ledger:
                ledger.append([AuditRow(at=NOW, who="test", act="test")])
        return signed(head)

    monkeypatch.setattr(log, "_signed", meanwhile)
    assert log.publish() == size + 1
    other.close()
