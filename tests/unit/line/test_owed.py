# SPDX-License-Identifier: Apache-2.0
"""Ends that the units' store was away for are told to it later, once, and change nothing that is another rig's."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.core.attempts import Attempt, Ending, Outcome
from birthmark.core.errors import StoreError
from birthmark.core.work import Holder, UnitWork, WorkState
from birthmark.line.errors import UnitsAway
from birthmark.line.leases import Leases
from birthmark.line.owed import tell_owed
from birthmark.line.units import UnitLimits
from birthmark.stores.line_sqlite import LineSQLite
from birthmark.stores.units_sqlite import UnitsSQLite

UNIT = "BM-000001"
LIMITS = UnitLimits(lease_s=0.05)
RIG_A, RIG_B = Holder("rig-a", "run-1"), Holder("rig-b", "run-2")
ATTEMPT = Attempt(
    UNIT, "rig-a", "run-1", 3, "ada", "Controller", "order-1", "PASS", board_s=0.5, step_ms={"power": 1.0}
)


class Away(UnitsSQLite):
    """The rigs' store, whose network is cut before ends."""

    away = True

    def end(self, serial: str, ending: Ending) -> Attempt:
        if self.away:
            raise StoreError("the network is cut", finding="store.unreachable")
        return super().end(serial, ending)


@pytest.fixture
def units(tmp_path: Path) -> Iterator[Away]:
    store = Away(tmp_path / "units.sqlite")
    yield store
    store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(tmp_path / "rig.sqlite") as opened:
        yield opened


def leases(units: Away, store: LineSQLite, holder: Holder = RIG_A) -> Leases:
    return Leases(units, holder, LIMITS, time.monotonic, store.owe)


def known(units: Away) -> UnitWork:
    return units.units([UNIT])[0]


@pytest.fixture
def ended(units: Away, store: LineSQLite) -> None:
    """rig-a passes the unit while the store is away."""
    run = leases(units, store)
    run.take(UNIT)
    run.end(ATTEMPT, WorkState.DONE)


@pytest.mark.usefixtures("ended")
def test_an_end_is_owed_while_the_store_is_away_and_told_when_it_is_back(units: Away, store: LineSQLite) -> None:
    assert known(units).state is WorkState.IN_WORK
    with pytest.raises(UnitsAway):
        tell_owed(store, units, LIMITS)
    assert [end.attempt for end in store.owed()] == [ATTEMPT]
    units.away = False
    assert tell_owed(store, units, LIMITS) == 1
    assert (known(units).state, known(units).passes) == (WorkState.DONE, 1)
    (kept,) = units.last("rig-a", 9)
    assert (kept.outcome, kept.nth, kept.step_ms, kept.board_s) == (Outcome.PASSED, 1, ATTEMPT.step_ms, ATTEMPT.board_s)
    assert tell_owed(store, units, LIMITS) == 0


@pytest.mark.usefixtures("ended")
def test_an_end_that_was_told_and_not_crossed_out_counts_once(units: Away, store: LineSQLite) -> None:
    units.away = False
    (end,) = store.owed()
    tell_owed(store, units, LIMITS)
    store.owe(end)
    assert tell_owed(store, units, LIMITS) == 1
    assert known(units).passes == 1
    assert len(units.last("rig-a", 9)) == 1


@pytest.mark.usefixtures("ended")
def test_a_unit_that_another_rig_has_taken_meanwhile_stays_its(units: Away, store: LineSQLite) -> None:
    time.sleep(LIMITS.lease_s)
    leases(units, store, RIG_B).take(UNIT)
    units.away = False
    assert tell_owed(store, units, LIMITS) == 1
    assert (known(units).state, known(units).holder) == (WorkState.IN_WORK, RIG_B)


def test_an_attempt_at_a_unit_that_the_run_never_had_is_counted_and_the_unit_left_alone(
    units: Away, store: LineSQLite
) -> None:
    leases(units, store).end(replace(ATTEMPT, verdict="FAIL", finding="chip.absent"), WorkState.OPEN)
    units.away = False
    assert tell_owed(store, units, LIMITS) == 1
    assert known(units).state is WorkState.OPEN
    assert [each.outcome for each in units.last("rig-a", 9)] == [Outcome.FAILED]
