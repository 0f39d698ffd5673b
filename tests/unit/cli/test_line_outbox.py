# SPDX-License-Identifier: Apache-2.0
"""`birthmark line outbox`, as people type it."""

import json
from pathlib import Path
from typing import Any

import pytest

from birthmark.core.delivery import Wants
from birthmark.stores.line_sqlite import LineSQLite
from support.labs import birthmark
from support.parcels import started
from support.rig_files import RIG


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A rig with three events that wait, the first one parked, and a destination that it had before."""
    path = tmp_path / "rig.toml"
    path.write_text(RIG)
    routes = {"ca": Wants.BIRTHS, "mes-file": Wants.EVERYTHING, "mes-old": Wants.EVERYTHING}
    with LineSQLite(tmp_path / "rig.sqlite", routes) as store:
        for number in range(1, 4):
            store.journal((), (started(f"BM-00000{number}"),))
        first = store.parcels("mes-file", 1)[0]
        store.parked(first, "delivery.refused: no such order", "2026-05-04T12:00:01.000+00:00")
        store.deferred(store.parcels("mes-file", 1)[0], "delivery.deferred: away", "2026-05-04T13:00:00.000+00:00")
    return path


def outbox(config: Path, *arguments: str) -> dict[str, Any]:
    done = birthmark("line", "outbox", *arguments, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_list_says_what_waits_and_what_is_parked(config: Path) -> None:
    found = outbox(config, "list")
    ca, mes, old = found["destinations"]
    assert (ca["destination"], ca["wants"], ca["waiting"], ca["parked"]) == ("ca", "births", 0, 0)
    assert (mes["waiting"], mes["parked"], mes["attempts"], mes["reason"]) == (2, 1, 1, "delivery.deferred: away")
    assert (old["destination"], old["waiting"], old["configured"]) == ("mes-old", 3, False)
    (parked,) = found["parked"]
    assert (parked["destination"], parked["sequence"], parked["unit"]) == ("mes-file", 1, "BM-000001")
    text = birthmark("line", "outbox", "list", "--config", config).stdout
    whole = text.splitlines()
    assert any(line.startswith("mes-old") and line.endswith("not in rig.toml any more") for line in whole), text
    assert any("mes-file" in line and line.endswith("delivery.refused: no such order") for line in whole), text


def test_one_event_is_shown_with_how_it_stands(config: Path) -> None:
    found = outbox(config, "show", "1")
    assert found["event"]["unit"] == "BM-000001"
    assert found["destinations"] == {
        "ca": "not wanted",
        "mes-file": "parked: delivery.refused: no such order",
        "mes-old": "waiting",
    }
    text = birthmark("line", "outbox", "show", "2", "--config", config).stdout
    assert '"event": "unit.started"' in text
    assert "mes-file      waiting" in text


def test_what_is_parked_is_let_go_and_what_waits_is_parked_by_a_person(config: Path) -> None:
    assert outbox(config, "retry", "mes-file") == {"retried": 1}
    assert outbox(config, "list")["parked"] == []
    decided = ("--by", "ada", "--reason", "the MES chokes on it")
    done = birthmark("line", "outbox", "park", "mes-file", "2", *decided, "--config", config)
    assert done.stdout == "event 2 is parked for mes-file\n"
    (parked,) = outbox(config, "list")["parked"]
    assert (parked["sequence"], parked["reason"]) == (2, "by ada: the MES chokes on it")
    assert outbox(config, "retry", "mes-file", "2") == {"retried": 1}


def test_a_destination_that_is_no_more_is_forgotten(config: Path) -> None:
    assert birthmark("line", "outbox", "forget", "mes-old", "--config", config).returncode == 0
    assert [each["destination"] for each in outbox(config, "list")["destinations"]] == ["ca", "mes-file"]


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("show", "9"), "line.outbox.no-event"),
        (("retry", "mes-file", "2"), "line.outbox.not-parked"),
        (("retry", "mes-x"), "line.outbox.destination"),
        (("park", "ca", "2", "--by", "ada", "--reason", "x"), "line.outbox.not-waiting"),
        (("park", "mes-file", "2", "--by", "ada", "--reason", " "), "line.outbox.reason"),
        (("forget", "mes-file"), "line.outbox.configured"),
    ],
)
def test_what_does_not_fit_is_refused(config: Path, arguments: tuple[str, ...], finding: str) -> None:
    done = birthmark("line", "outbox", *arguments, "--config", config)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"birthmark: {finding}: " in done.stderr


def test_a_damaged_event_can_be_looked_at(config: Path, tmp_path: Path) -> None:
    with LineSQLite(tmp_path / "rig.sqlite") as store:
        store._file.write("update event set body = '{torn' where sequence = 2")
    assert outbox(config, "show", "2")["event"] == {"damaged": "{torn"}
