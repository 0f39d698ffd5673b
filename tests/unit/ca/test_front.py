# SPDX-License-Identifier: Apache-2.0
"""The whole CA behind a real Envoy: nothing is lost with a worker, and what it cannot start with is one clear line."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography import x509

from birthmark.ca.config import load_config
from birthmark.ca.steward import NICENESS
from birthmark.ca.wiring import configured_store, open_ca
from birthmark.core.registry import PKIX_EVIDENCE
from support.ca_process import FRONT, CAFiles, RunningCA, running_ca
from support.front import children_of
from support.ports import lasting_ports

STEWARD = "birthmark.ca.steward"
CHECKPOINT_EVERY_S = 1
PATIENCE_S = 20
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


def log_size(ca: RunningCA) -> int:
    with configured_store(load_config(ca.files.config), ca.files.folder) as store, store.reading() as ledger:
        return ledger.log_size()


def signed_size(ca: RunningCA) -> int:
    with configured_store(load_config(ca.files.config), ca.files.folder) as store, store.reading() as ledger:
        note = ledger.checkpoint()
    return 0 if note is None else int(note.splitlines()[1])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


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


def test_a_steward_that_is_killed_is_replaced_and_signs_for_the_log_again(tmp_path: Path) -> None:
    with running_ca(with_front(tmp_path)) as ca:
        enrolled(ca, "BM-000001")
        (first,) = children_of(ca.process.pid, STEWARD)
        os.kill(first, signal.SIGKILL)
        enrolled(ca, "BM-000002")
        size = log_size(ca)
        eventually(lambda: signed_size(ca) >= size)
        (second,) = children_of(ca.process.pid, STEWARD)
        assert second != first
        assert os.getpriority(os.PRIO_PROCESS, second) == NICENESS


def test_workers_do_no_chores_of_the_steward(tmp_path: Path) -> None:
    with running_ca(with_front(tmp_path)) as ca:
        enrolled(ca, "BM-000001")
        eventually(lambda: signed_size(ca) >= log_size(ca))
        (steward,) = children_of(ca.process.pid, STEWARD)
        os.kill(steward, signal.SIGSTOP)
        enrolled(ca, "BM-000002")
        signed, size = signed_size(ca), log_size(ca)
        time.sleep(3 * CHECKPOINT_EVERY_S)
        assert signed_size(ca) == signed < size
        os.kill(steward, signal.SIGCONT)
        eventually(lambda: signed_size(ca) >= size)


def test_lists_without_tls_are_served_once_for_all_workers(tmp_path: Path) -> None:
    files, (port,) = with_front(tmp_path), lasting_ports(1)
    files.config.write_text(f"status_port = {port}\n{files.config.read_text()}")
    with running_ca(files) as ca:
        assert len(children_of(ca.process.pid, "birthmark.ca.worker")) > 1
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/crl") as answer:
            x509.load_der_x509_crl(answer.read())


def test_a_key_that_cannot_be_opened_is_one_line_and_no_worker_is_started(tmp_path: Path) -> None:
    files = with_front(tmp_path)
    (tmp_path / "passphrase").write_bytes(b"another")
    command = [sys.executable, "-m", "birthmark.cli", "ca", "serve", "--config", str(files.config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIME_S)
    assert done.returncode == 6
    assert done.stderr.startswith("birthmark: key.")
    assert len(done.stderr.splitlines()) == 1
