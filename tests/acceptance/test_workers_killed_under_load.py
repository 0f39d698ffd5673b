# SPDX-License-Identifier: Apache-2.0
"""
Two CA processes over one ledger, both rigs at work; workers and the database itself are killed at random moments.

No request is lost, nothing is issued twice, the quota is exact, the log has no gap and one entry for each act.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.ca.config import load_config
from birthmark.ca.wiring import configured_store, open_ca
from birthmark.core.audit import decode_row
from support.ca_parts import Board
from support.ca_process import ORDER, CAFiles
from support.campaign import rounds
from support.plant import ANSWER_MAX_S, PostgresFiles, Rig, Worker, at_work
from support.postgres import PostgreSQL, postgresql

KILLS = rounds(short=6, campaign=60)
MORE = 6
"""Units that are made between one kill and the next."""
SEED = 20261123


@pytest.fixture(scope="module")
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


class Boards:
    """Boards, until it is over. Thread-safe."""

    def __init__(self, files: CAFiles) -> None:
        self._files = files
        self._numbers = itertools.count()
        self.over = threading.Event()

    def __call__(self) -> Board | None:
        return None if self.over.is_set() else self._files.board(f"BM-{next(self._numbers):06d}")


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


def until_more(rigs: list[Rig]) -> None:
    aim = sum(len(rig.made) for rig in rigs) + MORE
    deadline = time.monotonic() + ANSWER_MAX_S
    while sum(len(rig.made) for rig in rigs) < aim:
        assert not [rig.problem for rig in rigs if rig.problem]
        assert time.monotonic() < deadline, "nothing is issued any more"
        time.sleep(0.01)


def assert_exact(files: CAFiles, rigs: list[Rig]) -> None:
    """The ledger has what the rigs have, once: certificates, births, places in the order, entries in the log."""
    made = {unit: serial for rig in rigs for unit, serial in rig.made.items()}
    with open_ca(files.config) as administration:
        found = list(administration.certificates())
        assert list(administration.check()) == []
    assert sorted((row["unit_serial"], row["serial"]) for row in found) == sorted(made.items())
    assert {row["state"] for row in found} == {"confirmed"}
    with configured_store(load_config(files.config), files.folder) as store, store.reading() as ledger:
        assert ledger.order_use(ORDER, "").units == len(made)
        decided = [decode_row(entry) for entry in ledger.entries(0, ledger.log_size())]
        assert len(decided) == ledger.log_size()
    for act in ("enrol", "birth"):
        acts = [row.unit_serial for row in decided if row.act == act and row.about]
        assert sorted(acts) == sorted(made), f"each {act} is in the log once"


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
