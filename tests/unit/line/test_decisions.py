# SPDX-License-Identifier: Apache-2.0
"""What leads decide is told to the factory, once, by the rig at which it was decided."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from birthmark.core.errors import StoreError
from birthmark.core.line_events import LineEvent, UnitOverridden, UnitReworked
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line import decisions
from birthmark.line.births import Rig
from birthmark.line.decisions import Decisions
from birthmark.line.lead import UnitOffice
from birthmark.line.units import UnitLimits, begun, ended
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.units_sqlite import UnitsSQLite
from support.births import new_rig

UNIT = "BM-000001"
CREDENTIAL = new_rig()


class Site:
    """Two rigs with a store each, and the units that they share."""

    def __init__(self, folder: Path) -> None:
        self.units = UnitsSQLite(folder / "units.sqlite")
        self.stores = {name: LineSQLite(folder / f"{name}.sqlite") for name in ("rig-a", "rig-b")}

    def decisions(self, rig: str = "rig-a") -> Decisions:
        certificate, key = CREDENTIAL
        named = Rig(rig, "ada", "Controller", "order-1", "birthmark test", certificate, key)
        return Decisions(named, self.units, self.stores[rig])

    def office(self, rig: str = "rig-a") -> UnitOffice:
        return UnitOffice(self.units, rig, self.decisions(rig).tell)

    def run(self, state: WorkState, unit: str = UNIT, rig: str = "rig-a") -> None:
        """Let a rig work on the unit, with this outcome."""
        holder = Holder(rig, "run")

        def take(work: UnitWork, at: datetime) -> UnitWork:
            return begun(work, holder, UnitLimits(), at)

        def finish(work: UnitWork, at: datetime) -> UnitWork:
            return ended(work, holder, state, "line.x", UnitLimits(), at)

        self.units.change(unit, take)
        self.units.change(unit, finish)

    def told(self, rig: str = "rig-a") -> list[LineEvent]:
        return [parcel.event() for parcel in self.stores[rig].told()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.units.close()
    for store in site.stores.values():
        store.close()


def test_an_override_and_a_rework_are_told_with_who_and_why(site: Site) -> None:
    site.run(WorkState.QUARANTINED)
    site.office().override(UNIT, "lead", "sticker put right")
    site.run(WorkState.FAILED)
    site.office().rework(UNIT, "lead", "chip changed")
    overridden, reworked = site.told()
    assert isinstance(overridden, UnitOverridden)
    assert (overridden.unit, overridden.by, overridden.reason) == (UNIT, "lead", "sticker put right")
    assert isinstance(reworked, UnitReworked)
    assert (reworked.unit, reworked.by, reworked.reason, reworked.reworks) == (UNIT, "lead", "chip changed", 1)
    assert (reworked.rig, reworked.product, reworked.order) == ("rig-a", "Controller", "order-1")


def test_a_rework_of_a_quarantined_unit_is_a_rework(site: Site) -> None:
    site.run(WorkState.QUARANTINED)
    site.office().rework(UNIT, "lead", "chip changed")
    assert [event.kind for event in site.told()] == ["unit.reworked"]


def test_a_run_that_decides_nothing_after_an_override_is_no_decision(site: Site) -> None:
    site.run(WorkState.QUARANTINED)
    site.office().override(UNIT, "lead", "sticker put right")
    site.run(WorkState.OPEN)
    site.decisions().tell()
    assert [event.kind for event in site.told()] == ["unit.overridden"]


def test_what_was_decided_at_one_rig_is_told_by_that_rig_alone(site: Site) -> None:
    site.decisions("rig-b").tell()
    site.run(WorkState.QUARANTINED, rig="rig-b")
    site.office("rig-a").override(UNIT, "lead", "sticker put right")
    site.decisions("rig-b").tell()
    assert [event.kind for event in site.told("rig-a")] == ["unit.overridden"]
    assert site.told("rig-b") == []


def test_what_a_crash_has_left_untold_is_told_later_and_once(site: Site) -> None:
    site.decisions().tell()
    site.run(WorkState.QUARANTINED)
    UnitOffice(site.units, "rig-a", lambda: None).override(UNIT, "lead", "sticker put right")
    for _ in range(2):
        site.decisions().tell()
    assert [event.kind for event in site.told()] == ["unit.overridden"]


def test_a_rig_that_is_new_tells_nothing_of_what_was_before(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "AT_ONCE", 2)
    site.run(WorkState.QUARANTINED)
    UnitOffice(site.units, "rig-a", lambda: None).override(UNIT, "lead", "sticker put right")
    site.decisions().tell()
    assert site.told() == []
    site.run(WorkState.QUARANTINED)
    site.office().override(UNIT, "lead", "once more")
    assert [event.kind for event in site.told()] == ["unit.overridden"]


def test_units_that_cannot_be_reached_stop_no_panel(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.units.close()
    site.decisions().tell()
    assert "what leads decided is not told yet" in caplog.text
    with pytest.raises(StoreError):
        site.units.history(0, 1)
