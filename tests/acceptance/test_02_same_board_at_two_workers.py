# SPDX-License-Identifier: Apache-2.0
"""Acceptance 2, at the CA: the same board at both rigs at the same moment, each at a worker of its own."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from birthmark.ca.config import load_config
from birthmark.ca.wiring import configured_store, open_ca
from support.ca_parts import Board
from support.ca_process import ORDER
from support.campaign import rounds
from support.plant import ANSWER_MAX_S, PostgresFiles, Rig, Worker
from support.postgres import PostgreSQL, postgresql


@pytest.fixture
def cluster() -> Iterator[PostgreSQL]:
    with postgresql() as running:
        yield running


def test_the_same_board_at_both_rigs_at_the_same_moment_gets_one_certificate(
    tmp_path: Path, cluster: PostgreSQL
) -> None:
    files = PostgresFiles(tmp_path, cluster.new_database())
    workers = [Worker(files), Worker(files)]
    rigs = [Rig(files, name, [worker]) for name, worker in zip(("rig-a", "rig-b"), workers, strict=True)]
    boards = [files.board(f"BM-{number:06d}") for number in range(rounds(short=8, campaign=100))]
    barrier = threading.Barrier(len(rigs))

    def together() -> Callable[[], Board | None]:
        waiting = iter(boards)

        def following() -> Board | None:
            board = next(waiting, None)
            barrier.wait(ANSWER_MAX_S)
            return board

        return following

    threads = [threading.Thread(target=rig.work, args=(together(),)) for rig in rigs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.end()
    assert [rig.problem for rig in rigs if rig.problem] == []
    assert rigs[0].made == rigs[1].made, "both rigs have the same certificates"
    assert sorted(rigs[0].made) == [board.unit for board in boards]
    with open_ca(files.config) as administration:
        found = list(administration.certificates())
        assert list(administration.check()) == []
    assert sorted(row["serial"] for row in found) == sorted(rigs[0].made.values())
    with configured_store(load_config(files.config), files.folder) as store, store.reading() as ledger:
        assert ledger.order_use(ORDER, "").units == len(boards)
