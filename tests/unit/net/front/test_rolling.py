# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: every worker is replaced while clients work, certificates are taken anew, and nobody loses a request."""

import json
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.net import tls
from birthmark.net.errors import TLSRefused
from birthmark.net.front.description import FrontDescription
from birthmark.net.transport import HTTPTransport, Response
from support.front import WORKER, RunningFront, running_front
from support.tls_files import TLSFiles

PATIENCE_S = 20.0
THREADS = 6
ROUNDS = 3


@pytest.fixture
def front(files: TLSFiles, tmp_path: Path) -> Iterator[RunningFront]:
    with running_front(files, tmp_path, workers=2, UPSTREAM_KEEP_ALIVE_S=1) as running:
        yield running


def eventually(what: Callable[[], bool], told: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def workers_of(running: RunningFront) -> set[int]:
    return set(running.children("worker.py"))


def reload(running: RunningFront, *, says: str = "net.front.reloaded") -> None:
    before = running.log.read_text().count(says)
    running.process.send_signal(signal.SIGHUP)
    eventually(lambda: running.log.read_text().count(says) > before, running.log.read_text)


@contextmanager
def transport(running: RunningFront, files: TLSFiles) -> Iterator[HTTPTransport]:
    opened = HTTPTransport(running.url, tls.client_context(files.trust))
    try:
        yield opened
    finally:
        opened.close()


class Clients:
    """Clients that ask without a pause, half of them over new connections, with requests that nobody repeats."""

    def __init__(self, running: RunningFront, files: TLSFiles) -> None:
        self._running, self._files = running, files
        self._over = threading.Event()
        self.answers: list[Response] = []

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(THREADS) as pool:
            asked = [pool.submit(self._ask, kept=bool(number % 2)) for number in range(THREADS)]
            try:
                yield
            finally:
                self._over.set()
        for each in asked:
            each.result()

    def workers(self) -> set[int]:
        """Return which workers have answered so far."""
        return {json.loads(answer.body)["pid"] for answer in list(self.answers)}

    def _ask(self, *, kept: bool) -> None:
        while not self._over.is_set():
            with transport(self._running, self._files) as opened:
                for _ in range(50 if kept else 1):
                    self.answers.append(opened.request("POST", "/", body=b"once"))
                    if self._over.is_set():
                        return


def test_all_workers_are_replaced_under_load_and_no_request_is_lost(front: RunningFront, files: TLSFiles) -> None:
    clients, before = Clients(front, files), workers_of(front)
    with clients.at_work():
        for done in range(ROUNDS):
            eventually(lambda done=done: len(clients.workers()) == 2 * (done + 1))
            reload(front)
    assert {answer.status for answer in clients.answers} == {200}
    eventually(lambda: len(workers_of(front)) == 2)
    eventually(lambda: "net.front.left" in front.log.read_text())
    assert not workers_of(front) & before


def test_what_a_worker_was_asked_before_it_leaves_is_answered(front: RunningFront, files: TLSFiles) -> None:
    with ThreadPoolExecutor(8) as pool, transport(front, files) as opened:
        slow = [pool.submit(opened.request, "GET", "/slow") for _ in range(8)]
        time.sleep(0.2)
        reload(front)
        assert [each.result().status for each in slow] == [200] * 8


def test_a_worker_that_does_not_start_replaces_nobody(front: RunningFront, files: TLSFiles, tmp_path: Path) -> None:
    before = workers_of(front)
    (tmp_path / "worker.py").write_text("raise SystemExit('not today')")
    reload(front, says="net.front.reload-failed: worker 0")
    with transport(front, files) as opened:
        assert {opened.request("GET", "/").status for _ in range(20)} == {200}
    assert workers_of(front) == before
    (tmp_path / "worker.py").write_text(WORKER)
    reload(front)
    eventually(lambda: not workers_of(front) & before)


def test_a_worker_that_dies_while_others_are_replaced_is_started_again(front: RunningFront, files: TLSFiles) -> None:
    for pid in workers_of(front):
        os.kill(pid, signal.SIGKILL)
    reload(front)
    with transport(front, files) as opened:
        assert {opened.request("GET", "/").status for _ in range(20)} == {200}
    eventually(lambda: len(workers_of(front)) == 2)


def test_two_signals_in_a_row_leave_two_workers(front: RunningFront, files: TLSFiles) -> None:
    clients, before = Clients(front, files), workers_of(front)
    with clients.at_work():
        for _ in range(5):
            front.process.send_signal(signal.SIGHUP)
            time.sleep(0.15)
        eventually(lambda: "net.front.reloaded" in front.log.read_text(), front.log.read_text)
    assert {answer.status for answer in clients.answers} == {200}
    eventually(lambda: len(workers_of(front)) == 2)
    assert not workers_of(front) & before


def test_a_new_server_certificate_is_shown_and_running_connections_stay(front: RunningFront, files: TLSFiles) -> None:
    with transport(front, files) as opened:
        opened.request("GET", "/")
        shown = ssl.get_server_certificate(("127.0.0.1", front.port))
        files.server()
        reload(front)
        assert opened.request("GET", "/").status == 200
    assert ssl.get_server_certificate(("127.0.0.1", front.port)) != shown
    with transport(front, files) as fresh:
        assert fresh.request("GET", "/").status == 200


def test_a_client_of_a_root_that_comes_is_known_after_the_signal(
    front: RunningFront, files: TLSFiles, strangers: TLSFiles, tmp_path: Path
) -> None:
    rig, trust = strangers.rig(), tmp_path / "client-trust.pem"

    def who() -> object:
        opened = HTTPTransport(front.url, tls.client_context(files.trust, rig.certificate, rig.key))
        try:
            return json.loads(opened.request("GET", "/").body)["leaf"]
        finally:
            opened.close()

    with pytest.raises(TLSRefused):
        who()
    trust.write_bytes(files.trust + strangers.trust)
    reload(front)
    assert who()
    trust.write_bytes(b"no certificate")
    reload(front, says="Envoy keeps the certificates that it had")
    assert who()


FRONT = FrontDescription("127.0.0.1", 0, Path("a.pem"), Path("a.key"), Path("t.pem"), 2, ("/x",))


@pytest.mark.parametrize(
    ("other", "reached"),
    [
        (FRONT, True),
        (replace(FRONT, certificate=Path("b.pem"), key=Path("b.key"), client_trust=Path("u.pem")), True),
        (replace(FRONT, port=1), False),
        (replace(FRONT, host="::1"), False),
        (replace(FRONT, workers=3), False),
    ],
    ids=["the same", "other files", "another port", "another host", "more workers"],
)
def test_a_running_front_gets_other_files_and_nothing_else(other: FrontDescription, *, reached: bool) -> None:
    assert FRONT.reaches(other) is reached
