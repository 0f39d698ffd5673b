# SPDX-License-Identifier: Apache-2.0
"""What the outbox demands of a destination: one suite for the MES file, tables in PostgreSQL, and the webhook."""

import json
import resource
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from birthmark.core.clock import system_clock
from birthmark.core.delivery import DeliveryDeferred, DeliveryError, DeliveryRefused, Parcel, SignedBirth, Wants
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.line.config import WebhookSignature
from birthmark.line.events import Events
from birthmark.line.mes.webhook import Webhook, read_signer, target_of
from birthmark.line.outbox import Outbox
from birthmark.line.ports import Destination
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.mes_jsonl import MESFile
from birthmark.stores.mes_postgres import MESPostgreSQL, kept_in_database
from support.births import Births
from support.parcels import birth_parcel, born, ended, parcel, started
from support.postgres import PostgreSQL, postgresql
from support.tls_files import TLSFiles, write_key
from support.webhook_receiver import WebhookMES, webhook_mes

BIRTHS = Births()
FIRST, SECOND, THIRD = parcel(started("BM-000001"), 1), birth_parcel(BIRTHS, "BM-000001", 2), parcel(ended("end"), 3)
ALL = [FIRST, SECOND, THIRD]


@dataclass(frozen=True)
class Target:
    """
    One kind of destination: opens it anew, and reads what it holds, in the order of its arrival.

    `away` and `halved` are where it cannot be reached, and where a delivery breaks off in its middle; `poison` is where
    it refuses a parcel for good.
    """

    open: Callable[[], Destination]
    held: Callable[[], list[dict[str, Any]]]
    away: Callable[[], AbstractContextManager[None]]
    halved: Callable[[Destination], AbstractContextManager[None]]
    poison: Callable[[Parcel], AbstractContextManager[Parcel]]

    def keys(self) -> list[str]:
        return [each["idempotency_key"] for each in self.held()]


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WebhookMES, Path]]:
    folder = tmp_path_factory.mktemp("mes")
    files = TLSFiles(folder, datetime.now(UTC))
    files.server()
    (folder / "trust.pem").write_bytes(files.trust)
    write_key(folder / "secret", secrets.token_hex(32).encode() + b"\n")
    with webhook_mes(folder) as mes:
        yield mes, folder


@pytest.fixture(params=["file", "table", "webhook"])
def target(request: pytest.FixtureRequest) -> Target:
    made: Target = request.getfixturevalue(f"{request.param}_target")
    return made


def deliver(target: Target, *parcels: Parcel) -> None:
    destination = target.open()
    try:
        for each in parcels:
            destination.deliver(each)
    finally:
        destination.close()


# --- the three ---


@pytest.fixture
def file_target(tmp_path: Path) -> Target:
    folder = tmp_path / "mes"
    folder.mkdir()
    path = folder / "births.jsonl"

    @contextmanager
    def away() -> Iterator[None]:
        folder.rename(tmp_path / "elsewhere")
        try:
            yield
        finally:
            (tmp_path / "elsewhere").rename(folder)

    @contextmanager
    def halved(_destination: Destination) -> Iterator[None]:
        """Let the kernel refuse to grow the file beyond a part of the next line."""
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((path.stat().st_size if path.exists() else 0) + 100, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def poison(of: Parcel) -> Iterator[Parcel]:
        yield parcel(born(SignedBirth("f" * 64, "BM-000009", "not.a.jws")), of.sequence)

    return Target(lambda: MESFile(path), lambda: lines(path), away, halved, poison)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def table_target(cluster: PostgreSQL) -> Iterator[Target]:
    @contextmanager
    def away() -> Iterator[None]:
        cluster.stop()
        try:
            yield
        finally:
            cluster.start()

    @contextmanager
    def halved(destination: Destination) -> Iterator[None]:
        """End the session that the next delivery uses; where a birth is told, after the first of its statements."""
        assert isinstance(destination, MESPostgreSQL)
        with psycopg.connect(cluster.dsn, autocommit=True) as other:
            other.execute(_KILLING)
            try:
                yield
            finally:
                other.execute("drop trigger halving on event")

    @contextmanager
    def poison(of: Parcel) -> Iterator[Parcel]:
        with psycopg.connect(cluster.dsn) as other:
            other.execute(f"alter table event add constraint poison check (idempotency_key <> '{of.key}')".encode())
        try:
            yield of
        finally:
            with psycopg.connect(cluster.dsn) as other:
                other.execute("alter table event drop constraint poison")

    with psycopg.connect(cluster.dsn) as connection:
        # Made by the destination itself; what only the tests need is added to them.
        made = MESPostgreSQL(cluster.dsn)
        made._connect()
        made.close()
        connection.execute("alter table event add column arrival bigserial")
    yield Target(lambda: MESPostgreSQL(cluster.dsn), lambda: rows(cluster), away, halved, poison)
    with psycopg.connect(cluster.dsn) as connection:
        connection.execute("drop table if exists birth, event")


_KILLING = b"""
create or replace function kill_me() returns trigger language plpgsql as $$
begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;
create trigger halving after insert on event for each row execute function kill_me();
"""


def rows(database: PostgreSQL) -> list[dict[str, Any]]:
    """Return the events, those of births with the record of the other table."""
    with psycopg.connect(database.dsn) as connection:
        found = connection.execute(
            "select event.body || case when record is null then '{}'::jsonb"
            " else jsonb_build_object('record', record, 'jws', jws) end"
            " from event left join birth using (idempotency_key) order by arrival"
        ).fetchall()
    return [body for (body,) in found]


@pytest.fixture
def webhook_target(called: tuple[WebhookMES, Path]) -> Iterator[Target]:
    mes, folder = called

    def opened() -> Destination:
        where = target_of(mes.url)
        context = client_context((folder / "trust.pem").read_bytes())
        signer = read_signer(folder / "secret", WebhookSignature.HMAC)
        return Webhook(HTTPTransport(where.server, context, 5.0), where.path, signer, system_clock)

    @contextmanager
    def away() -> Iterator[None]:
        mes.stop()
        try:
            yield
        finally:
            mes.start()

    @contextmanager
    def told(**orders: object) -> Iterator[None]:
        mes.order(**orders)
        try:
            yield
        finally:
            mes.order()

    @contextmanager
    def poison(of: Parcel) -> Iterator[Parcel]:
        with told(status=422, of={"idempotency_key": of.key}):
            yield of

    yield Target(opened, mes.taken, away, lambda _: told(drop=True), poison)
    mes.stop()
    (folder / "taken").unlink(missing_ok=True)
    mes.order()
    mes.start()


# --- the contract ---


def test_events_arrive_in_their_order_with_all_that_they_say(target: Target) -> None:
    deliver(target, *ALL)
    held = target.held()
    assert [each["event"] for each in held] == ["unit.started", "unit.born", "panel.ended"]
    assert [each["sequence"] for each in held] == [1, 2, 3]
    assert {(each["rig"], each["order"], each["mes_hold"]) for each in held} == {("rig-a", "order-1", False)}
    birth = SECOND.event()
    assert held[1]["jws"] == getattr(birth, "jws", "")
    assert held[1]["record"]["unit_serial"] == "BM-000001"
    assert held[1]["idempotency_key"] == held[1]["record"]["certificate_sha256"]


def test_an_event_that_is_offered_again_stays_one_also_after_a_restart(target: Target) -> None:
    deliver(target, FIRST, FIRST, SECOND)
    deliver(target, FIRST, SECOND, SECOND, THIRD)
    assert target.keys() == [each.key for each in ALL]


def test_what_is_no_event_cannot_be_delivered_and_leaves_nothing(target: Target) -> None:
    damaged = Parcel("mes", 1, "key", "BM-000001", FIRST.body[:100])
    no_birth = parcel(born(SignedBirth("f" * 64, "BM-000001", "not.a.jws")))
    for each in (damaged, no_birth):
        with pytest.raises(DecodeError):
            deliver(target, each)
    assert target.held() == []


def test_a_destination_that_is_away_defers_and_takes_the_event_afterwards(target: Target) -> None:
    destination = target.open()
    with target.away():
        for _ in range(2):
            with pytest.raises(DeliveryDeferred):
                destination.deliver(FIRST)
    destination.deliver(FIRST)
    with target.away(), suppress(DeliveryDeferred):
        destination.deliver(SECOND)  # a file that is open can be written wherever it lies
    destination.deliver(SECOND)
    destination.close()
    assert target.keys() == [FIRST.key, SECOND.key]


def test_a_delivery_that_breaks_off_in_its_middle_is_made_whole_by_the_next(target: Target) -> None:
    destination = target.open()
    destination.deliver(FIRST)
    with target.halved(destination), pytest.raises(DeliveryDeferred):
        destination.deliver(SECOND)
    destination.deliver(SECOND)
    destination.deliver(THIRD)
    destination.close()
    assert target.keys() == [each.key for each in ALL]
    assert target.held()[1]["record"]["unit_serial"] == "BM-000001"


def test_a_poison_event_is_refused_and_the_next_is_taken(target: Target) -> None:
    destination = target.open()
    destination.deliver(FIRST)
    with target.poison(SECOND) as poison:
        with pytest.raises((DeliveryRefused, DecodeError)):
            destination.deliver(poison)
        destination.deliver(THIRD)
    destination.close()
    assert target.keys() == [FIRST.key, THIRD.key]


def test_two_writers_give_each_event_once(target: Target) -> None:
    one, other = target.open(), target.open()
    one.deliver(FIRST)
    other.deliver(FIRST)
    other.deliver(SECOND)
    one.deliver(SECOND)
    one.deliver(THIRD)
    one.close()
    other.close()
    assert target.keys() == [each.key for each in ALL]


def test_the_outbox_brings_everything_through_an_outage_in_order_and_once(target: Target, tmp_path: Path) -> None:
    with LineSQLite(tmp_path / "rig.sqlite", {"mes": Wants.EVERYTHING}) as store:
        events = [started(f"BM-{number:06d}") for number in range(1, 21)]
        store.journal((), events[:5])
        destination = target.open()
        outbox = Outbox(
            store,
            {"mes": destination},
            Events(lambda _: None),
            clock=system_clock,
            stopwatch=time.monotonic,
            retry_s=0.01,
        )
        outbox.drain("mes")
        destination.close()
        with target.away():
            store.journal((), events[5:])
            with pytest.raises(DeliveryError):
                outbox.drain("mes")
            assert store.waiting() == 15
        later = target.open()
        Outbox(
            store, {"mes": later}, Events(lambda _: None), clock=system_clock, stopwatch=time.monotonic, retry_s=0.01
        ).drain("mes")
        later.close()
        assert store.waiting() == 0
    assert [each["sequence"] for each in target.held()] == list(range(1, 21))


# --- the file ---


def test_a_line_that_a_power_cut_halved_is_cut_off_and_written_again(tmp_path: Path, file_target: Target) -> None:
    path = tmp_path / "mes/births.jsonl"
    deliver(file_target, FIRST, SECOND)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    deliver(file_target, SECOND)
    assert path.read_bytes() == whole


def test_a_file_with_a_foreign_line_defers_and_is_left_alone(tmp_path: Path, file_target: Target) -> None:
    path = tmp_path / "mes/births.jsonl"
    path.write_text("somebody's notes\n")
    with pytest.raises(DeliveryDeferred):
        deliver(file_target, FIRST)
    assert path.read_text() == "somebody's notes\n"


@pytest.mark.parametrize("take_away", [lambda path: path.rename(f"{path}.1"), Path.unlink], ids=["renamed", "removed"])
def test_a_file_that_was_taken_away_is_begun_anew_by_every_writer(
    tmp_path: Path, file_target: Target, take_away: Callable[[Path], None]
) -> None:
    path = tmp_path / "mes/births.jsonl"
    one, other = file_target.open(), file_target.open()
    one.deliver(FIRST)
    other.deliver(SECOND)
    take_away(path)
    other.deliver(THIRD)
    one.deliver(THIRD)
    one.deliver(FIRST)
    one.close()
    other.close()
    assert file_target.keys() == [THIRD.key, FIRST.key]


def test_a_file_that_earlier_releases_have_written_is_gone_on_with(tmp_path: Path, file_target: Target) -> None:
    path = tmp_path / "mes/births.jsonl"
    path.write_text(json.dumps({"idempotency_key": SECOND.key, "record": {}, "jws": "e30"}) + "\n")
    deliver(file_target, FIRST, SECOND)
    assert file_target.keys() == [SECOND.key, FIRST.key]


# --- the tables ---


def test_an_event_that_the_database_cannot_hold_is_refused_for_good(table_target: Target) -> None:
    with pytest.raises(DeliveryRefused):
        deliver(table_target, parcel(started("BM-000001", operator="a\x00b")))
    with pytest.raises(DeliveryRefused):
        deliver(table_target, birth_parcel(BIRTHS, "BM-000001", operator="a\x00b"))
    deliver(table_target, THIRD)
    assert table_target.keys() == [THIRD.key]


def test_a_table_without_rights_defers_because_a_person_can_mend_it(cluster: PostgreSQL) -> None:
    with psycopg.connect(cluster.dsn) as connection:
        connection.execute("create role mes login")
    try:
        destination = MESPostgreSQL(cluster.dsn.replace("user=postgres", "user=mes"))
        with pytest.raises(DeliveryDeferred):
            destination.deliver(FIRST)
    finally:
        with psycopg.connect(cluster.dsn) as connection:
            connection.execute("drop role mes")


def test_a_database_that_stands_still_defers_and_takes_the_event_when_it_goes_on(cluster: PostgreSQL) -> None:
    dsn = cluster.new_database()
    destination = MESPostgreSQL(dsn, silence_s=0.5)
    try:
        destination.deliver(FIRST)
        cluster.suspend()
        try:
            with pytest.raises(DeliveryDeferred):
                destination.deliver(THIRD)
        finally:
            cluster.resume()
        destination.deliver(THIRD)
        assert [json.loads(event)["idempotency_key"] for event in kept_in_database(dsn)] == [FIRST.key, THIRD.key]
    finally:
        destination.close()


def test_a_malformed_connection_string_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        MESPostgreSQL("host=x hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
