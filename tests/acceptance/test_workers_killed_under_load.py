# SPDX-License-Identifier: Apache-2.0
"""
Two CA processes over one ledger, both rigs at work; workers and the database itself are killed at random moments.

No request is lost, nothing is issued twice, the quota is exact, the log has no gap and one entry for each act.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.ca_process import CAFiles
from support.campaign import rounds
from support.plant import Boards, PostgresFiles, Rig, Worker, assert_exact, at_work, until_more
from support.postgres import PostgreSQL, postgresql

KILLS = rounds(short=6, campaign=60)
SEED = 20261123


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


def under_load(files: CAFiles, kills: Callable[[list[Worker]], None]) -> list[Rig]:
    """Let both rigs work, twice each, while something is killed again and again; return them when all is done."""
    files.put_order(replace(files.order, quantity=100_000))
    workers = [Worker(files), Worker(files)]
    rigs = [Rig(files, name, workers) for name in ("rig-a", "rig-b") for _ in range(2)]
    boards = Boards(files)
    threads = at_work(rigs, boards)
    try:
        for _ in range(KILLS):
            until_more(rigs)
            kills(workers)
        until_more(rigs)
    finally:
        boards.over.set()
        for thread in threads:
            thread.join()
    for worker in workers:
        worker.end()
    assert [rig.problem for rig in rigs if rig.problem] == []
    return rigs


def one_of(workers: list[Worker], chance: random.Random) -> None:
    worker = chance.choice(workers)
    worker.kill()
    worker.start()


def test_workers_and_the_database_are_killed_under_load(tmp_path: Path, cluster: PostgreSQL) -> None:
    chance = random.Random(SEED)  # noqa: S311 what is killed when is no secret
    files = PostgresFiles(tmp_path, cluster.new_database())
    turns = itertools.count()

    def kill(workers: list[Worker]) -> None:
        time.sleep(chance.random() / 10)
        if next(turns) % 3 == 2:
            cluster.stop()
            time.sleep(chance.random())
            cluster.start()
        else:
            one_of(workers, chance)

    rigs = under_load(files, kill)
    assert sum(rig.put_off for rig in rigs) > 0, "the rigs met the kills"
    assert_exact(files, rigs)


def test_workers_on_one_file_are_killed_under_load(tmp_path: Path) -> None:
    chance = random.Random(SEED)  # noqa: S311 as above
    files = CAFiles(tmp_path)
    rigs = under_load(files, lambda workers: one_of(workers, chance))
    assert_exact(files, rigs)
