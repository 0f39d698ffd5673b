# SPDX-License-Identifier: Apache-2.0
"""The whole CA behind a real Envoy: nothing is lost with a worker, and what it cannot start with is one clear line."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509

from birthmark.ca.wiring import open_ca
from birthmark.core.registry import PKIX_EVIDENCE
from support.ca_process import FRONT, CAFiles, RunningCA, running_ca
from support.front import children_of

UNITS = 60
KILLS = 4
START_TIME_S = 30


def with_front(folder: Path) -> CAFiles:
    files = CAFiles(folder)
    with files.config.open("a") as config:
        config.write(FRONT)
    return files


def enrolled(ca: RunningCA, unit: str) -> x509.Certificate:
    board = ca.files.board(unit)
    est = ca.est("rig-a")
    return est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, unit).nonce))


def test_workers_that_are_killed_under_load_cost_no_request_and_nothing_is_issued_twice(tmp_path: Path) -> None:
    with running_ca(with_front(tmp_path)) as ca, ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(enrolled, ca, f"BM-{number:06d}") for number in range(UNITS)]
        for _ in range(KILLS):
            time.sleep(0.3)
            for pid in children_of(ca.process.pid, "birthmark.ca.worker")[:1]:
                os.kill(pid, signal.SIGKILL)
        issued = {answer.result().serial_number for answer in answers}
    with open_ca(ca.files.config) as authority:
        rows = list(authority.certificates())
    assert len(issued) == len(rows) == UNITS
    assert {int(row["serial"], 16) for row in rows} == issued
    assert {row["state"] for row in rows} == {"issued"}


def test_a_key_that_cannot_be_opened_is_one_line_and_no_worker_is_started(tmp_path: Path) -> None:
    files = with_front(tmp_path)
    (tmp_path / "passphrase").write_bytes(b"another")
    command = [sys.executable, "-m", "birthmark.cli", "ca", "serve", "--config", str(files.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIME_S)
    assert done.returncode == 6
    assert done.stderr.startswith("birthmark: key.")
    assert len(done.stderr.splitlines()) == 1
