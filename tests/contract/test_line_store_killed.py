# SPDX-License-Identifier: Apache-2.0
"""A rig that is killed at any point of what it does to its disk: no event is lost, and none is there twice."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from birthmark.core.clock import system_clock
from birthmark.core.delivery import JournalEntry, Wants
from birthmark.line.events import Events
from birthmark.line.outbox import Outbox
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.mes_jsonl import MESFile
from support.births import Births
from support.kills import doom, killed
from support.parcels import born, ended, started

ROUTES = {"mes": Wants.EVERYTHING}
BIRTHS = Births()
UNITS = ("BM-000001", "BM-000002")
POINTS_MAX = 500


class RigDisk:
    """The database of a rig, and the file of its MES."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rig.sqlite"
        self.mes = folder / "mes.jsonl"

    def open(self) -> LineSQLite:
        return LineSQLite(self._path, ROUTES)

    def open_killing(self, point: int) -> LineSQLite:
        store = self.open()
        doom(store._file, point)
        return store

    def deliver(self, store: LineSQLite) -> None:
        with closing(MESFile(self.mes)) as file:
            events = Events(lambda _: None)
            outbox = Outbox(store, {"mes": file}, events, clock=system_clock, stopwatch=time.monotonic, retry_s=0.01)
            outbox.drain("mes")

    def work(self, store: LineSQLite) -> None:
        """Two boards, each with its beginning, its birth and its verdict; a delivery after each, and the end."""
        for unit in UNITS:
            store.journal([entry(unit, "begin")], [started(unit)])
            birth = BIRTHS.of(unit)
            store.journal([entry(unit, "verdict")], [born(birth), ended(f"verdict-{unit}")])
            self.deliver(store)
        store.journal([], [ended("panel")])
        self.deliver(store)


def entry(unit: str, event: str) -> JournalEntry:
    return JournalEntry("2026-05-04T12:00:00.000+00:00", "run-1", 1, unit, event)  # type: ignore[arg-type] # of the three


def test_wherever_a_rig_is_killed_each_event_is_told_once_and_in_order(tmp_path: Path) -> None:
    for point in range(POINTS_MAX):
        folder = tmp_path / str(point)
        folder.mkdir()
        disk = RigDisk(folder)
        disk.open().close()
        if not killed(disk, point, disk.work):
            assert point > 40, "a rig does more than that"
            return
        check(disk)
    pytest.fail("the rig never came to its end")


def check(disk: RigDisk) -> None:
    """What is in the journal is told, and the other way round; after the next delivery the MES has just that."""
    with disk.open() as store:
        told = store.told()
        keys = [parcel.key for parcel in told]
        assert [parcel.sequence for parcel in told] == list(range(1, len(told) + 1))
        for unit in UNITS:
            events = {made.event for made in store.entries(unit)}
            assert ("begin" in events) == (started(unit).idempotency_key in keys)
            assert ("verdict" in events) == (BIRTHS.of(unit).key in keys) == (f"verdict-{unit}" in keys)
        disk.deliver(store)
        assert store.waiting() == 0
    lines = disk.mes.read_text().splitlines() if keys else []
    assert [json.loads(line)["idempotency_key"] for line in lines] == keys
