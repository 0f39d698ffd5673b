# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 5: "The MES was down for two hours." The line stops, or goes on with flags; afterwards every event arrives.

Three MES at once: a file, tables in PostgreSQL, and a webhook (an HTTPS server in its own process). The hours are
events: more wait than the policy allows.
"""

import json
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from birthmark.testing.lab.record import Lab
from support.labs import PROGRAM, birthmark, one_board_panel, running_lab
from support.postgres import PostgreSQL, postgresql
from support.tls_files import TLSFiles, write_key
from support.webhook_receiver import WebhookMES, webhook_mes

BOARDS = 6
EVENTS_OF_A_RUN = 8
MES = ("mes-file", "mes-postgres", "mes-webhook")
POISONED = {"event": "unit.verdict", "unit": "BM-000003"}
Event = dict[str, Any]


@dataclass
class Factory:
    """A lab whose rig-a tells three MES, which can all be down."""

    lab: Lab
    file: Path
    database: PostgreSQL
    called: WebhookMES

    @property
    def config(self) -> str:
        return self.lab.rig_configs["rig-a"]

    def configure(self, **keys: object) -> None:
        path = Path(self.config)
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
        path.write_text(lines + path.read_text())

    def run(self, number: int) -> list[Event]:
        """Run a panel with the one board and return what was said."""
        done = birthmark("line", "run", "--config", self.config, "--panel", one_board_panel(self.lab, number), "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def deliver(self) -> list[Event]:
        done = birthmark("line", "deliver", "--config", self.config, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def outbox(self, *arguments: str) -> dict[str, Any]:
        done = birthmark("line", "outbox", *arguments, "--config", self.config, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    @contextmanager
    def down(self) -> Iterator[None]:
        """All three are away."""
        aside = self.file.parent.rename(self.file.parent.with_name("away"))
        self.database.stop()
        self.called.stop()
        try:
            yield
        finally:
            aside.rename(self.file.parent)
            self.database.start()
            self.called.start()

    def held(self, mes: str) -> list[Event]:
        """Return what a MES has, in the order of its arrival."""
        match mes:
            case "mes-file":
                return [json.loads(line) for line in self.file.read_text().splitlines()]
            case "mes-webhook":
                return self.called.taken()
            case _:
                return rows(self.database)

    def sequences(self, mes: str) -> list[int]:
        return [event["sequence"] for event in self.held(mes)]


def rows(database: PostgreSQL) -> list[Event]:
    with psycopg.connect(database.dsn) as connection:
        found = connection.execute("select body from event order by xmin::text::bigint").fetchall()
        births = connection.execute("select count(*) from birth").fetchone()
    events = [body for (body,) in found]
    assert births == (sum(event["event"] == "unit.born" for event in events),)
    return events


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    with postgresql() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebhookMES]:
    folder = tmp_path_factory.mktemp("mes")
    files = TLSFiles(folder, datetime.now(UTC))
    files.server()
    (folder / "trust.pem").write_bytes(files.trust)
    write_key(folder / "secret", secrets.token_hex(32).encode())
    with webhook_mes(folder) as mes:
        yield mes


@pytest.fixture
def factory(tmp_path_factory: pytest.TempPathFactory, database: PostgreSQL, called: WebhookMES) -> Iterator[Factory]:
    (called.folder / "taken").unlink(missing_ok=True)
    called.stop()
    called.start()
    with psycopg.connect(database.dsn) as connection:
        connection.execute("drop table if exists birth, event")
    with running_lab(tmp_path_factory.mktemp("lab"), boards=BOARDS) as lab:
        config = Path(lab.rig_configs["rig-a"])
        write_key(config.parent / "mes.dsn", database.dsn.encode())
        webhook = f'[mes_webhook]\nurl = "{called.url}"\ntrust = "{called.folder / "trust.pem"}"\n'
        config.write_text(f'{config.read_text()}\n{webhook}key_file = "{called.folder / "secret"}"\ntimeout_s = 5.0\n')
        made = Factory(lab, Path(lab.births), database, called)
        made.configure(mes_postgres_dsn_file="mes.dsn", deliver_wait_s=3.0, deliver_retry_s=0.2, hold_retry_s=0.2)
        yield made


def of(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


@contextmanager
def one_poison_event(factory: Factory) -> Iterator[None]:
    """Both MES that can say no, say no to one unit's verdict."""
    with psycopg.connect(factory.database.dsn) as connection:
        condition = f"check (event <> '{POISONED['event']}' or unit <> '{POISONED['unit']}')"
        connection.execute(f"alter table event add constraint poison {condition}".encode())
    factory.called.order(status=422, of=POISONED)
    yield
    with psycopg.connect(factory.database.dsn) as connection:
        connection.execute("alter table event drop constraint poison")
    factory.called.order()


def test_the_line_goes_on_with_flags_and_afterwards_every_event_arrives_in_order_and_once(factory: Factory) -> None:
    factory.configure(mes_policy="hold-flags", mes_waiting_limit=20)
    assert of(factory.run(0), "panel.end")[0]["outbox"] == 0
    with one_poison_event(factory):
        with factory.down():
            said = [factory.run(number) for number in range(1, BOARDS)]
            assert [of(events, "verdict")[0]["verdict"] for events in said] == ["PASS"] * (BOARDS - 1)
            # 1, 9 and 17 events wait when the first three begin: not too many.
            flagged = [of(events, "panel.start")[0]["mes_hold"] for events in said]
            assert flagged == [False, False, False, True, True]
            assert {event["destination"] for event in of(said[-1], "mes.behind")} == set(MES)
            assert "since 20" in of(said[-1], "mes.behind")[0]["what"]
            assert of(said[-1], "panel.end")[0]["outbox"] == 3 * EVENTS_OF_A_RUN * (BOARDS - 1)
        last = EVENTS_OF_A_RUN * BOARDS
        alarms = of(factory.deliver(), "alarm")
        assert {alarm["destination"] for alarm in alarms} == {"mes-postgres", "mes-webhook"}
        (poison,) = {alarm["sequence"] for alarm in alarms}
        assert {alarm["unit"] for alarm in alarms} == {POISONED["unit"]}
        assert factory.sequences("mes-file") == list(range(1, last + 1))
        for mes in ("mes-postgres", "mes-webhook"):
            assert factory.sequences(mes) == [number for number in range(1, last + 1) if number != poison]
        standings = factory.outbox("list")
        assert {each["destination"]: each["waiting"] for each in standings["destinations"]} == dict.fromkeys(
            ("ca", *MES), 0
        )
        assert [(each["destination"], each["sequence"]) for each in standings["parked"]] == [
            ("mes-postgres", poison),
            ("mes-webhook", poison),
        ]
    assert factory.outbox("retry", "mes-postgres", str(poison)) == {"retried": 1}
    assert of(factory.deliver(), "deliver.end") == [{"event": "deliver.end", "outbox": 0}]
    for mes in ("mes-postgres", "mes-webhook"):  # deliver offers what is parked by itself
        assert factory.sequences(mes)[-1] == poison
    check_all_have_everything_once(factory, last)
    births = of(factory.held("mes-file"), "unit.born")
    assert [birth["record"]["mes_hold"] for birth in births] == [False, *flagged]


def test_the_line_stops_with_one_message_and_goes_on_alone_when_the_mes_is_back(factory: Factory) -> None:
    factory.configure(mes_policy="stop", mes_waiting_limit=12)
    with factory.down():
        for number in (0, 1):
            factory.run(number)
        panel = one_board_panel(factory.lab, 2)
        command = [*PROGRAM, "line", "run", "--config", factory.config, "--panel", str(panel), "--json"]
        line = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert line.stdout is not None
        hold = json.loads(line.stdout.readline())
        assert (hold["event"], hold["finding"]) == ("hold", "line.mes.behind")
        for mes in MES:
            assert f"17 events wait for {mes}, since 20" in hold["what"]
        assert "birthmark line outbox list" in hold["hint"]
    out, err = line.communicate(timeout=60)
    assert line.returncode == 0, err
    said = [json.loads(each) for each in out.splitlines()]
    assert [event["event"] for event in said if event["event"] in {"hold", "resume", "panel.start"}] == [
        "resume",
        "panel.start",
    ]
    assert of(said, "verdict")[0]["verdict"] == "PASS"
    factory.deliver()
    told = [event["event"] for event in factory.held("mes-file")]
    assert told[17:20] == ["line.held", "line.resumed", "panel.begun"]
    assert all(factory.sequences(mes) == list(range(1, len(told) + 1)) for mes in MES)
    check_all_have_everything_once(factory, 3 * EVENTS_OF_A_RUN + 2)
    assert not any(event["mes_hold"] for event in factory.held("mes-file"))


def test_the_stop_is_told_to_people_in_one_line(factory: Factory) -> None:
    factory.configure(mes_policy="stop", mes_waiting_limit=1, hold_limit_s=1.0)
    with factory.down():
        factory.run(0)
        panel = one_board_panel(factory.lab, 1)
        done = birthmark("line", "run", "--config", factory.config, "--panel", panel)
        assert (done.returncode, done.stdout) == (5, "")
        held = [line for line in done.stderr.splitlines() if line.startswith("HOLD  ")]
        assert len(held) == 1
        assert "9 events wait for mes-file, since 20" in held[0]
        assert "birthmark: line.hold.limit: held for 1 s: " in done.stderr
    factory.deliver()
    told = [event["event"] for event in factory.held("mes-file")]
    assert told[EVENTS_OF_A_RUN:] == ["rig.started", "line.held", "line.resumed", "rig.ended"]
    check_all_have_everything_once(factory, len(told))


def check_all_have_everything_once(factory: Factory, last: int) -> None:
    """Each number and each key once, the same everywhere; nothing waits, and nothing is parked."""
    for mes in MES:
        held = factory.held(mes)
        assert sorted(event["sequence"] for event in held) == list(range(1, last + 1)), mes
        assert len({event["idempotency_key"] for event in held}) == last
        assert len({event["journal"] for event in held}) == 1
        assert {event["idempotency_key"] for event in held} == {
            event["idempotency_key"] for event in factory.held("mes-file")
        }
    standings = factory.outbox("list")
    assert standings["parked"] == []
    assert all(each["waiting"] == 0 for each in standings["destinations"])
