# SPDX-License-Identifier: Apache-2.0
"""Acceptance 5, for months: what was delivered goes by policy, the rig's file stays as it is, nothing comes twice."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.delivery import DeliveryDeferred, JournalEntry, Parcel, SignedBirth, Wants
from birthmark.core.line_events import LineEvent
from birthmark.line.events import Events
from birthmark.line.outbox import Outbox
from birthmark.line.retention import Retention
from birthmark.stores.line_sqlite import LineSQLite
from support.births import Births
from support.parcels import born, ended, started

PANELS = 2_000
BOARDS = 8
STEPS = 8
TAKT = timedelta(seconds=2)
BEGAN = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
OUTAGE = range(800, 1_100)
"""Panels during which the MES is away: what waits must stay, though the policy would let it go."""
RETENTION = Retention(events=2_000, events_days=1.0, journal_days=150 * 2.0 / 86_400)
JWS = Births().of("BM-000001").jws


class MES:
    """Takes each key once, and notes what it was offered again."""

    def __init__(self) -> None:
        self.away = False
        self.sequences: list[int] = []
        self.keys: set[str] = set()
        self.again = 0

    def deliver(self, parcel: Parcel) -> None:
        if self.away:
            raise DeliveryDeferred("away")
        if parcel.key in self.keys:
            self.again += 1
            return
        self.keys.add(parcel.key)
        self.sequences.append(parcel.sequence)

    def close(self) -> None:
        """Nothing to close."""


def panel(number: int, at: str) -> tuple[list[JournalEntry], list[LineEvent]]:
    """Return what a rig writes for a panel of eight: as many entries and events, as large as the real ones."""
    units = [f"BM-{number * BOARDS + place:06d}" for place in range(BOARDS)]
    entries = [
        JournalEntry(at, f"{number:016x}", place, unit, event, "generate", 61.5)
        for place, unit in enumerate(units, 1)
        for event in ("begin", "end")
        for _ in range(STEPS)
    ]
    births = [born(SignedBirth(f"{unit}-certificate", unit, JWS)) for unit in units]
    return entries, [*map(started, units), *births, ended(f"panel-{number}")]


def test_the_file_of_a_rig_does_not_grow_over_thousands_of_panels(tmp_path: Path) -> None:
    path = tmp_path / "rig.sqlite"
    mes, ca = MES(), MES()
    sizes: list[int] = []
    with LineSQLite(path, {"ca": Wants.BIRTHS, "mes": Wants.EVERYTHING}) as store:
        outbox = Outbox(
            store,
            {"ca": ca, "mes": mes},
            Events(lambda _: None),
            clock=lambda: BEGAN,
            stopwatch=time.monotonic,
            retry_s=0.01,
        )
        for number in range(PANELS):
            at = BEGAN + number * TAKT
            store.journal(*panel(number, at.isoformat(timespec="milliseconds")))
            mes.away = number in OUTAGE
            outbox.drain("ca")
            if mes.away:
                with pytest.raises(DeliveryDeferred):
                    outbox.drain("mes")
            else:
                outbox.drain("mes")
            store.prune(RETENTION.at(at))
            sizes.append(store._file.read("pragma page_count")[0][0])
        assert store.waiting() == 0
        # The write-ahead log is emptied at every thousand pages, and keeps the room of the largest bite in between.
        assert path.with_name(path.name + "-wal").stat().st_size < 10 << 20
        kept = store.told()
    events_of_a_panel = 2 * BOARDS + 1
    assert mes.sequences == list(range(1, PANELS * events_of_a_panel + 1))
    assert len(ca.keys) == PANELS * BOARDS
    assert (mes.again, ca.again) == (0, 0)
    assert len(kept) == RETENTION.events
    # As large as what is kept; larger while the MES is away, and from then on not by a page.
    assert max(sizes[: OUTAGE.start]) <= 1.05 * max(sizes[:400])
    assert sizes[OUTAGE.stop - 1] > 1.2 * max(sizes[: OUTAGE.start])
    assert max(sizes) <= 1.05 * sizes[OUTAGE.stop - 1]
