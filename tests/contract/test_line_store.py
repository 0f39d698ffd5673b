# SPDX-License-Identifier: Apache-2.0
"""What the line demands of its store (line.ports.LineStore), asked of the SQLite one."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.core.attempts import Attempt, OwedEnd
from birthmark.core.delivery import JournalEntry, Keep, SignedBirth, Wants
from birthmark.core.errors import StoreError
from birthmark.core.line_events import LineEvent, UnitBorn
from birthmark.core.work import WorkState
from birthmark.line.ports import LineStore
from birthmark.stores import line_sqlite
from birthmark.stores.line_schema import APPLICATION, MIGRATIONS
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.sqlite_file import SQLiteFile
from support.births import Births
from support.parcels import born, ended, started

ROUTES = {"ca": Wants.BIRTHS, "mes-file": Wants.EVERYTHING}
LATER = "2026-05-04T13:00:00.000+00:00"
BIRTHS = Births()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rig-a.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(path, ROUTES) as store:
        yield store


def unit(number: int) -> str:
    return f"BM-{number:06d}"


def birth(number: int) -> UnitBorn:
    return born(BIRTHS.of(unit(number)))


def entry(unit: str, step: str = "generate") -> JournalEntry:
    return JournalEntry("2026-05-04T12:00:00.000+00:00", "run-1", 1, unit, "begin", step)


def tell(store: LineSQLite, *events: LineEvent) -> None:
    for event in events:
        store.journal((), (event,))


def drained(store: LineSQLite, destination: str) -> list[LineEvent]:
    taken = []
    while parcels := store.parcels(destination, 2):
        taken += [parcel.event() for parcel in parcels]
        store.delivered(parcels)
    return taken


def keys(events: Sequence[LineEvent]) -> list[str]:
    return [event.idempotency_key for event in events]


def waiting(store: LineSQLite) -> dict[str, int]:
    return {each.destination: each.waiting for each in store.backlog()}


def test_the_journal_returns_what_was_appended_in_its_order(store: LineSQLite) -> None:
    entries = [entry("BM-000001", step) for step in ("observe", "generate", "attest")]
    store.journal(entries[:1])
    store.journal([*entries[1:], entry("BM-000002")])
    assert store.entries("BM-000001") == tuple(entries)


def test_events_wait_for_every_destination_that_wants_them_in_the_order_of_their_commit(store: LineSQLite) -> None:
    told = [started(unit(3)), birth(3), started(unit(1)), birth(1), birth(2)]
    tell(store, *told)
    assert waiting(store) == {"ca": 3, "mes-file": 5}
    assert keys(drained(store, "mes-file")) == keys(told)
    assert keys(drained(store, "ca")) == keys([birth(3), birth(1), birth(2)])
    assert store.waiting() == 0


def test_every_event_has_the_next_number_of_the_journal(store: LineSQLite, path: Path) -> None:
    tell(store, started(unit(1)), started(unit(1)), started(unit(2)))
    with LineSQLite(path, ROUTES) as other:  # a person's command, beside the rig
        tell(other, started(unit(3)))
    tell(store, birth(4))
    events = [parcel.event() for parcel in store.told()]
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert len({event.journal for event in events}) == 1
    assert [parcel.sequence for parcel in store.told()] == [1, 2, 3, 4]


def test_a_new_database_is_another_journal(store: LineSQLite, tmp_path: Path) -> None:
    tell(store, birth(1))
    with LineSQLite(tmp_path / "new.sqlite", ROUTES) as new:
        tell(new, birth(1))
        assert new.told()[0].event().journal != store.told()[0].event().journal


def test_the_same_event_twice_is_one(store: LineSQLite) -> None:
    tell(store, birth(1), birth(1))
    assert len(store.told()) == 1
    assert waiting(store) == {"ca": 1, "mes-file": 1}


def test_an_event_is_found_by_its_key(store: LineSQLite) -> None:
    tell(store, birth(1))
    assert store.has(birth(1).idempotency_key)
    assert not store.has(birth(2).idempotency_key)


def test_a_deferred_parcel_stays_first_and_counts_its_attempts(store: LineSQLite) -> None:
    tell(store, birth(1), birth(2))
    for attempts in range(3):
        first, second = store.parcels("ca", 10)
        assert (first.key, first.attempts, second.attempts) == (birth(1).idempotency_key, attempts, 0)
        store.deferred(first, "away", LATER)
    (standing,) = (each for each in store.backlog() if each.destination == "ca")
    assert (standing.attempts, standing.reason, standing.pause_until) == (3, "away", LATER)
    store.delivered(store.parcels("ca", 1))
    (standing,) = (each for each in store.backlog() if each.destination == "ca")
    assert (standing.attempts, standing.reason, standing.pause_until) == (0, "", "")


def test_a_parked_parcel_lets_the_next_one_pass_until_it_is_let_go_again(store: LineSQLite) -> None:
    tell(store, birth(1), birth(2), birth(3))
    poison = store.parcels("ca", 1)[0]
    store.parked(poison, "birth.signature", LATER)
    following = store.parcels("ca", 1)
    assert following[0].key == birth(2).idempotency_key
    assert (waiting(store)["ca"], store.parked_count()) == (2, 1)
    store.delivered(following)
    assert store.unpark("ca") == 1
    assert keys(drained(store, "ca")) == keys([birth(1), birth(3)])
    assert waiting(store)["ca"] == 0


def test_a_parcel_that_a_person_parks_before_its_turn_goes_in_its_turn_when_let_go(store: LineSQLite) -> None:
    tell(store, birth(1), birth(2), birth(3))
    parcel = store.waiting_parcel("ca", 2)
    assert parcel is not None
    store.parked(parcel, "by ada", LATER)
    assert store.waiting_parcel("ca", 2) is None
    assert [each.parcel.sequence for each in store.aside()] == [2]
    assert store.unpark("ca", 3) == 0
    assert store.unpark("ca", 2) == 1
    assert keys(drained(store, "ca")) == keys([birth(1), birth(2), birth(3)])


def test_a_destination_that_is_new_gets_what_comes_from_then_on(store: LineSQLite, path: Path) -> None:
    tell(store, birth(1))
    with LineSQLite(path, {**ROUTES, "mes-webhook": Wants.EVERYTHING}) as wider:
        tell(wider, birth(2))
        assert keys(drained(wider, "mes-webhook")) == keys([birth(2)])


def test_a_destination_that_is_named_no_more_keeps_its_parcels_until_it_is_forgotten(
    store: LineSQLite, path: Path
) -> None:
    tell(store, birth(1), birth(2))
    store.parked(store.parcels("mes-file", 1)[0], "poison", LATER)
    store.close()
    with LineSQLite(path, {"ca": Wants.BIRTHS}) as narrower:
        mes = narrower.backlog()[1]
        assert (mes.destination, mes.waiting, mes.parked, mes.configured) == ("mes-file", 1, 1, False)
        assert narrower.forget("mes-file")
        assert not narrower.forget("mes-file")
        assert (waiting(narrower), narrower.aside()) == ({"ca": 2}, ())


def test_what_is_done_with_goes_and_what_is_not_stays(store: LineSQLite) -> None:
    tell(store, *map(birth, range(1, 7)), *(ended(f"end-{number}") for number in range(10)))
    drained(store, "mes-file")
    assert store.prune(Keep("9999", 100, "0000")) == 0  # the CA has nothing yet
    store.delivered(store.parcels("ca", 2))
    store.parked(store.parcels("ca", 1)[0], "poison", LATER)
    store.delivered(store.parcels("ca", 1))
    assert store.prune(Keep("0000", 100, "0000")) == 0  # young, and few
    assert store.prune(Keep("9999", 100, "0000")) == 3
    assert [parcel.sequence for parcel in store.told()][:4] == [3, 5, 6, 7]
    drained(store, "ca")
    assert store.prune(Keep("0000", 4, "0000")) == 8  # more than four newer ones are there
    assert [parcel.sequence for parcel in store.told()] == [3, 13, 14, 15, 16]
    assert store.unpark("ca") == 1
    assert keys(drained(store, "ca")) == keys([birth(3)])
    tell(store, birth(7))
    assert store.told()[-1].sequence == 17


def test_the_journal_keeps_what_is_young(store: LineSQLite) -> None:
    old = replace(entry(unit(1)), at="2026-01-01T00:00:00.000+00:00")
    store.journal([old, entry(unit(1))])
    assert store.prune(Keep("0000", 1, "2026-05-01T00:00:00+00:00")) == 1
    assert store.entries(unit(1)) == (entry(unit(1)),)


def test_a_file_does_not_grow_when_what_comes_and_what_goes_are_the_same(store: LineSQLite) -> None:
    sizes = []
    for panel in range(300):
        tell(store, *(ended(f"{panel}-{number}") for number in range(20)))
        drained(store, "mes-file")
        store.prune(Keep("0000", 200, "0000"))
        (size,) = store._file.read("pragma page_count")[0]
        sizes.append(size)
    assert max(sizes[100:]) <= max(sizes[:100])
    assert len(store.told()) == 200


def test_what_was_committed_is_there_when_the_file_is_opened_again(path: Path) -> None:
    with LineSQLite(path, ROUTES) as store:
        store.journal([entry(unit(1), "record")], [birth(1)])
    with LineSQLite(path, ROUTES) as store:
        assert keys([parcel.event() for parcel in store.told()]) == keys([birth(1)])
        assert store.entries(unit(1)) == (entry(unit(1), "record"),)
        assert waiting(store) == {"ca": 1, "mes-file": 1}


def test_a_killed_writer_leaves_whole_births_only(path: Path) -> None:
    program = """
import sys
from pathlib import Path
from birthmark.core.delivery import JournalEntry, Wants
from birthmark.core.line_events import UnitStarted
from birthmark.stores.line_sqlite import LineSQLite
store = LineSQLite(Path(sys.argv[1]), {"mes": Wants.EVERYTHING})
number = 0
while True:
    number += 1
    unit = f"BM-{number:06d}"
    entry = JournalEntry("2026-05-04T12:00:00Z", "run", 1, unit, "verdict", verdict="PASS")
    event = UnitStarted(idempotency_key=unit, rig="", run="", transaction="", at="", operator="", product="", order="",
                        unit=unit, position=1)
    store.journal([entry], [event])
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.kill()
    with LineSQLite(path) as store:
        told = store.told()
        assert len(told) >= reported
        assert [each.sequence for each in told] == list(range(1, len(told) + 1))
        assert store.waiting() == len(told)
        for each in told:
            assert [made.verdict for made in store.entries(each.unit)] == ["PASS"]


def test_many_threads_may_write_at_once(store: LineSQLite) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 10):
            store.journal([entry(unit(number))], [started(unit(number))])

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {made.unit for made in store.told()} == {unit(number) for number in range(80)}
    assert [made.sequence for made in store.told()] == list(range(1, 81))


def test_a_full_disk_refuses_the_event_with_all_that_belongs_to_it(store: LineSQLite) -> None:
    (pages,) = store._file.read("pragma page_count")[0]
    store._file.read(f"pragma max_page_count = {pages}")
    large = born(SignedBirth("f" * 64, unit(9), "x" * 100_000))
    with pytest.raises(StoreError) as caught:
        store.journal([entry(unit(9))], [large])
    assert caught.value.finding == "store.full"
    assert (store.told(), store.waiting(), store.entries(unit(9))) == ((), 0, ())
    store._file.read(f"pragma max_page_count = {2 * pages}")
    tell(store, birth(1))
    assert store.told()[0].sequence == 1


def test_the_decisions_that_were_told_and_how_far_are_one(store: LineSQLite) -> None:
    assert store.decisions_told() is None
    store.tell_decisions(7, (started(unit(1)),))
    assert (store.decisions_told(), len(store.told())) == (7, 1)


def test_a_file_of_the_first_version_gives_its_births_to_those_who_lack_them(path: Path) -> None:
    file = SQLiteFile(path, MIGRATIONS[:1], APPLICATION)
    for number in range(1, 5):
        made = BIRTHS.of(unit(number))
        file.write("insert into birth (key, unit, jws) values (?, ?, ?)", made.key, made.unit, made.jws)
    states = {"ca": "delivered delivered delivered delivered", "mes-file": "delivered parked waiting waiting"}
    for name, each in states.items():
        for number, state in enumerate(each.split(), 1):
            file.write("insert into outbox (destination, sequence, state) values (?, ?, ?)", name, number, state)
    file.write(
        "insert into journal (at, run, position, unit, event, step, verdict, finding, detail)"
        " values ('2026-05-04T12:00:00.000+00:00', 'run', 1, ?, 'verdict', '', 'PASS', '', '')",
        unit(1),
    )
    file.close()
    with LineSQLite(path, ROUTES) as store:
        assert store.has(birth(4).idempotency_key)
        assert waiting(store) == {"ca": 0, "mes-file": 2}
        assert keys(drained(store, "mes-file")) == keys([birth(3), birth(4)])
        store.unpark("mes-file")
        (again,) = drained(store, "mes-file")
        assert isinstance(again, UnitBorn)
        assert (again.unit, again.jws[:2]) == (unit(2), "ey")
        tell(store, birth(5))
        assert store.told()[-1].sequence == 5


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


def test_what_the_units_store_is_owed_outlives_the_process_and_is_there_once_until_it_is_settled(path: Path) -> None:
    attempt = Attempt(unit(1), "rig-a", "run-1", 1, "ada", "Controller", "order-1", "PASS", step_ms={"power": 1.5})
    first, second = (OwedEnd(replace(attempt, position=n), WorkState.DONE, leased=True) for n in (1, 2))
    with LineSQLite(path, ROUTES) as store:
        for end in (second, first, first):
            store.owe(end)
    with LineSQLite(path, ROUTES) as store:
        assert store.owed() == (first, second)
        store.settled(first)
        assert store.owed() == (second,)


def test_what_was_told_since_the_last_event_of_some_kinds_begins_with_that_event(store: LineSQLite) -> None:
    assert store.since(["panel.ended"]) == ()
    store.journal(
        (), (started("BM-000001"), ended("first"), started("BM-000002"), ended("second"), started("BM-000003"))
    )
    assert [parcel.key for parcel in store.since(["panel.ended", "rig.started"])] == [
        "second",
        started("BM-000003").idempotency_key,
    ]
    assert len(store.since(["rig.started"])) == 5
