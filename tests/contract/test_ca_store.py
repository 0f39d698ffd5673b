# SPDX-License-Identifier: Apache-2.0
"""What every store of the issuing authority must do (ca.ports.CAStore)."""

import sqlite3
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from birthmark.ca.ports import CAStore
from birthmark.core.audit import AuditRow, decode_row, encode_row, link
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import (
    Ask,
    ChipID,
    End,
    Ending,
    Issuance,
    LedgerFacts,
    NonceGrant,
    OrderUse,
    Revocation,
)
from birthmark.stores.ca_sqlite import SQLiteCAStore
from support.ledger_values import AT, CHIP, INTENT, ORDER, SECOND

GRANT = NonceGrant(digest="00" * 32, holder="rig:rig-a", unit_serial="BM-000001", expires_at=AT + SECOND)
ROW = AuditRow(
    at=AT, who="rig:rig-a", act="enrol", order="order-1", unit_serial="BM-000001", finding="ca.8.quota", detail="d"
)


def sqlite(folder: Path) -> CAStore:
    return SQLiteCAStore(folder / "ca.sqlite")


def put(store: CAStore, *issuances: Issuance) -> None:
    with store.writing() as ledger:
        ledger.intend(issuances)


def test_an_order_comes_back_as_it_was_put(store: CAStore) -> None:
    closed = replace(ORDER, closed_at=AT)
    with store.writing() as ledger:
        ledger.put_order(closed)
    with store.reading() as ledger:
        assert ledger.order("order-1") == closed
        assert ledger.order("order-2") is None


def test_a_unit_takes_from_the_quota_once(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.take_quota([("order-1", "BM-000001"), ("order-1", "BM-000002")])
    with pytest.raises(StoreError) as refused, store.writing() as ledger:
        ledger.take_quota([("order-1", "BM-000001")])
    assert refused.value.finding == "store.conflict"
    with store.reading() as ledger:
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=2, holds_unit=True)
        assert ledger.order_use("order-1", "BM-000003") == OrderUse(units=2, holds_unit=False)
        assert ledger.order_use("order-2", "BM-000001") == OrderUse(units=0, holds_unit=False)


def test_what_an_order_gave_stays_given_when_it_is_changed(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.take_quota([("order-1", "BM-000001")])
        ledger.put_order(replace(ORDER, quantity=9))
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=1, holds_unit=True)


def test_an_unknown_order_gives_nothing(store: CAStore) -> None:
    with pytest.raises(StoreError), store.writing() as ledger:
        ledger.take_quota([("order-2", "BM-000001")])


def test_a_nonce_comes_back_until_it_is_forgotten(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.grant_nonces([GRANT])
        assert ledger.nonce(GRANT.digest) == GRANT
        assert ledger.forget_nonces(GRANT.expires_at, 9) == 0
        assert ledger.nonce(GRANT.digest) == GRANT
        assert ledger.forget_nonces(GRANT.expires_at + SECOND, 9) == 1
        assert ledger.nonce(GRANT.digest) is None


def test_a_nonce_is_open_until_it_expires_or_is_used(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.grant_nonces([GRANT])
        assert ledger.leases(["BM-000001", "BM-000009"], AT) == (GRANT,)
        assert ledger.leases(["BM-000002"], AT) == ()
        assert ledger.leases(["BM-000001"], GRANT.expires_at) == ()
        ledger.use_nonces([(GRANT.digest, INTENT.serial)])
        assert ledger.leases(["BM-000001"], AT) == ()
        assert ledger.nonce(GRANT.digest) == replace(GRANT, used_by=INTENT.serial)


def test_a_new_nonce_replaces_the_holders_unused_one_for_the_unit_only(store: CAStore) -> None:
    put(store, INTENT)
    used, other = replace(GRANT, digest="u" * 64), replace(GRANT, digest="o" * 64, unit_serial="BM-000002")
    with store.writing() as ledger:
        ledger.grant_nonces([used])
        ledger.use_nonces([(used.digest, INTENT.serial)])
        ledger.grant_nonces([other])
        ledger.grant_nonces([GRANT])
        ledger.grant_nonces([replace(GRANT, digest="n" * 64)])
        assert ledger.nonce(GRANT.digest) is None
        assert ledger.nonce(used.digest) is not None
        assert ledger.nonce(other.digest) is not None


def test_a_nonce_that_somebody_queues_for_is_found_until_nobody_does(store: CAStore) -> None:
    put(store, INTENT)
    queued = replace(GRANT, waiting=("rig:rig-b", 'rig:"c d"'))
    with store.writing() as ledger:
        ledger.grant_nonces([GRANT])
        ledger.queue_for_nonces([(GRANT.digest, queued.waiting), ("ff" * 32, ("rig:rig-b",))])
        assert ledger.leases(["BM-000001"], GRANT.expires_at) == (queued,)
        ledger.use_nonces([(GRANT.digest, INTENT.serial)])
        assert ledger.leases(["BM-000001"], AT) == (replace(queued, used_by=INTENT.serial),)
        ledger.queue_for_nonces([(GRANT.digest, ())])
        assert ledger.leases(["BM-000001"], AT) == ()


def test_the_living_nonces_of_a_holder_are_those_that_are_neither_used_nor_expired(store: CAStore) -> None:
    put(store, INTENT)
    grants = [replace(GRANT, digest=f"{number}" * 64, unit_serial=f"BM-00000{number}") for number in range(4)]
    grants[3] = replace(grants[3], expires_at=AT)
    with store.writing() as ledger:
        ledger.grant_nonces([*grants, replace(GRANT, digest="b" * 64, holder="rig:rig-b")])
        ledger.use_nonces([(grants[0].digest, INTENT.serial)])
        assert ledger.living_nonces(GRANT.holder, AT) == 2
        assert ledger.living_nonces("rig:rig-b", AT) == 1
        assert ledger.living_nonces("rig:rig-c", AT) == 0


def test_nonces_are_forgotten_in_parts_each_with_its_use(store: CAStore) -> None:
    put(store, INTENT)
    grants = [
        replace(GRANT, digest=f"{number}" * 64, expires_at=AT + number * SECOND, unit_serial=f"BM-00000{number}")
        for number in range(5)
    ]
    with store.writing() as ledger:
        ledger.grant_nonces(grants)
        ledger.use_nonces([(grants[0].digest, INTENT.serial), (grants[2].digest, INTENT.serial)])
    with store.writing() as ledger:
        assert ledger.forget_nonces(AT + 4 * SECOND, 2) == 2
        left = [grant.digest for grant in grants if ledger.nonce(grant.digest) is not None]
        assert left == [grant.digest for grant in grants[2:]]
        assert ledger.nonce(grants[2].digest) == replace(grants[2], used_by=INTENT.serial)
        assert [ledger.forget_nonces(AT + 4 * SECOND, 2) for _ in range(2)] == [2, 0]
        assert ledger.nonce(grants[4].digest) == grants[4]
        # Nothing is left of the uses: the same digests, were they ever granted again, would be new.
        ledger.grant_nonces(grants[:4])
        assert [ledger.nonce(grant.digest) for grant in grants[:4]] == grants[:4]


def test_a_nonce_that_somebody_queues_for_is_not_extended(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.grant_nonces([replace(GRANT, waiting=("rig:rig-b",))])
        ledger.extend_nonces([(GRANT.digest, GRANT.expires_at + 9 * SECOND)])
        assert ledger.nonce(GRANT.digest) == replace(GRANT, waiting=("rig:rig-b",))


def test_a_nonce_is_extended_and_never_shortened(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.grant_nonces([GRANT])
        ledger.extend_nonces([(GRANT.digest, AT + 9 * SECOND)])
        ledger.extend_nonces([(GRANT.digest, AT), ("ff" * 32, AT)])
        assert ledger.nonce(GRANT.digest) == replace(GRANT, expires_at=AT + 9 * SECOND)


def test_an_issuance_comes_back_by_serial_chip_and_unit(store: CAStore) -> None:
    other = replace(INTENT, serial="40bb", chip=ChipID("Jones", CHIP.serial), unit_serial="BM-000002")
    put(store, INTENT, other)
    with store.reading() as ledger:
        assert ledger.issuance("40aa") == INTENT
        assert ledger.issuance("40cc") is None
        assert ledger.issuances_near(CHIP, "BM-000009") == (INTENT,)
        assert ledger.issuances_near(CHIP, "BM-000002") == (INTENT, other)
        assert tuple(ledger.issuances()) == (INTENT, other)


def test_a_serial_is_intended_once(store: CAStore) -> None:
    put(store, INTENT)
    with pytest.raises(StoreError) as refused:
        put(store, replace(INTENT, chip=ChipID("Smith", "FFFFFFFF"), unit_serial="BM-000002"))
    assert refused.value.finding == "store.conflict"


def test_a_recorded_certificate_is_found_by_its_fingerprint(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record([("40aa", b"certificate")])
        assert ledger.issuance_of(fingerprint(b"certificate")) == replace(INTENT, certificate=b"certificate")
        assert ledger.issuance_of(fingerprint(b"another")) is None


def test_another_certificate_is_not_recorded_over_the_first(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record([("40aa", b"certificate")])
    with pytest.raises(StoreError), store.writing() as ledger:
        ledger.record([("40aa", b"another")])


def test_a_confirmed_certificate_does_not_die(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record([("40aa", b"certificate")])
        ledger.confirm([(fingerprint(b"certificate"), "a.b.c")], AT)
    with store.reading() as ledger:
        found = ledger.issuance("40aa")
        assert found == replace(INTENT, certificate=b"certificate", confirmed_at=AT, dies_at=None, ending=None)
        assert ledger.birth(fingerprint(b"certificate")) == "a.b.c"
        assert ledger.revocations(AT + timedelta(days=9)) == ()


def test_revocations_are_those_whose_time_has_come(store: CAStore) -> None:
    later = replace(INTENT, serial="40bb", chip=ChipID("Smith", "FFFFFFFF"), unit_serial="BM-000002")
    put(store, INTENT, later)
    with store.writing() as ledger:
        ledger.end([End("40bb", AT, Ending.REVOKED)])
    with store.reading() as ledger:
        assert ledger.revocations(AT - SECOND) == ()
        assert ledger.revocations(AT) == (Revocation("40bb", AT, Ending.REVOKED, later.expires_at),)
        assert [revocation.serial for revocation in ledger.revocations(AT + SECOND)] == ["40bb", "40aa"]


@pytest.mark.parametrize(
    "second",
    [
        replace(INTENT, serial="40bb", unit_serial="BM-000002", dies_at=None, ending=None),
        replace(INTENT, serial="40bb", chip=ChipID("Smith", "FFFFFFFF"), dies_at=None, ending=None),
    ],
    ids=["chip", "unit"],
)
def test_a_chip_or_a_unit_has_one_open_ended_life(store: CAStore, second: Issuance) -> None:
    put(store, replace(INTENT, dies_at=None, ending=None))
    with pytest.raises(StoreError) as refused:
        put(store, second)
    assert refused.value.finding == "store.conflict"


def test_a_denied_chip_has_a_reason(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.deny(CHIP, "lost")
        ledger.deny(CHIP, "scrapped")
        assert ledger.denial(CHIP) == "scrapped"
        assert ledger.denial(ChipID("Jones", CHIP.serial)) is None


def test_the_log_keeps_its_order(store: CAStore) -> None:
    rows = (ROW, structs.replace(ROW, finding="", at=AT - SECOND), ROW)
    for row in rows:
        with store.writing() as ledger:
            ledger.append([row])
    with store.reading() as ledger:
        kept = tuple(map(decode_row, ledger.entries(0, 10)))
        assert tuple(structs.replace(row, previous="") for row in kept) == rows
        assert ledger.log_size() == 3


def test_the_log_is_numbered_without_a_gap_whoever_fails(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.append([ROW, ROW])

    def append_and_fail() -> None:
        with store.writing() as ledger:
            ledger.append([ROW])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        append_and_fail()
    with store.writing() as ledger:
        ledger.append([structs.replace(ROW, unit_serial="BM-000002")])
    with store.reading() as ledger:
        assert ledger.entries_of_unit("BM-000002") == ((2, encode_row(structs.replace(ROW, unit_serial="BM-000002"))),)
        assert [number for number, _ in ledger.entries_of_unit("BM-000001")] == [0, 1]
        assert ledger.entries_of_unit("") == ()
        assert len(ledger.entries(1, 1)) == 1
        assert len(ledger.entries(1, 9)) == 2


def test_entries_about_a_unit_are_linked_within_and_across_transactions(store: CAStore) -> None:
    other, nobody = structs.replace(ROW, unit_serial="BM-000002"), structs.replace(ROW, unit_serial="")
    for rows in ([nobody, ROW], [other, ROW, nobody], [ROW]):
        with store.writing() as ledger:
            ledger.append(rows)
    with store.reading() as ledger:
        leaves = ledger.leaves(0, 10)
    said = [decode_row(leaf.entry).previous for leaf in leaves]
    links = [link(leaf.number, leaf.entry) for leaf in leaves]
    assert said == ["", "", "", links[1], "", links[3]]


def test_the_facts_about_candidates_come_in_the_order_of_the_asks(store: CAStore) -> None:
    taken = replace(INTENT, serial="40bb", chip=ChipID("a/b", "FFFFFFFF"), unit_serial="BM-000002")
    put(store, INTENT, taken)
    with store.writing() as ledger:
        ledger.record([("40aa", b"certificate")])
        ledger.grant_nonces([GRANT])
        ledger.use_nonces([(GRANT.digest, INTENT.serial)])
        ledger.take_quota([("order-1", "BM-000001")])
        ledger.deny(taken.chip, "lost")
        unknown = Ask("order-2", "ff" * 32, ChipID("Smith", "00000000"), "BM-000009")
        found = ledger.facts(
            [
                unknown,
                Ask("order-1", GRANT.digest, CHIP, "BM-000001"),
                Ask("order-1", "ff" * 32, taken.chip, "BM-000001"),
            ]
        )
    known = replace(INTENT, certificate=b"certificate")
    assert found == (
        LedgerFacts(None, None, (), OrderUse(0, holds_unit=False), None),
        LedgerFacts(ORDER, replace(GRANT, used_by="40aa"), (known,), OrderUse(1, holds_unit=True), None),
        LedgerFacts(ORDER, None, (known, taken), OrderUse(1, holds_unit=True), "lost"),
    )


def test_an_intent_is_unfinished_until_it_has_a_certificate_or_ends(store: CAStore) -> None:
    others = [
        replace(INTENT, serial=serial, chip=ChipID("Smith", serial * 2), unit_serial=f"BM-{serial}")
        for serial in ("40bb", "40cc", "40dd")
    ]
    put(store, INTENT, *others)
    with store.writing() as ledger:
        ledger.record([("40bb", b"certificate")])
        ledger.end([End("40cc", AT + SECOND, Ending.SUPERSEDED), End("40dd", AT + SECOND, Ending.ROTATED)])
        assert ledger.unfinished(["40aa", "40bb", "40cc", "40dd", "40ee"], AT) == {"40aa", "40dd"}
        assert ledger.unfinished(["40aa"], AT + SECOND) == frozenset()


def test_what_nobody_confirmed_is_found_until_its_end_is_written(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        assert ledger.unconfirmed(AT, 10) == ()
        assert ledger.unconfirmed(AT + SECOND, 10) == (INTENT,)
        ledger.end([End("40aa", AT + SECOND, Ending.UNCONFIRMED)])
        assert ledger.unconfirmed(AT + SECOND, 10) == ()


def test_endings_are_numbered_in_the_order_of_the_decisions(store: CAStore) -> None:
    put(store, INTENT)
    ends = [End("40aa", AT + SECOND, Ending.ROTATED), End("40aa", AT, Ending.REVOKED)]
    for end in ends:
        with store.writing() as ledger:
            ledger.end([end])
    with store.reading() as ledger:
        assert ledger.endings(-1, 10) == tuple(enumerate(ends))
        assert ledger.endings(-1, 1) == ((0, ends[0]),)
        assert ledger.endings(0, 10) == ((1, ends[1]),)
        assert ledger.endings(1, 10) == ()


def test_a_tile_grows_and_never_shrinks(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.put_tiles({(0, 0): b"a" * 64, (1, 0): b"b" * 32})
        ledger.put_tiles({(0, 0): b"a" * 96, (1, 0): b""})
    with store.reading() as ledger:
        assert ledger.tiles([(0, 0), (1, 0), (0, 1)]) == {(0, 0): b"a" * 96, (1, 0): b"b" * 32}


def test_the_first_checkpoint_of_a_size_stays(store: CAStore) -> None:
    with store.writing() as ledger:
        assert ledger.checkpoint() is None
        ledger.put_checkpoint(5, "five")
        ledger.put_checkpoint(7, "seven")
        ledger.put_checkpoint(5, "another")
        assert (ledger.checkpoint(), ledger.checkpoint(5), ledger.checkpoint(6)) == ("seven", "five", None)


def test_the_last_reason_of_a_denial_counts(store: CAStore) -> None:
    with store.writing() as ledger:
        assert ledger.denial(CHIP) is None
        ledger.deny(CHIP, "lost")
        ledger.deny(CHIP, "stolen")
        assert ledger.denial(CHIP) == "stolen"


def test_more_issuances_than_a_page_come_in_order(store: CAStore) -> None:
    many = [
        replace(INTENT, serial=f"{n:x}", chip=ChipID("S", f"{n:08x}"), unit_serial=f"BM-{n:06d}") for n in range(1100)
    ]
    put(store, *many)
    with store.reading() as ledger:
        assert list(ledger.issuances()) == many


def test_more_rows_than_a_socket_takes_at_once_are_committed(store: CAStore) -> None:
    rows = [structs.replace(ROW, unit_serial=f"BM-{number:06d}", detail="d" * 900) for number in range(3_000)]
    for _ in range(2):
        with store.writing() as ledger:
            ledger.append(rows)
    with store.reading() as ledger:
        assert ledger.log_size() == 2 * len(rows)


def test_an_error_undoes_the_whole_transaction(store: CAStore) -> None:
    def write_and_fail() -> None:
        with store.writing() as ledger:
            ledger.intend([INTENT])
            ledger.take_quota([("order-1", "BM-000001")])
            ledger.grant_nonces([GRANT])
            ledger.append([ROW])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with store.reading() as ledger:
        assert ledger.issuance("40aa") is None
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=0, holds_unit=False)
        assert ledger.nonce(GRANT.digest) is None
        assert ledger.log_size() == 0


def test_writers_come_one_after_the_other(store: CAStore) -> None:
    def take() -> None:
        for _ in range(20):
            with store.writing() as ledger:
                units = ledger.order_use("order-1", "").units
                ledger.take_quota([("order-1", f"BM-{units:06d}")])

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.reading() as ledger:
        assert ledger.order_use("order-1", "").units == 60


def test_a_file_is_shared_by_two_connections(tmp_path: Path) -> None:
    one, two = sqlite(tmp_path), sqlite(tmp_path)
    with one.writing() as ledger:
        ledger.put_order(ORDER)
    with two.reading() as ledger:
        assert ledger.order("order-1") == ORDER
    one.close()
    two.close()


def test_a_file_of_a_later_release_is_refused(tmp_path: Path) -> None:
    sqlite(tmp_path).close()
    with sqlite3.connect(tmp_path / "ca.sqlite") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="99"):
        sqlite(tmp_path)


def test_a_full_disk_is_a_store_error_that_changes_nothing(tmp_path: Path) -> None:
    store = SQLiteCAStore(tmp_path / "ca.sqlite")
    with store.writing() as ledger:
        ledger.put_order(ORDER)
    (pages,) = store._file.read("PRAGMA page_count")[0]
    store._file.read(f"PRAGMA max_page_count = {pages}")
    rows = [structs.replace(ROW, detail=f"{number}" * 500) for number in range(200)]

    def write_all() -> None:
        with store.writing() as ledger:
            for row in rows:
                ledger.append([row])

    with pytest.raises(StoreError) as refused:
        write_all()
    assert refused.value.finding == "store.full"
    with store.reading() as ledger:
        assert ledger.log_size() == 0
        assert ledger.order("order-1") == ORDER
    store.close()
