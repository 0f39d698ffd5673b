# SPDX-License-Identifier: Apache-2.0
"""The station's REST interface and the files of its page: what they answer, and whom they refuse."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.core.work import WorkState
from birthmark.line.config import Position
from birthmark.line.people import WRONG_PINS_MAX
from birthmark.testing.lab.files import LEAD, LEAD_PIN, OPERATOR
from birthmark.web.json_body import BODY_MAX_BYTES
from birthmark.web.station import app as station_web
from birthmark.web.station.app import HEADERS
from support.asgi_client import HOST, ask, get
from support.station_bench import CHIPS, JSON, told
from support.station_bench import StationBench as Bench

DECISION = {"lead": LEAD, "pin": LEAD_PIN, "reason": "the label was wrong"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path).opened() as bench:
        yield bench


# --- scans and the floor ---------------------------------------------------------------------------------------


def test_scans_fill_a_panel_that_runs_and_ends(bench: Bench) -> None:
    for typed in (f"BM:OP:{OPERATOR}", "BM-000001\r\n"):
        assert bench.scan(typed).status == 200
    answer = json.loads(bench.scan("]C1BM-000002").body)
    assert (answer["phase"], answer["operator"], answer["role"]) == ("running", OPERATOR, "operator")
    bench.may_end.set()
    shown = bench.desk.shown_after(5, 20).floor
    while shown.phase.value != "shown":
        shown = bench.desk.shown_after(shown.version, 20).floor
    floor = bench.floor()
    assert [place["look"] for place in floor["places"]] == ["pass", "pass"]
    assert (floor["panel_s"], floor["units_last_hour"], floor["outbox"]) == (1.0, 2, 1)
    assert floor["last"][0]["unit"] == "BM-000002"
    assert bench.ran == [
        ((Position(unit="BM-000001", chip=CHIPS[0]), Position(unit="BM-000002", chip=CHIPS[1])), OPERATOR)
    ]


@pytest.mark.parametrize(
    ("typed", "status", "finding"),
    [
        ("", 422, "line.scan.empty"),
        ("what is this", 422, "line.scan.unknown"),
        ("x" * 300, 422, "line.scan.too-long"),
        ("BM:OP:mallory", 422, "line.scan.stranger"),
        ("BM-000001", 409, "line.scan.nobody"),
        ("BM:START", 409, "line.scan.nobody"),
    ],
)
def test_a_refused_scan_says_why_and_stands_on_the_floor(bench: Bench, typed: str, status: int, finding: str) -> None:
    answer = bench.scan(typed)
    assert (answer.status, told(answer)) == (status, finding)
    shown = bench.floor()["told"]
    assert shown["finding"] == finding
    assert shown["scanned"].startswith(typed[:64])


def test_control_characters_are_stripped_and_shown_when_the_scan_is_refused(bench: Bench) -> None:
    bench.scan(f"BM:OP:{OPERATOR}")
    assert bench.scan("\x02BM-000\x1d001\x03\r\n").status == 200
    assert bench.floor()["places"][0]["unit"] == "BM-000001"
    bench.scan("<script>\x1b[2J")
    assert bench.floor()["told"]["scanned"] == "<script>\\x1b[2J"


def test_whoever_waits_for_news_has_them_at_once(bench: Bench) -> None:
    version = bench.floor()["version"]
    threading.Timer(0.2, bench.desk.scan, [f"BM:OP:{OPERATOR}"]).start()
    answer = json.loads(get(bench.app, f"/v1/floor?after={version}").body)
    assert answer["operator"] == OPERATOR
    assert answer["version"] != version


@pytest.mark.parametrize("after", ["", "another-5", "-5", "x", "9" * 5000])
def test_a_version_of_another_run_or_none_is_answered_at_once(bench: Bench, after: str) -> None:
    assert get(bench.app, f"/v1/floor?after={after}").status == 200
    session = bench.floor()["version"].split("-")[0]
    assert get(bench.app, f"/v1/floor?after={session}-{'9' * 5000}").status == 200


def test_without_news_the_same_floor_comes_in_the_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_web, "PATIENCE_S", 0.05)
    version = bench.floor()["version"]
    assert json.loads(get(bench.app, f"/v1/floor?after={version}").body)["version"] == version


def test_the_station_says_what_it_is(bench: Bench) -> None:
    station = json.loads(get(bench.app, "/v1/station").body)
    assert (station["rig"], station["positions"], station["takt_s"], station["leads"]) == ("rig-a", 2, 2.0, [LEAD])
    assert "pin" not in json.dumps(station).lower()


# --- a lead's decisions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["override", "rework"])
def test_a_lead_lets_a_unit_go_on_and_it_stands_in_its_history(bench: Bench, act: str) -> None:
    bench.quarantine("BM-000001")
    answer = bench.post(f"/v1/units/BM-000001/{act}", DECISION)
    assert (answer.status, json.loads(answer.body)["state"]) == (200, "open")
    record = json.loads(get(bench.app, "/v1/units/BM-000001").body)
    assert (record["by"], record["reason"]) == (LEAD, DECISION["reason"])
    assert [change["state"] for change in record["history"]] == ["in-work", "quarantined", "open"]
    assert LEAD_PIN not in answer.body + json.dumps(record)


@pytest.mark.parametrize(
    ("changes", "status", "finding"),
    [
        ({"lead": OPERATOR}, 403, "line.lead.role"),
        ({"lead": "mallory"}, 403, "line.lead.role"),
        ({"pin": "000000"}, 403, "line.lead.pin"),
        ({"pin": ""}, 403, "line.lead.pin"),
        ({"reason": " "}, 422, "line.unit.reason"),
        ({"reason": "x" * 201}, 422, "line.unit.reason"),
        ({"reason": "a\nb"}, 422, "line.unit.reason"),
    ],
)
def test_nobody_else_decides(bench: Bench, changes: dict[str, str], status: int, finding: str) -> None:
    bench.quarantine("BM-000001")
    answer = bench.post("/v1/units/BM-000001/override", {**DECISION, **changes})
    assert (answer.status, told(answer)) == (status, finding)
    assert bench.units.units(["BM-000001"])[0].state is WorkState.QUARANTINED


def test_wrong_pins_end_in_a_wait(bench: Bench) -> None:
    for _ in range(WRONG_PINS_MAX):
        bench.post("/v1/units/BM-000001/rework", {**DECISION, "pin": "000000"})
    answer = bench.post("/v1/units/BM-000001/rework", DECISION)
    assert (answer.status, told(answer)) == (429, "line.lead.wait")


def test_a_decision_that_does_not_fit_the_unit_is_refused(bench: Bench) -> None:
    answer = bench.post("/v1/units/BM-000009/override", DECISION)
    assert (answer.status, told(answer)) == (409, "line.unit.not-quarantined")
    assert told(bench.post("/v1/units/bm%209/override", DECISION)) == "id.malformed"


# --- who is refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example:8000", "[::1]:8000"])
def test_another_host_name_is_refused(bench: Bench, host: str) -> None:
    for method, target in (("GET", "/v1/floor"), ("POST", "/v1/scan"), ("GET", "/")):
        answer = ask(bench.app, method, target, {**JSON, "host": host}, b'{"typed": "BM:START"}')
        assert answer.status == 421
        assert HEADERS.items() <= answer.headers.items()


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8000"},
        {"origin": f"https://{HOST}"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_a_foreign_page_can_neither_scan_nor_decide(bench: Bench, headers: dict[str, str]) -> None:
    bench.quarantine("BM-000001")
    assert bench.post("/v1/scan", {"typed": f"BM:OP:{OPERATOR}"}, **headers).status == 403
    assert bench.post("/v1/units/BM-000001/override", DECISION, **headers).status == 403
    assert bench.floor()["operator"] == ""
    assert bench.units.units(["BM-000001"])[0].state is WorkState.QUARANTINED


def test_a_foreign_page_cannot_read_either(bench: Bench) -> None:
    assert ask(bench.app, "GET", "/v1/floor", {"sec-fetch-site": "cross-site"}).status == 403


def test_our_own_page_is_heard(bench: Bench) -> None:
    headers = {"origin": f"http://{HOST}", "sec_fetch_site": "same-origin"}
    assert bench.post("/v1/scan", {"typed": f"BM:OP:{OPERATOR}"}, **headers).status == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": "text/plain"}, b'{"typed": "x"}', 415),
        ({"content-type": "application/x-www-form-urlencoded"}, b"typed=x", 415),
        ({}, b'{"typed": "x"}', 415),
        (JSON, b"", 400),
        (JSON, b"[]", 400),
        (JSON, b'{"typed": 1}', 400),
        (JSON, b'{"typed": "x", "more": 1}', 400),
        (JSON, b'{"typed": "x", "typed": "y"}', 400),
        (JSON, b'{"typed": "\xff"}', 400),
        (JSON, b'{"typed": "' + b"x" * BODY_MAX_BYTES + b'"}', 413),
    ],
)
def test_a_body_is_a_small_json_object_and_nothing_else(
    bench: Bench, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = ask(bench.app, "POST", "/v1/scan", headers, body)
    assert answer.status == status
    assert told(answer)


def test_what_is_no_call_is_refused_like_all_else(bench: Bench) -> None:
    for method, target in (("GET", "/v1/nothing"), ("DELETE", "/v1/scan")):
        refused = json.loads(ask(bench.app, method, target, {}).body)
        assert (refused["finding"], refused["message"]) == ("line.station.call", f"there is no call {method} {target}")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/station.js", 200),
        ("GET", "/language.json", 200),
        ("GET", "/app.py", 404),
        ("GET", "/languages/en.json", 404),
        ("GET", "/../app.py", 404),
        ("GET", "/v1/scan", 405),
        ("POST", "/v1/floor", 405),
        ("DELETE", "/v1/units/BM-000001", 405),
    ],
)
def test_every_answer_carries_the_security_headers(bench: Bench, method: str, target: str, status: int) -> None:
    answer = ask(bench.app, method, target, {})
    assert answer.status == status
    assert HEADERS.items() <= answer.headers.items()


def test_the_policy_allows_what_is_ours_and_nothing_inline() -> None:
    policy = HEADERS["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_a_language_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="de, en"):
        Bench(tmp_path, language="tlh")


def test_a_scan_while_the_station_is_switched_off_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench.desk.open():
        pass
    assert told(bench.scan(f"BM:OP:{OPERATOR}")) == "line.scan.ending"
    bench.units.close()
