# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the CA reads ca.toml anew while rigs work; what cannot be used leaves it as it was."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.ca.wiring import open_ca
from birthmark.core.registry import PKIX_EVIDENCE
from support.ca_process import FRONT, CAFiles, RunningCA, running_ca
from support.front import children_of

WORKER, STEWARD = "birthmark.ca.worker", "birthmark.ca.steward"
PATIENCE_S = 30
RIGS = 4
EXPIRIES_S = (61, 62, 63)


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path)
    files.put_order(replace(files.order, quantity=100_000))
    files.config.write_text(f"nonce_expiry_s = 60\n{files.config.read_text()}{FRONT}")
    with running_ca(files) as running:
        yield running


def eventually(what: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def reload(ca: RunningCA, says: str = "net.front.reloaded") -> None:
    log = ca.files.folder / "ca.log"
    before = log.read_text().count(says)
    ca.process.send_signal(signal.SIGHUP)
    eventually(lambda: log.read_text().count(says) > before, log.read_text)


def change(ca: RunningCA, pattern: str, text: str) -> None:
    changed, count = re.subn(pattern, text, ca.files.config.read_text(), count=1)
    assert count == 1
    ca.files.config.write_text(changed)


def expiries(ca: RunningCA) -> set[int | None]:
    return {ca.est("rig-a").nonce(PKIX_EVIDENCE, "BM-900000").expiry_s for _ in range(20)}


def test_rigs_lose_no_request_while_every_worker_reads_ca_toml_anew(ca: RunningCA) -> None:
    over, lock = threading.Event(), threading.Lock()
    issued: list[int] = []

    def work(number: int) -> None:
        while not over.is_set():
            with lock:
                unit = f"BM-{len(issued):06d}"
                issued.append(0)
            board, est = ca.files.board(unit), ca.est(("rig-a", "rig-b")[number % 2])
            # No call is repeated here: the first 503 or lost connection fails the test.
            est.simpleenroll(board.csr(est.nonce(PKIX_EVIDENCE, unit).nonce))

    before = {program: children_of(ca.process.pid, program) for program in (WORKER, STEWARD)}
    with ThreadPoolExecutor(RIGS) as pool:
        working = [pool.submit(work, number) for number in range(RIGS)]
        try:
            for expiry_s in EXPIRIES_S:
                change(ca, r"nonce_expiry_s = \d+", f"nonce_expiry_s = {expiry_s}")
                reload(ca)
        finally:
            over.set()
        for each in working:
            each.result()
    assert expiries(ca) == {EXPIRIES_S[-1]}
    with open_ca(ca.files.config) as authority:
        assert len(list(authority.certificates())) == len(issued)
        assert list(authority.check()) == []
    for program, old in before.items():
        eventually(lambda program=program, old=old: not set(children_of(ca.process.pid, program)) & set(old))  # type: ignore[misc] # bound for each program


@pytest.mark.parametrize(
    ("pattern", "text", "says"),
    [
        (r"nonce_expiry_s = 60", "nonce_expiry_z = 61", "net.front.reload-refused: finding=config"),
        (r"client_trust = ", 'client_trust = "nowhere.pem"\n#', "net.front.reload-refused: finding=config"),
        (r"nonce_expiry_s = 60", "nonce_expiry_s = 61\nport = 1", "net.front.reload-refused: host, port"),
        (r"workers = 2", "workers = 3", "net.front.reload-refused: host, port"),
        (r'file = "issuing.key"', 'file = "nowhere.key"', "net.front.reload-failed: worker 0"),
    ],
    ids=["unknown key", "no trust", "another port", "more workers", "no issuing key"],
)
def test_what_cannot_be_used_changes_nothing_and_nobody_notices(
    ca: RunningCA, pattern: str, text: str, says: str
) -> None:
    before = children_of(ca.process.pid, WORKER)
    change(ca, pattern, text)
    reload(ca, says)
    assert expiries(ca) == {60}
    assert sorted(children_of(ca.process.pid, WORKER)) == sorted(before)


def test_without_a_front_the_signal_ends_nothing_and_says_that_it_takes_a_restart(tmp_path: Path) -> None:
    with running_ca(CAFiles(tmp_path)) as alone:
        reload(alone, "ca.reload")
        assert alone.est("rig-a").nonce(PKIX_EVIDENCE, "BM-000001").nonce
