# SPDX-License-Identifier: Apache-2.0
"""What every store of the issuing authority counts (ca.ports.LedgerReader.census)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.ca.ports import CAStore
from birthmark.core.issuance import ChipID, End, Ending, Issuance, NonceGrant
from birthmark.stores import ca_postgres
from birthmark.stores.ca_postgres import PostgresCAStore
from birthmark.stores.ca_sqlite import SQLiteCAStore
from support.postgres import PostgreSQL

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def store(request: pytest.FixtureRequest, tmp_path: Path, cluster: PostgreSQL) -> Iterator[CAStore]:
    made: CAStore
    if request.param == "SQLite":
        made = SQLiteCAStore(tmp_path / "ca.sqlite")
    else:
        dsn = cluster.new_database()
        ca_postgres.migrate(dsn)
        made = PostgresCAStore(dsn)
    yield made
    made.close()


def intent(number: int, **changes: object) -> Issuance:
    made = Issuance(
        serial=f"{number:x}",
        unit_serial=f"BM-{number:06}",
        chip=ChipID("Smith", f"{number}"),
        chip_model="optiga-trust-m",
        hw_type="1.2.3",
        spki=b"spki",
        evidence=b"evidence",
        order="order-1",
        product="Controller",
        organization="Forge",
        profile="device",
        requested_by="rig:rig-a",
        intended_at=AT,
        validity_days=10,
        dies_at=AT + 2 * SECOND,
        ending=Ending.UNCONFIRMED,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # tests name the fields that they change


def put(store: CAStore, *issuances: Issuance) -> None:
    with store.writing() as ledger:
        ledger.intend(list(issuances))
        ledger.record([(each.serial, each.serial.encode()) for each in issuances if each.certificate])


def test_an_empty_ledger_holds_nothing(store: CAStore) -> None:
    with store.reading() as ledger:
        census = ledger.census(AT)
    assert (dict(census.states), census.open_nonces) == ({}, 0)


def test_each_certificate_is_in_one_state_at_each_moment(store: CAStore) -> None:
    living = {"dies_at": None, "ending": None, "confirmed_at": AT, "certificate": b"c"}
    put(store, intent(1), intent(2, certificate=b"c"), intent(3, **living), intent(4, **living), intent(5, **living))
    with store.writing() as ledger:
        ledger.end([End("4", AT, Ending.REVOKED), End("5", AT + SECOND, Ending.ROTATED)])
    at = {AT: {}, AT + SECOND: {}, AT + 2 * SECOND: {}, AT + timedelta(days=11): {}}
    with store.reading() as ledger:
        found = {moment: dict(ledger.census(moment).states) for moment in at}
    assert found[AT] == {"intended": 1, "issued": 1, "confirmed": 2, "revoked": 1}
    assert found[AT + SECOND] == {"intended": 1, "issued": 1, "confirmed": 1, "revoked": 1, "superseded": 1}
    assert found[AT + 2 * SECOND] == {"confirmed": 1, "revoked": 3, "superseded": 1}
    assert found[AT + timedelta(days=11)] == {"expired": 1, "revoked": 3, "superseded": 1}


def test_a_nonce_counts_until_it_is_used_or_expires(store: CAStore) -> None:
    grants = [
        NonceGrant(digest=f"{n:064x}", holder="rig:rig-a", unit_serial=f"BM-{n:06}", expires_at=AT + SECOND)
        for n in range(3)
    ]
    put(store, intent(1))
    with store.writing() as ledger:
        ledger.grant_nonces(grants)
        ledger.use_nonces([(grants[0].digest, "1")])
    with store.reading() as ledger:
        assert (ledger.census(AT).open_nonces, ledger.census(AT + SECOND).open_nonces) == (2, 0)
