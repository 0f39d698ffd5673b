# SPDX-License-Identifier: Apache-2.0
"""What every store of the issuing authority must do (ca.ports.CAStore)."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.ca.ports import CAStore
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import AuditRow, ChipID, Ending, Issuance, NonceGrant, Order, OrderUse, Revocation
from birthmark.stores.ca_memory import MemoryCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore

AT = datetime(2026, 11, 23, 12, 0, 0, 123_456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
CHIP = ChipID("Smith", "0123456789ABCDEF")
ORDER = Order(
    id="order-1",
    product="Controller",
    quantity=2,
    chip_models=("optiga-trust-m", "swtpm"),
    rigs=("rig-a", "rig-b"),
    not_before=AT - SECOND,
    not_after=AT + SECOND,
    profile="device-p256",
)
INTENT = Issuance(
    serial="40aa",
    unit_serial="BM-000001",
    chip=CHIP,
    chip_model="optiga-trust-m",
    hw_type="1.2.3",
    spki=b"spki",
    evidence=b"evidence",
    order=ORDER.id,
    product=ORDER.product,
    organization="Forge",
    profile=ORDER.profile,
    requested_by="rig:rig-a",
    intended_at=AT,
    validity_days=1825,
    dies_at=AT + SECOND,
    ending=Ending.UNCONFIRMED,
)
GRANT = NonceGrant(digest=bytes(32), holder="rig:rig-a", unit_serial="BM-000001", expires_at=AT + SECOND)
ROW = AuditRow(at=AT, who="rig:rig-a", fingerprint="f", act="enrol", order="order-1", finding="ca.8.quota", detail="d")


def memory(_folder: Path) -> CAStore:
    return MemoryCAStore()


def sqlite(folder: Path) -> CAStore:
    return SQLiteCAStore(folder / "ca.sqlite")


@pytest.fixture(params=[memory, sqlite])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CAStore]:
    make: Callable[[Path], CAStore] = request.param
    made = make(tmp_path)
    with made.writing() as ledger:
        ledger.put_order(ORDER)
    yield made
    made.close()


def put(store: CAStore, *issuances: Issuance) -> None:
    with store.writing() as ledger:
        for issuance in issuances:
            ledger.intend(issuance)


def test_an_order_comes_back_as_it_was_put(store: CAStore) -> None:
    closed = replace(ORDER, closed_at=AT)
    with store.writing() as ledger:
        ledger.put_order(closed)
    with store.reading() as ledger:
        assert ledger.order("order-1") == closed
        assert ledger.order("order-2") is None


def test_a_unit_takes_from_the_quota_once(store: CAStore) -> None:
    for unit in ("BM-000001", "BM-000001", "BM-000002"):
        with store.writing() as ledger:
            ledger.take_quota("order-1", unit)
    with store.reading() as ledger:
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=2, holds_unit=True)
        assert ledger.order_use("order-1", "BM-000003") == OrderUse(units=2, holds_unit=False)
        assert ledger.order_use("order-2", "BM-000001") == OrderUse(units=0, holds_unit=False)


def test_what_an_order_gave_stays_given_when_it_is_changed(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.take_quota("order-1", "BM-000001")
        ledger.put_order(replace(ORDER, quantity=9))
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=1, holds_unit=True)


def test_an_unknown_order_gives_nothing(store: CAStore) -> None:
    with pytest.raises(StoreError), store.writing() as ledger:
        ledger.take_quota("order-2", "BM-000001")


def test_a_nonce_comes_back_until_it_is_forgotten(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.grant_nonce(GRANT)
        assert ledger.nonce(GRANT.digest) == GRANT
        ledger.forget_nonces(GRANT.expires_at)
        assert ledger.nonce(GRANT.digest) == GRANT
        ledger.forget_nonces(GRANT.expires_at + SECOND)
        assert ledger.nonce(GRANT.digest) is None


def test_a_nonce_is_open_until_it_expires_or_is_used(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.grant_nonce(GRANT)
        assert ledger.open_nonce("BM-000001", AT) == GRANT
        assert ledger.open_nonce("BM-000002", AT) is None
        assert ledger.open_nonce("BM-000001", GRANT.expires_at) is None
        ledger.use_nonce(GRANT.digest, INTENT.serial)
        assert ledger.open_nonce("BM-000001", AT) is None
        assert ledger.nonce(GRANT.digest) == replace(GRANT, used_by=INTENT.serial)


def test_a_new_nonce_replaces_the_holders_unused_one_for_the_unit_only(store: CAStore) -> None:
    put(store, INTENT)
    used, other = replace(GRANT, digest=b"u" * 32), replace(GRANT, digest=b"o" * 32, unit_serial="BM-000002")
    with store.writing() as ledger:
        ledger.grant_nonce(used)
        ledger.use_nonce(used.digest, INTENT.serial)
        ledger.grant_nonce(other)
        ledger.grant_nonce(GRANT)
        ledger.grant_nonce(replace(GRANT, digest=b"n" * 32))
        assert ledger.nonce(GRANT.digest) is None
        assert ledger.nonce(used.digest) is not None
        assert ledger.nonce(other.digest) is not None


def test_an_issuance_comes_back_by_serial_chip_and_unit(store: CAStore) -> None:
    other = replace(INTENT, serial="40bb", chip=ChipID("Jones", CHIP.serial), unit_serial="BM-000002")
    put(store, INTENT, other)
    with store.reading() as ledger:
        assert ledger.issuance("40aa") == INTENT
        assert ledger.issuance("40cc") is None
        assert ledger.issuances_near(CHIP, "BM-000009") == (INTENT,)
        assert ledger.issuances_near(CHIP, "BM-000002") == (INTENT, other)
        assert ledger.issuances() == (INTENT, other)


def test_a_serial_is_intended_once(store: CAStore) -> None:
    put(store, INTENT)
    with pytest.raises(StoreError) as refused:
        put(store, replace(INTENT, chip=ChipID("Smith", "FFFFFFFF"), unit_serial="BM-000002"))
    assert refused.value.finding == "store.conflict"


def test_a_recorded_certificate_is_found_by_its_fingerprint(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record("40aa", b"certificate")
        ledger.record("40aa", b"certificate")
        assert ledger.issuance_of(fingerprint(b"certificate")) == replace(INTENT, certificate=b"certificate")
        assert ledger.issuance_of(fingerprint(b"another")) is None


def test_another_certificate_is_not_recorded_over_the_first(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record("40aa", b"certificate")
    with pytest.raises(StoreError), store.writing() as ledger:
        ledger.record("40aa", b"another")


def test_a_confirmed_certificate_does_not_die(store: CAStore) -> None:
    put(store, INTENT)
    with store.writing() as ledger:
        ledger.record("40aa", b"certificate")
        ledger.confirm(fingerprint(b"certificate"), AT, "a.b.c")
    with store.reading() as ledger:
        found = ledger.issuance("40aa")
        assert found == replace(INTENT, certificate=b"certificate", confirmed_at=AT, dies_at=None, ending=None)
        assert ledger.birth(fingerprint(b"certificate")) == "a.b.c"
        assert ledger.revocations(AT + timedelta(days=9)) == ()


def test_revocations_are_those_whose_time_has_come(store: CAStore) -> None:
    later = replace(INTENT, serial="40bb", chip=ChipID("Smith", "FFFFFFFF"), unit_serial="BM-000002")
    put(store, INTENT, later)
    with store.writing() as ledger:
        ledger.end("40bb", AT, Ending.REVOKED)
    with store.reading() as ledger:
        assert ledger.revocations(AT - SECOND) == ()
        assert ledger.revocations(AT) == (Revocation("40bb", AT, Ending.REVOKED),)
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


def test_the_audit_keeps_its_order(store: CAStore) -> None:
    rows = (ROW, replace(ROW, finding="", at=AT - SECOND), ROW)
    for row in rows:
        with store.writing() as ledger:
            ledger.add_audit(row)
    with store.reading() as ledger:
        assert ledger.audit() == rows


def test_an_error_undoes_the_whole_transaction(store: CAStore) -> None:
    def write_and_fail() -> None:
        with store.writing() as ledger:
            ledger.intend(INTENT)
            ledger.take_quota("order-1", "BM-000001")
            ledger.grant_nonce(GRANT)
            ledger.add_audit(ROW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    with store.reading() as ledger:
        assert ledger.issuance("40aa") is None
        assert ledger.order_use("order-1", "BM-000001") == OrderUse(units=0, holds_unit=False)
        assert ledger.nonce(GRANT.digest) is None
        assert ledger.audit() == ()


def test_writers_come_one_after_the_other(store: CAStore) -> None:
    def take() -> None:
        for _ in range(20):
            with store.writing() as ledger:
                units = ledger.order_use("order-1", "").units
                ledger.take_quota("order-1", f"BM-{units:06d}")

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


def test_a_file_of_another_release_is_refused(tmp_path: Path) -> None:
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
    rows = [replace(ROW, detail=f"{number}" * 500) for number in range(200)]

    def write_all() -> None:
        with store.writing() as ledger:
            for row in rows:
                ledger.add_audit(row)

    with pytest.raises(StoreError) as refused:
        write_all()
    assert refused.value.finding == "store.full"
    with store.reading() as ledger:
        assert ledger.audit() == ()
        assert ledger.order("order-1") == ORDER
    store.close()
