# SPDX-License-Identifier: Apache-2.0
"""Several workers, one view: what each has counted is added up, and what a dead one had waiting is forgotten."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from birthmark.ca.watch.metrics import LedgerCollector, page_of
from support.ca_parts import CAParts

WORKER = """
import sys
from prometheus_client import CollectorRegistry
from birthmark.ca.watch.metrics import Meter
from birthmark.ca.watch.observation import Decision
meter = Meter(CollectorRegistry())
for _ in range(3):
    meter.decided(Decision(at="", request="", method="GET", path="", operation="crl", status=200, ms=1.0))
failed = dict(operation="crl", status=503, ms=9, finding="ca.signer")
meter.decided(Decision(at="", request="", method="GET", path="", **failed))
meter.settled(2, 7)
print("ready", flush=True)
sys.stdin.read()
"""


def numbers(page: bytes) -> dict[str, float]:
    found = re.findall(r"^([^# ][^ ]*(?:\{.*\})?) (\S+)$", page.decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.fixture
def worker_command(tmp_path: Path) -> dict[str, object]:
    return {
        "args": [sys.executable, "-c", WORKER],
        "env": {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"},
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "text": True,
    }


def test_two_workers_are_told_as_one_and_a_dead_one_has_nothing_waiting(
    tmp_path: Path, worker_command: dict[str, object]
) -> None:
    parts = CAParts()
    workers = [subprocess.Popen(**worker_command) for _ in range(2)]  # type: ignore[call-overload] # one table of options
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        page = page_of(CollectorRegistry(), LedgerCollector(parts.store, parts.clock), tmp_path)
        both = numbers(page())
        workers[0].kill()
        workers[0].wait()
        one = numbers(page())
    finally:
        for worker in workers:
            worker.communicate()
    granted = 'birthmark_ca_requests_total{finding="",operation="crl",status="200"}'
    assert (both[granted], one[granted]) == (6, 6)
    assert (both["birthmark_ca_signer_errors_total"], both["birthmark_ca_batch_jobs_count"]) == (2, 2)
    assert (both["birthmark_ca_waiting_jobs"], one["birthmark_ca_waiting_jobs"]) == (14, 7)


def test_a_ledger_that_cannot_be_read_is_told_and_the_rest_still_is() -> None:
    parts = CAParts()
    collector = LedgerCollector(parts.store, parts.clock)
    parts.store.close()
    assert numbers(page_of(CollectorRegistry(), collector, None)()) == {"birthmark_ca_ledger_readable": 0}


def test_an_entry_that_waits_for_a_checkpoint_shows() -> None:
    parts = CAParts()
    parts.born(parts.board())
    parts.clock.forward(seconds=90)
    found = numbers(page_of(CollectorRegistry(), LedgerCollector(parts.store, parts.clock), None)())
    assert found["birthmark_ca_log_lag_seconds"] == 90
    assert found['birthmark_ca_certificates{state="issued"}'] == 1
    assert found['birthmark_ca_order_places{fate="unconfirmed",order="order-1"}'] == 1
