# SPDX-License-Identifier: Apache-2.0
"""`/v1/panels`: what a program runs with one call is run once; and whose programs are answered at all."""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml

from birthmark.core.errors import ConfigError
from birthmark.line.config import Position
from birthmark.line.station.calls import CALLS_MAX, Calls, PanelCall
from birthmark.net.asgi import LoopbackServer
from birthmark.testing.lab.files import OPERATOR
from birthmark.web.station.panels import WAIT_MAX_S
from birthmark.web.users import UsersOnly, uids
from support.asgi_client import Answer, get
from support.station_bench import CHIPS, MOMENT, StationBench, told

UNITS = ["BM-000001", "BM-000002"]
CALL = {"key": "ts-1", "units": UNITS, "operator": OPERATOR}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StationBench]:
    with StationBench(tmp_path).opened() as bench:
        yield bench


def panel(answer: Answer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(answer.body)
    return body


def test_one_call_runs_a_panel_and_waits_for_its_verdicts(bench: StationBench) -> None:
    begun = bench.post("/v1/panels", CALL)
    assert (begun.status, panel(begun)["state"], panel(begun)["verdict"]) == (202, "running", "")
    bench.may_end.set()
    ended = panel(get(bench.app, "/v1/panels/ts-1?wait_s=20"))
    assert (ended["state"], ended["verdict"], ended["passed"], ended["operator"]) == ("done", "PASS", 2, OPERATOR)
    assert [(place["unit"], place["verdict"]) for place in ended["places"]] == [(unit, "PASS") for unit in UNITS]
    assert bench.ran == [((Position(UNITS[0], CHIPS[0]), Position(UNITS[1], CHIPS[1])), OPERATOR)]


def test_the_call_itself_may_wait(bench: StationBench) -> None:
    bench.may_end.set()
    answer = bench.post("/v1/panels?wait_s=20", CALL)
    assert (answer.status, panel(answer)["state"]) == (200, "done")
    assert "\n" not in answer.body


def test_the_same_call_again_runs_nothing_again(bench: StationBench) -> None:
    first = bench.post("/v1/panels", CALL)
    assert panel(bench.post("/v1/panels", CALL))["began"] == panel(first)["began"]
    bench.may_end.set()
    for _ in range(3):
        assert bench.post("/v1/panels?wait_s=20", CALL).status == 200
    assert len(bench.ran) == 1


def test_many_at_the_same_time_run_one_panel(bench: StationBench) -> None:
    bench.may_end.set()
    answers: list[Answer] = []
    callers = [
        threading.Thread(target=lambda: answers.append(bench.post("/v1/panels?wait_s=20", CALL))) for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert {answer.body for answer in answers} == {answers[0].body}
    assert len(bench.ran) == 1


def test_a_key_is_that_of_one_panel(bench: StationBench) -> None:
    bench.post("/v1/panels", CALL)
    answer = bench.post("/v1/panels", {**CALL, "units": ["BM-000009"]})
    assert (answer.status, told(answer)) == (409, "line.station.key")


def test_places_without_a_unit_are_skipped(bench: StationBench) -> None:
    bench.may_end.set()
    places = panel(bench.post("/v1/panels?wait_s=20", {**CALL, "units": [None, "BM-000002"]}))["places"]
    assert [(place["unit"], place["verdict"]) for place in places] == [("", "SKIP"), ("BM-000002", "PASS")]
    places = panel(bench.post("/v1/panels?wait_s=20", {"key": "ts-2", "units": ["BM-000003"]}))["places"]
    assert [place["verdict"] for place in places] == ["PASS", "SKIP"]
    assert bench.ran[1][0] == (Position("BM-000003", CHIPS[0]), Position(bad=True))


@pytest.mark.parametrize(
    ("changes", "status", "finding"),
    [
        ({"units": []}, 409, "line.scan.nothing"),
        ({"units": [None, None]}, 409, "line.scan.nothing"),
        ({"units": [*UNITS, "BM-000003"]}, 409, "line.scan.full"),
        ({"units": ["BM-000001", "BM-000001"]}, 409, "line.scan.twice"),
        ({"units": ["bm 1"]}, 400, "id.malformed"),
        ({"units": "BM-000001"}, 400, "decode.malformed"),
        ({"operator": "mallory"}, 422, "line.scan.stranger"),
        ({"operator": ""}, 409, "line.scan.nobody"),
        ({"key": ""}, 422, "line.station.form"),
        ({"key": "a/b"}, 422, "line.station.form"),
        ({"key": "x" * 65}, 422, "line.station.form"),
        ({"more": 1}, 400, "decode.malformed"),
    ],
)
def test_a_refused_call_changes_nothing(
    bench: StationBench, changes: dict[str, Any], status: int, finding: str
) -> None:
    before = bench.floor()["version"]
    answer = bench.post("/v1/panels", {**CALL, **changes})
    assert (answer.status, told(answer)) == (status, finding)
    assert bench.floor()["version"] == before
    assert bench.ran == []
    assert get(bench.app, "/v1/panels/ts-1").status == 404


def test_a_program_does_not_take_the_places_that_a_person_is_filling(bench: StationBench) -> None:
    bench.scan(f"BM:OP:{OPERATOR}")
    bench.scan("BM-000007")
    assert told(bench.post("/v1/panels", CALL)) == "line.station.taken"
    bench.scan("BM:CLEAR")
    assert bench.post("/v1/panels", CALL).status == 202
    assert told(bench.post("/v1/panels", {**CALL, "key": "ts-2"})) == "line.scan.running"


def test_a_panel_of_which_nobody_knows_is_not_there(bench: StationBench) -> None:
    for target in ("/v1/panels/ts-9", "/v1/panels/ts-9/junit"):
        answer = get(bench.app, target)
        assert (answer.status, told(answer)) == (404, "line.station.unknown")


@pytest.mark.parametrize("wait_s", ["-1", "x", "1e9", "nan", f"{WAIT_MAX_S + 1:g}", "9" * 5000])
def test_nobody_waits_for_ever(bench: StationBench, wait_s: str) -> None:
    bench.post("/v1/panels", CALL)
    assert get(bench.app, f"/v1/panels/ts-1?wait_s={wait_s}").status == 400


def test_a_panel_that_stopped_says_why(bench: StationBench) -> None:
    bench.post("/v1/panels", CALL)
    bench.desk._stopped("the disk is full", "line.disk")
    stopped = panel(get(bench.app, "/v1/panels/ts-1"))
    assert (stopped["state"], stopped["verdict"], stopped["finding"]) == ("stopped", "FAIL", "line.disk")


def test_the_panel_is_there_as_junit_once_it_has_ended(bench: StationBench) -> None:
    bench.post("/v1/panels", CALL)
    assert told(get(bench.app, "/v1/panels/ts-1/junit")) == "line.scan.running"
    bench.may_end.set()
    get(bench.app, "/v1/panels/ts-1?wait_s=20")
    answer = get(bench.app, "/v1/panels/ts-1/junit")
    assert answer.headers["content-type"] == "application/xml"
    (suite,) = JUnitXml.fromstring(answer.body.encode())
    assert (suite.tests, suite.failures, suite.errors) == (2, 0, 0)


def test_the_oldest_calls_are_forgotten() -> None:
    calls = Calls()
    for number in range(CALLS_MAX + 1):
        calls.begin(PanelCall(f"ts-{number}", ("BM-000001",)), 1, MOMENT)
    assert calls.known(PanelCall("ts-0", ("BM-000001",))) is None
    assert calls.known(PanelCall("ts-1", ("BM-000001",))) is not None


# --- whose programs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", "/station.js", "/v1/floor", "/v1/panels/ts-1"])
def test_another_user_of_the_machine_is_refused(bench: StationBench, target: str) -> None:
    """Over a real connection: the kernel says that it is ours, and ours is not among the users."""
    nobody = frozenset({os.geteuid() + 1})
    server = LoopbackServer(UsersOnly(bench.app, nobody), 0)
    thread = threading.Thread(target=server.run_until_stopped, args=[lambda _url: None])
    thread.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server.url + target)  # noqa: S310 our own server
    finally:
        server.stop()
        thread.join()
    with refused.value as answer:
        assert answer.code == 403
        assert json.loads(answer.read())["finding"] == "line.station.user"


def test_a_connection_that_nobody_knows_is_refused(bench: StationBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("birthmark.web.users.neighbour", lambda _scope: None)
    assert told(bench.scan(f"BM:OP:{OPERATOR}")) == "line.station.user"


def test_users_are_named_and_ourselves_and_root_are_always_among_them() -> None:
    assert uids(["root"]) == {0, os.geteuid()}
    with pytest.raises(ConfigError, match="no user 'nobody-of-that-name'"):
        uids(["nobody-of-that-name"])
