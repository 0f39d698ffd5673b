# SPDX-License-Identifier: Apache-2.0
"""One decision per request: in the log, in the metrics, under one id; and nothing secret in either."""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from birthmark import ca as ca_package
from birthmark.ca.config import load_config
from birthmark.ca.errors import NotNow
from birthmark.ca.watch.journal import json_line, text_line
from birthmark.ca.watch.observation import KNOWN, OTHER, Decision, Observed, note, operation_of
from birthmark.core.errors import ConfigError, StoreError
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.errors import ESTClientRefused
from birthmark.net.asgi import Receive, Scope, Send
from support.asgi_client import get
from support.ca_parts import NOW
from support.ca_process import CAFiles, RunningCA, running_ca

UNIT = "BM-000001"
DECISION = Decision(
    at="2026-11-23T12:00:00.000+00:00",
    request="a-1",
    method="POST",
    path="/.well-known/est/order-1/simpleenroll",
    operation="simpleenroll",
    status=403,
    ms=1.25,
    finding="ca.5.key",
)


@pytest.fixture(scope="module", params=["one process", "shared folder"])
def ca(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    folder = 'folder = "metrics"\n' if request.param == "shared folder" else ""
    text = files.config.read_text()
    files.config.write_text(f'log_format = "json"\n{text}\n[metrics]\nport = 0\n{folder}')
    with running_ca(files) as running:
        yield running


def lines(ca: RunningCA) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ca.files.folder.joinpath("ca.log").read_text().splitlines()]


def metrics(ca: RunningCA) -> dict[str, float]:
    *_, told = (line["message"] for line in lines(ca) if line.get("logger") == "birthmark.ca.watch.metrics_http")
    with urllib.request.urlopen(told.partition(" at ")[2], timeout=10) as answer:  # noqa: S310 http, on loopback
        body = answer.read().decode()
    samples = (line.rpartition(" ") for line in body.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in samples}


def test_every_request_is_one_line_of_json_and_counted(ca: RunningCA) -> None:
    board = ca.files.board(UNIT)
    before = metrics(ca)
    nonce = ca.est("rig-a").nonce(PKIX_EVIDENCE, UNIT).nonce
    csr = board.csr(nonce)
    ca.est("rig-a").simpleenroll(csr)
    with pytest.raises(ESTClientRefused) as refused:
        ca.est("rig-a").simpleenroll(csr[:-1])
    after = metrics(ca)
    granted = 'birthmark_ca_requests_total{finding="",operation="simpleenroll",status="200"}'
    assert after[granted] == before.get(granted, 0) + 1
    status, finding = refused.value.status, refused.value.finding
    counted = f'birthmark_ca_requests_total{{finding="{finding}",operation="simpleenroll",status="{status}"}}'
    assert after[counted] == before.get(counted, 0) + 1
    assert after["birthmark_ca_batch_jobs_count"] >= 2
    assert after['birthmark_ca_request_seconds_count{operation="simpleenroll"}'] >= 2
    decisions = [line for line in lines(ca) if "request" in line]
    assert {"simpleenroll", "nonce"} <= {line["operation"] for line in decisions}
    assert len({line["request"] for line in decisions}) == len(decisions)
    told = ca.files.folder.joinpath("ca.log").read_text()
    assert nonce.hex() not in told
    assert "BEGIN" not in told


def test_what_the_ledger_holds_is_told(ca: RunningCA) -> None:
    found = metrics(ca)
    assert found["birthmark_ca_ledger_readable"] == 1
    assert {"birthmark_ca_log_entries", "birthmark_ca_log_lag_seconds", "birthmark_ca_open_nonces"} <= set(found)
    assert found['birthmark_ca_order_places{fate="ordered",order="order-1"}'] == 100


def test_nothing_but_the_metrics_is_served_there(ca: RunningCA) -> None:
    (told,) = (line["message"] for line in lines(ca) if line.get("logger") == "birthmark.ca.watch.metrics_http")
    url = told.partition(" at ")[2]
    assert url.startswith("http://127.0.0.1:")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/metrics", "/"), timeout=10)  # noqa: S310 http, on loopback
    refused.value.close()
    assert refused.value.code == 404


@pytest.mark.parametrize(("sent", "kept"), [("abc-123.X_y", True), ("a" * 64, True), ("a" * 65, False), ("a b", False)])
def test_a_plain_id_of_the_client_comes_back_and_another_does_not(ca: RunningCA, sent: str, kept: bool) -> None:  # noqa: FBT001 a column of the table
    answer = ca.transport().request("GET", "/.well-known/est/cacerts", {"X-Request-ID": sent})
    told = answer.headers["x-request-id"]
    assert (told == sent) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", told)


def test_an_answer_that_never_came_is_told_as_a_failure() -> None:
    heard: list[Decision] = []

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        get(Observed(broken, lambda: NOW, [heard.append]), "/v1/orders")
    assert [(each.status, each.operation) for each in heard] == [(500, "orders")]


def test_the_log_says_what_is_broken_and_the_client_does_not_hear_it() -> None:
    heard: list[Decision] = []

    async def not_now(scope: Scope, _receive: Receive, send: Send) -> None:
        error = NotNow("ca.store", "not now", retry_after_s=2)
        error.__cause__ = StoreError("the disk is full")
        note(scope, error)
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    get(Observed(not_now, lambda: NOW, [heard.append]), "/v1/orders")
    assert (heard[0].finding, heard[0].status) == ("ca.store", 503)
    assert "the disk is full" in heard[0].cause


@pytest.mark.parametrize(
    ("path", "operation"),
    [
        ("/.well-known/est/order-1/simpleenroll", "simpleenroll"),
        ("/.well-known/est/cacerts", "cacerts"),
        ("/.well-known/est/" + "x" * 1_000, OTHER),
        ("/v1/orders/order-1/units/BM-000001/scrap", "orders"),
        ("/v1/" + "y" * 1_000, OTHER),
        ("/", OTHER),
        ("", OTHER),
    ],
)
def test_operations_are_a_small_set_whatever_is_asked_for(path: str, operation: str) -> None:
    assert operation_of(path) == operation


def test_a_line_is_one_line_whatever_is_in_the_path() -> None:
    nasty = Decision(
        at="", request="a-1", method="GET", path='/\n\r\u2028"{}', operation=OTHER, status=404, ms=0.1, cause="a\nb"
    )
    assert json.loads(json_line(nasty))["path"] == nasty.path
    assert [line.count("\n") for line in (json_line(nasty), text_line(nasty))] == [1, 1]


def test_text_lines_say_the_finding_and_json_lines_leave_out_what_is_empty() -> None:
    assert "403 1.25 ms finding=ca.5.key\n" in text_line(DECISION)
    assert "cause" not in json.loads(json_line(DECISION))


ENROLLED = 'birthmark_ca_requests_total{finding="",operation="simpleenroll",status="200"}'
PATIENCE_S = 10


def test_two_workers_behind_a_front_are_told_as_one(tmp_path: Path) -> None:
    files = CAFiles(tmp_path)
    front = '[front]\nkind = "envoy"\nworkers = 2\n[metrics]\nport = 0\nfolder = "metrics"\n'
    files.config.write_text(f'log_format = "json"\n{files.config.read_text()}\n{front}')
    with running_ca(files) as ca:
        for number in range(8):
            unit = f"BM-{number:06}"
            ca.est("rig-a").simpleenroll(files.board(unit).csr(ca.est("rig-a").nonce(PKIX_EVIDENCE, unit).nonce))
        # An answer is counted once it is sent: the last one may be, a moment later.
        deadline = time.monotonic() + PATIENCE_S
        while (found := metrics(ca)).get(ENROLLED) != 8 and time.monotonic() < deadline:
            time.sleep(0.05)
    assert found[ENROLLED] == 8
    assert found['birthmark_ca_certificates{state="issued"}'] == 8


def test_several_workers_need_a_folder_for_their_numbers(tmp_path: Path) -> None:
    files = CAFiles(tmp_path)
    text = files.config.read_text()
    files.config.write_text(f'{text}\n[front]\nkind = "envoy"\nworkers = 2\n[metrics]\nport = 0\n')
    with pytest.raises(ConfigError, match="folder"):
        load_config(files.config)


def test_every_first_word_of_our_paths_is_an_operation() -> None:
    sources = "".join(path.read_text() for path in Path(str(ca_package.__file__)).parent.rglob("*.py"))
    served = set(re.findall(r'"/v1/([a-z.-]+)', sources))
    assert served
    assert served <= KNOWN
