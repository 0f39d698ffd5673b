# SPDX-License-Identifier: Apache-2.0
"""
Strangers flood what anybody may ask for, some never take their answers, and what the lists need stands still.

Rigs go on: no request of theirs is lost, and units are made as before.
"""

import itertools
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from birthmark.net.asgi import PIPELINED_MAX
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from support.ca_process import ORDER
from support.plant import Boards, PostgresFiles, Rig, Worker, assert_exact, at_work, until_more
from support.postgres import PostgreSQL, postgresql

STRANGERS = 2
"""Of each kind."""
ROUNDS = 4
_NUMBERS = itertools.count()
PATHS: tuple[Callable[[], str], ...] = (
    lambda: "/v1/crl",
    lambda: f"/.well-known/est/no-order-{next(_NUMBERS)}/csrattrs",
    lambda: f"/.well-known/est/{ORDER}/csrattrs",
    lambda: "/v1/health",
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


class Strangers:
    """Clients without a certificate, until it is over."""

    def __init__(self, files: PostgresFiles, worker: Worker) -> None:
        self.over = threading.Event()
        self.statuses: dict[int, set[int]] = {number: set() for number in range(len(PATHS))}
        self.problem: BaseException | None = None
        self._url = worker.url
        self._context = client_context(files.folder.joinpath("root.pem").read_bytes())

    def ask(self, kind: int) -> None:
        """Ask for one thing again and again."""
        transport = HTTPTransport(self._url, self._context)
        try:
            while not self.over.is_set():
                self.statuses[kind].add(transport.request("GET", PATHS[kind]()).status)
        except BaseException as error:  # noqa: BLE001 reported in the test's own thread
            self.problem = error
        finally:
            transport.close()

    def take_nothing(self) -> None:
        """Ask for several lists at once and read none; now and then for far too many."""
        where = urlsplit(self._url)
        assert where.hostname is not None
        request = f"GET /v1/crl HTTP/1.1\r\nHost: {where.hostname}\r\n\r\n".encode()
        for many in itertools.cycle((PIPELINED_MAX, 1_000)):
            with (
                suppress(ConnectionError, ssl.SSLError),
                socket.create_connection((where.hostname, where.port or 0)) as plain,
                self._context.wrap_socket(plain, server_hostname=where.hostname) as link,
            ):
                link.sendall(many * request)
                if self.over.wait(1.0):
                    return

    @contextmanager
    def about(self) -> Iterator[None]:
        acts = [lambda kind=kind: self.ask(kind) for kind in range(len(PATHS)) for _ in range(STRANGERS)]
        acts += [self.take_nothing] * STRANGERS
        threads = [threading.Thread(target=act) for act in acts]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.over.set()
            for thread in threads:
                thread.join()


@contextmanager
def lists_stand_still(dsn: str) -> Iterator[None]:
    """Hold what is kept of lists, so that nobody who wants to read it comes back."""
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE published IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_flood_beside_issuing_does_not_stop_it(tmp_path: Path, cluster: PostgreSQL) -> None:
    dsn = cluster.new_database()
    files = PostgresFiles(tmp_path, dsn)
    files.put_order(replace(files.order, quantity=100_000))
    worker = Worker(files)
    rigs = [Rig(files, name, [worker]) for name in ("rig-a", "rig-b")]
    boards = Boards(files)
    threads = at_work(rigs, boards)
    strangers = Strangers(files, worker)
    try:
        until_more(rigs)
        with strangers.about():
            for _ in range(ROUNDS):
                until_more(rigs)
            with lists_stand_still(dsn):
                for _ in range(ROUNDS):
                    until_more(rigs)
    finally:
        boards.over.set()
        for thread in threads:
            thread.join()
        worker.end()
    assert [rig.problem for rig in rigs if rig.problem] == []
    assert [rig.lost for rig in rigs] == [0, 0], "every request of a rig was answered"
    assert strangers.problem is None
    assert all(200 in statuses and statuses <= {200, 503} for statuses in strangers.statuses.values())
    assert_exact(files, rigs)
