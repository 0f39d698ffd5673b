# SPDX-License-Identifier: Apache-2.0
"""What the outbox demands of a destination, asked of the MES file and of a MES table in a real PostgreSQL."""

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, SignedBirth
from birthmark.core.errors import ConfigError
from birthmark.line.ports import Destination
from birthmark.stores.mes_jsonl import MESFile
from birthmark.stores.mes_postgres import MESPostgreSQL
from support.births import Births
from support.postgres import PostgreSQL, postgresql

BIRTHS = Births()


@dataclass(frozen=True)
class Target:
    """One kind of destination: opens it anew, and reads (key, record, jws) of what it holds."""

    open: Callable[[], Destination]
    held: Callable[[], list[tuple[str, dict[str, object], str]]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture
def database(cluster: PostgreSQL) -> Iterator[PostgreSQL]:
    yield cluster
    with psycopg.connect(cluster.dsn) as connection:
        connection.execute("drop table if exists birth")


@pytest.fixture(params=["file", "table"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "file":
        path = tmp_path / "births.jsonl"
        return Target(lambda: MESFile(path), lambda: lines(path))
    database: PostgreSQL = request.getfixturevalue("database")
    return Target(lambda: MESPostgreSQL(database.dsn), lambda: rows(database))


def lines(path: Path) -> list[tuple[str, dict[str, object], str]]:
    held = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["idempotency_key"], line["record"], line["jws"]) for line in held]


def rows(database: PostgreSQL) -> list[tuple[str, dict[str, object], str]]:
    with psycopg.connect(database.dsn) as connection:
        return connection.execute(
            "select idempotency_key, record, jws from birth order by xmin::text::bigint"
        ).fetchall()


def deliver(target: Target, *births: SignedBirth) -> None:
    destination = target.open()
    try:
        for birth in births:
            destination.deliver(birth)
    finally:
        destination.close()


def test_births_arrive_in_their_order_with_record_and_signature(target: Target) -> None:
    births = [BIRTHS.of(f"BM-00000{number}") for number in (2, 1, 3)]
    deliver(target, *births)
    held = target.held()
    assert [(key, jws) for key, _, jws in held] == [(birth.key, birth.jws) for birth in births]
    assert [record["unit_serial"] for _, record, _ in held] == [birth.unit for birth in births]


def test_a_birth_that_is_offered_again_stays_one_also_after_a_restart(target: Target) -> None:
    birth = BIRTHS.of("BM-000001")
    deliver(target, birth, birth)
    deliver(target, birth)
    assert len(target.held()) == 1


def test_what_is_no_birth_record_is_refused_for_good(target: Target) -> None:
    with pytest.raises(DeliveryRefused):
        deliver(target, SignedBirth("f" * 64, "BM-000001", "not.a.jws"))


def test_two_writers_give_one_line_each(target: Target) -> None:
    one, other = target.open(), target.open()
    same, mine = BIRTHS.of("BM-000001"), BIRTHS.of("BM-000002")
    one.deliver(same)
    other.deliver(same)
    other.deliver(mine)
    one.deliver(mine)
    one.close()
    other.close()
    assert [key for key, _, _ in target.held()] == [same.key, mine.key]


def test_a_line_that_a_power_cut_halved_is_cut_off_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "births.jsonl"
    target = Target(lambda: MESFile(path), lambda: lines(path))
    births = [BIRTHS.of("BM-000001"), BIRTHS.of("BM-000002")]
    deliver(target, *births)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    deliver(target, births[1])
    assert [key for key, _, _ in target.held()] == [birth.key for birth in births]


def test_a_file_that_cannot_be_written_defers(tmp_path: Path) -> None:
    destination = MESFile(tmp_path / "absent" / "births.jsonl")
    with pytest.raises(DeliveryDeferred):
        destination.deliver(BIRTHS.of("BM-000001"))
    (tmp_path / "absent").mkdir()
    destination.deliver(BIRTHS.of("BM-000001"))
    destination.close()


def test_a_disk_that_takes_half_a_line_defers_and_ends_up_with_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "births.jsonl"
    target = Target(lambda: MESFile(path), lambda: lines(path))
    births = [BIRTHS.of("BM-000001"), BIRTHS.of("BM-000002")]
    destination = target.open()
    destination.deliver(births[0])
    with no_more_than(path.stat().st_size + 100), pytest.raises(DeliveryDeferred):
        destination.deliver(births[1])
    destination.deliver(births[1])
    destination.close()
    assert [key for key, _, _ in target.held()] == [birth.key for birth in births]


@contextmanager
def no_more_than(file_bytes: int) -> Iterator[None]:
    """Let the kernel refuse to grow any file beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_with_a_foreign_line_defers_and_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "births.jsonl"
    path.write_text("somebody's notes\n")
    destination = MESFile(path)
    with pytest.raises(DeliveryDeferred):
        destination.deliver(BIRTHS.of("BM-000001"))
    assert path.read_text() == "somebody's notes\n"


def test_a_database_that_was_away_takes_the_birth_afterwards(database: PostgreSQL) -> None:
    destination = MESPostgreSQL(database.dsn)
    destination.deliver(BIRTHS.of("BM-000001"))
    database.stop()
    try:
        with pytest.raises(DeliveryDeferred):
            destination.deliver(BIRTHS.of("BM-000002"))
        with pytest.raises(DeliveryDeferred):
            destination.deliver(BIRTHS.of("BM-000002"))
    finally:
        database.start()
    destination.deliver(BIRTHS.of("BM-000002"))
    destination.close()
    assert len(rows(database)) == 2


def test_a_record_that_the_database_cannot_hold_is_refused_for_good(database: PostgreSQL) -> None:
    destination = MESPostgreSQL(database.dsn)
    with pytest.raises(DeliveryRefused):
        destination.deliver(BIRTHS.of("BM-000001", operator="a\x00b"))
    destination.deliver(BIRTHS.of("BM-000002"))
    destination.close()
    assert [record["unit_serial"] for _, record, _ in rows(database)] == ["BM-000002"]


def test_a_table_without_rights_defers_because_a_person_can_mend_it(database: PostgreSQL) -> None:
    with psycopg.connect(database.dsn) as connection:
        connection.execute("create role mes login")
    try:
        destination = MESPostgreSQL(database.dsn.replace("user=postgres", "user=mes"))
        with pytest.raises(DeliveryDeferred):
            destination.deliver(BIRTHS.of("BM-000001"))
    finally:
        with psycopg.connect(database.dsn) as connection:
            connection.execute("drop role mes")


def test_a_malformed_connection_string_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        MESPostgreSQL("host=x hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
