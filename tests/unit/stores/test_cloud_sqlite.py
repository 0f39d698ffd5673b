# SPDX-License-Identifier: Apache-2.0
"""The cloud's registry on disk."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.core.fleet import Command, RegisteredDevice, Telemetry
from birthmark.stores.cloud_sqlite import CloudSQLite

NOW = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=UTC)
DEVICE = RegisteredDevice("BM-000001", "optiga-trust-m", "AA00", "11" * 32, NOW, NOW, NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloud.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[CloudSQLite]:
    opened = CloudSQLite(path)
    yield opened
    opened.close()


def test_a_device_comes_back_as_it_was_written_also_after_reopening(store: CloudSQLite, path: Path) -> None:
    store.register(DEVICE)
    store.close()
    reopened = CloudSQLite(path)
    assert reopened.device(DEVICE.unit) == DEVICE
    assert reopened.unit_of_chip("optiga-trust-m", "AA00") == DEVICE.unit
    assert reopened.unit_of_chip("se050", "AA00") is None
    reopened.close()


def test_a_renewal_changes_the_certificate_and_keeps_the_old_one_superseded(store: CloudSQLite) -> None:
    store.register(DEVICE)
    newer = replace(DEVICE, certificate_sha256="22" * 32, not_before=NOW + timedelta(1), last_verified=NOW)
    store.renew(newer)
    assert store.device(DEVICE.unit) == newer
    assert store.is_superseded(DEVICE.certificate_sha256)
    assert not store.is_superseded(newer.certificate_sha256)


@pytest.mark.parametrize(
    "second",
    [
        DEVICE,
        replace(DEVICE, unit="BM-000002", certificate_sha256="22" * 32),
        replace(DEVICE, unit="BM-000002", chip_serial="BB00"),
    ],
    ids=["unit", "chip", "certificate"],
)
def test_the_store_itself_refuses_two_rows_with_one(store: CloudSQLite, second: RegisteredDevice) -> None:
    store.register(DEVICE)
    with pytest.raises(StoreError):
        store.register(second)
    assert list(store.devices()) == [DEVICE]


def test_a_failed_transaction_leaves_nothing(store: CloudSQLite) -> None:
    def twice() -> None:
        with store.transaction():
            store.register(DEVICE)
            store.register(DEVICE)

    with pytest.raises(StoreError):
        twice()
    assert list(store.devices()) == []


def test_a_visit_is_noted(store: CloudSQLite) -> None:
    store.register(DEVICE)
    store.touch(DEVICE.unit, NOW + timedelta(hours=1))
    assert store.device(DEVICE.unit) == replace(DEVICE, last_verified=NOW + timedelta(hours=1))


def test_telemetry_comes_back_in_order(store: CloudSQLite) -> None:
    messages = [Telemetry("BM-000001", "attested", NOW, str(n)) for n in range(3)]
    for message in messages:
        store.add_telemetry(message)
    assert store.telemetry("BM-000001") == messages
    assert store.telemetry("BM-000002") == []


def test_a_command_waits_until_it_is_done_and_only_for_its_unit(store: CloudSQLite) -> None:
    command_id = store.add_command("BM-000001", "blink", "{}", NOW)
    assert store.next_command("BM-000001") == Command(command_id, "BM-000001", "blink", "{}")
    assert store.next_command("BM-000002") is None
    assert not store.finish_command("BM-000002", command_id, NOW)
    assert store.finish_command("BM-000001", command_id, NOW)
    assert store.finish_command("BM-000001", command_id, NOW)
    assert store.next_command("BM-000001") is None


def test_another_process_may_write_at_the_same_time(store: CloudSQLite, path: Path) -> None:
    beside = CloudSQLite(path)
    beside.add_command("BM-000001", "blink", "{}", NOW)
    assert store.next_command("BM-000001") is not None
    beside.close()


def test_a_file_of_another_release_is_refused(store: CloudSQLite, path: Path) -> None:
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("pragma user_version = 99")
    raw.close()
    with pytest.raises(StoreError) as caught:
        CloudSQLite(path)
    assert caught.value.finding == "store.version"


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database, and long enough to be looked at as one" * 20)
    with pytest.raises(StoreError):
        CloudSQLite(path)
