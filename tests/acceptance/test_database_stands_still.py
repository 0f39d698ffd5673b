# SPDX-License-Identifier: Apache-2.0
"""
The database stands still under load and goes on again: it is not dead, its connections stay, and nothing answers.

Rigs are told to come again (503, Retry-After), health turns red, nobody is restarted; afterwards every unit has its one
certificate, whether what was under way had been done or not.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.net.errors import NetError
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from support.campaign import rounds
from support.plant import ANSWER_MAX_S, Boards, PostgresFiles, Rig, Worker, assert_exact, at_work, until_more
from support.postgres import PostgreSQL, postgresql

STOPS = rounds(short=3, campaign=20)
SEED = 20261123
WORDS = {200: True, 503: False}


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


def ready(files: PostgresFiles, worker: Worker) -> bool:
    """Ask as anybody may. A connection that breaks or an answer that does not come fails the test."""
    context = client_context(files.folder.joinpath("root.pem").read_bytes())
    transport = HTTPTransport(worker.url, context)
    try:
        answer = transport.request("GET", "/v1/health")
    except NetError as error:
        raise AssertionError("health does not answer") from error
    finally:
        transport.close()
    if answer.status == 503:
        assert int(answer.headers["retry-after"]) >= 1
    return WORDS[answer.status]


def until(files: PostgresFiles, worker: Worker, *, is_ready: bool) -> None:
    deadline = time.monotonic() + ANSWER_MAX_S
    while ready(files, worker) is not is_ready:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def until_put_off(rigs: list[Rig]) -> None:
    """Wait until each rig was told to come again."""
    before, deadline = [rig.put_off for rig in rigs], time.monotonic() + ANSWER_MAX_S
    while any(rig.put_off == earlier for rig, earlier in zip(rigs, before, strict=True)):
        assert not [rig.problem for rig in rigs if rig.problem]
        assert time.monotonic() < deadline, "a request waits for ever"
        time.sleep(0.05)


def test_a_database_that_stands_still_is_borne_and_found_again(tmp_path: Path, cluster: PostgreSQL) -> None:
    chance = random.Random(SEED)  # noqa: S311 when it stops is no secret
    files = PostgresFiles(tmp_path, cluster.new_database())
    files.put_order(replace(files.order, quantity=100_000))
    workers = [Worker(files), Worker(files)]
    rigs = [Rig(files, name, workers) for name in ("rig-a", "rig-b") for _ in range(2)]
    boards = Boards(files)
    threads = at_work(rigs, boards)
    try:
        for turn in range(STOPS):
            until_more(rigs)
            time.sleep(chance.random() / 10)
            cluster.suspend()
            try:
                for worker in workers:
                    until(files, worker, is_ready=False)
                if turn % 2 == 0:  # else it goes on while the requests still wait for it
                    until_put_off(rigs)
            finally:
                cluster.resume()
            for worker in workers:
                until(files, worker, is_ready=True)
        until_more(rigs)
    finally:
        boards.over.set()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.end()
    assert [rig.problem for rig in rigs if rig.problem] == []
    assert [rig.lost for rig in rigs] == [0] * len(rigs), "every request was answered: with 503, or with what it asked"
    assert_exact(files, rigs)
