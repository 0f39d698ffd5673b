# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.stores.group_commit import GroupCommit
from birthmark.stores.sqlite_file import SQLiteFile

WRITERS = 8


class Gate:
    """Lets the first write of a test wait inside its transaction until the others have gathered behind it."""

    def __init__(self, file: SQLiteFile) -> None:
        self.file = file
        self.commits = GroupCommit(file)
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.failures: list[StoreError] = []

    def first(self) -> None:
        self.entered.set()
        assert self.opened.wait(5)

    def store(self, number: int) -> None:
        self.file.write("insert into number (value) values (?)", number)

    def write(self, number: int) -> None:
        try:
            self.commits.write(lambda: self.store(number))
        except StoreError as error:
            self.failures.append(error)

    def run(self, numbers: list[int]) -> None:
        leader = threading.Thread(target=self.commits.write, args=(self.first,))
        leader.start()
        assert self.entered.wait(5)
        others = [threading.Thread(target=self.write, args=(number,)) for number in numbers]
        for other in others:
            other.start()
        while len(self.commits._batch.writes) < len(numbers):
            pass
        self.opened.set()
        for thread in (leader, *others):
            thread.join()

    def numbers(self) -> list[int]:
        return [value for (value,) in self.file.read("select value from number order by value")]


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    file = SQLiteFile(tmp_path / "numbers.sqlite", ("create table number (value integer unique) strict;\n",), b"TEST")
    yield Gate(file)
    file.close()


def test_writes_that_come_while_another_one_commits_share_the_next_transaction(gate: Gate) -> None:
    statements: list[str] = []
    gate.file._connection.set_trace_callback(statements.append)
    gate.run(list(range(WRITERS)))
    assert gate.numbers() == list(range(WRITERS))
    assert statements.count("commit") == 2


def test_those_who_share_a_transaction_share_its_failure(gate: Gate) -> None:
    gate.run([1, 2, 1])
    assert len(gate.failures) == 3
    assert gate.numbers() == []


def test_after_a_failure_the_next_write_is_on_its_own(gate: Gate) -> None:
    gate.run([1, 1])
    gate.write(7)
    assert gate.numbers() == [7]


def test_a_writer_that_breaks_off_takes_no_half_transaction_along(gate: Gate) -> None:
    def broken() -> None:
        gate.store(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate.commits.write(broken)
    assert gate.numbers() == []
