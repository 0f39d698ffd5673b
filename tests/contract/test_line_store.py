# SPDX-License-Identifier: Apache-2.0
"""What the line demands of its store (line.ports.LineStore), asked of the SQLite one."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.core.delivery import JournalEntry, SignedBirth
from birthmark.core.errors import StoreError
from birthmark.line.ports import LineStore
from birthmark.stores import line_sqlite
from birthmark.stores.line_sqlite import LineSQLite

DESTINATIONS = ("ca", "mes-file")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rig-a.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(path) as store:
        yield store


def birth(number: int) -> SignedBirth:
    return SignedBirth(f"{number:064x}", f"BM-{number:06d}", f"jws-{number}")


def entry(unit: str, step: str = "generate") -> JournalEntry:
    return JournalEntry("2026-05-04T12:00:00.000+00:00", "run-1", 1, unit, "begin", step)


def test_the_journal_returns_what_was_appended_in_its_order(store: LineSQLite) -> None:
    entries = [entry("BM-000001", step) for step in ("observe", "generate", "attest")]
    store.journal(entries[:1])
    store.journal([*entries[1:], entry("BM-000002")])
    assert store.entries("BM-000001") == tuple(entries)


def test_births_wait_for_every_destination_in_the_order_of_their_commit(store: LineSQLite) -> None:
    for number in (3, 1, 2):
        store.commit_birth(birth(number), DESTINATIONS, [])
    for destination in DESTINATIONS:
        seen = []
        while parcel := store.next_parcel(destination):
            seen.append(parcel.birth)
            store.delivered(parcel)
        assert seen == [birth(3), birth(1), birth(2)]
    assert store.waiting() == 0


def test_the_same_birth_twice_is_one_birth_and_one_parcel_each(store: LineSQLite) -> None:
    store.commit_birth(birth(1), DESTINATIONS, [])
    store.commit_birth(birth(1), DESTINATIONS, [])
    assert store.births() == (birth(1),)
    assert store.waiting() == len(DESTINATIONS)


def test_a_birth_is_found_by_its_key(store: LineSQLite) -> None:
    store.commit_birth(birth(1), (), [])
    assert store.birth(birth(1).key) == birth(1)
    assert store.birth(birth(2).key) is None


def test_a_deferred_parcel_stays_first_and_counts_its_attempts(store: LineSQLite) -> None:
    store.commit_birth(birth(1), ("ca",), [])
    store.commit_birth(birth(2), ("ca",), [])
    for attempts in range(3):
        parcel = store.next_parcel("ca")
        assert parcel is not None
        assert (parcel.birth, parcel.attempts) == (birth(1), attempts)
        store.deferred(parcel, "away")


def test_a_parked_parcel_lets_the_next_one_pass_until_it_is_unparked(store: LineSQLite) -> None:
    store.commit_birth(birth(1), ("ca",), [])
    store.commit_birth(birth(2), ("ca",), [])
    poison = store.next_parcel("ca")
    assert poison is not None
    store.parked(poison, "birth.signature")
    following = store.next_parcel("ca")
    assert following is not None
    assert following.birth == birth(2)
    assert (store.waiting(), store.parked_count()) == (1, 1)
    assert store.unpark("ca") == 1
    again = store.next_parcel("ca")
    assert again is not None
    assert again.birth == birth(1)


def test_what_was_committed_is_there_when_the_file_is_opened_again(path: Path) -> None:
    with LineSQLite(path) as store:
        store.commit_birth(birth(1), DESTINATIONS, [entry("BM-000001", "record")])
    with LineSQLite(path) as store:
        assert store.births() == (birth(1),)
        assert store.entries("BM-000001") == (entry("BM-000001", "record"),)
        assert store.waiting() == len(DESTINATIONS)


def test_a_killed_writer_leaves_whole_births_only(path: Path) -> None:
    program = """
import sys
from pathlib import Path
from birthmark.core.delivery import JournalEntry, SignedBirth
from birthmark.stores.line_sqlite import LineSQLite
store = LineSQLite(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    unit = f"BM-{number:06d}"
    entry = JournalEntry("2026-05-04T12:00:00Z", "run", 1, unit, "verdict", verdict="PASS")
    store.commit_birth(SignedBirth(f"{number:064x}", unit, "jws"), ("ca", "mes-file"), [entry])
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.kill()
    with LineSQLite(path) as store:
        born = store.births()
        assert len(born) >= reported
        assert store.waiting() == 2 * len(born)
        for each in born:
            assert [made.verdict for made in store.entries(each.unit)] == ["PASS"]


def test_many_threads_may_write_at_once(store: LineSQLite) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 10):
            store.commit_birth(birth(number), ("ca",), [entry(f"BM-{number:06d}")])

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {made.key for made in store.births()} == {birth(number).key for number in range(80)}
    assert store.waiting() == 80


def test_a_full_disk_refuses_the_birth_with_all_that_belongs_to_it(store: LineSQLite) -> None:
    (pages,) = store._file.read("pragma page_count")[0]
    store._file.read(f"pragma max_page_count = {pages}")
    large = SignedBirth("f" * 64, "BM-000009", "x" * 100_000)
    with pytest.raises(StoreError) as caught:
        store.commit_birth(large, DESTINATIONS, [entry("BM-000009")])
    assert caught.value.finding == "store.full"
    assert (store.births(), store.waiting(), store.entries("BM-000009")) == ((), 0, ())


def test_a_disk_that_is_nearly_full_is_known_before_anything_is_issued(
    store: LineSQLite, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.require_room()
    there = os.statvfs(tmp_path)
    monkeypatch.setattr(line_sqlite, "RESERVE_BYTES", there.f_frsize * (there.f_blocks + 1))
    with pytest.raises(StoreError, match="KiB left") as caught:
        store.require_room()
    assert caught.value.finding == "store.full"


def test_a_file_of_another_release_is_refused(path: Path) -> None:
    LineSQLite(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(StoreError) as caught:
        LineSQLite(path)
    assert caught.value.finding == "store.version"


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"births\n" * 1000)
    with pytest.raises(StoreError):
        LineSQLite(path)


def test_the_store_is_what_the_line_asks_for(store: LineSQLite) -> None:
    asked: LineStore = store
    assert asked.waiting() == 0
