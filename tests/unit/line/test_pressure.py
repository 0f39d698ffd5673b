# SPDX-License-Identifier: Apache-2.0
"""What the line does while the MES is behind, by policy."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from birthmark.core.birth import read_birth
from birthmark.core.delivery import Backlog, DeliveryDeferred, Parcel, Wants
from birthmark.core.line_events import LineHeld, LineResumed, UnitBorn
from birthmark.line.config import Position
from birthmark.line.errors import HoldEnded, MESBehind
from birthmark.line.ports import Event
from birthmark.line.pressure import Gate, MESPolicy, Pressure
from birthmark.line.service import personalise
from support.line_bench import UNIT, Bench
from support.parcels import started

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
STANDING = Backlog("mes", Wants.EVERYTHING, 0, "", 0, 0, "", "", 0, configured=True)
PRESSURE = Pressure(MESPolicy.STOP, 10, 600.0)
PANEL = [Position(unit=UNIT, chip="local")]


def standing(waiting: int, age_s: float = 1.0, name: str = "mes") -> Backlog:
    oldest_at = (NOW - timedelta(seconds=age_s)).isoformat() if waiting else ""
    return replace(STANDING, destination=name, waiting=waiting, oldest_at=oldest_at)


@pytest.mark.parametrize(
    ("backlog", "behind"),
    [
        pytest.param(standing(0), False, id="nothing waits"),
        pytest.param(standing(10), False, id="at the limit"),
        pytest.param(standing(11), True, id="more than the limit"),
        pytest.param(standing(1, 600.0), False, id="as old as the limit"),
        pytest.param(standing(1, 601.0), True, id="older"),
        pytest.param(standing(1, -600.0), False, id="a clock that was set back"),
        pytest.param(replace(standing(0), parked=99), False, id="parked ones do not count"),
        pytest.param(standing(11, name="ca"), False, id="the CA has its own hold"),
        pytest.param(replace(standing(11), configured=False), False, id="named no more"),
    ],
)
def test_behind_is_who_has_more_waiting_or_for_longer_than_the_limits(backlog: Backlog, *, behind: bool) -> None:
    assert bool(PRESSURE.behind([backlog], NOW)) is behind


def test_a_gate_that_was_shut_opens_when_half_of_the_limit_waits() -> None:
    gate = Gate(PRESSURE)
    gate.demand([standing(10)], NOW)
    for waiting in (11, 10, 6):
        with pytest.raises(MESBehind):
            gate.demand([standing(waiting)], NOW)
    gate.demand([standing(5)], NOW)
    gate.demand([standing(10)], NOW)


def test_the_message_says_what_waits_since_when_and_why() -> None:
    with pytest.raises(MESBehind) as caught:
        Gate(PRESSURE).demand([replace(standing(12, 60.0), reason="net.unreachable: no route")], NOW)
    assert caught.value.message == "12 events wait for mes, since 2026-05-04T11:59:00+00:00 (net.unreachable: no route)"
    assert "birthmark line outbox list" in caught.value.hint
    assert caught.value.finding == "line.mes.behind"


class MES:
    """A destination that is away until it has been asked so many times."""

    def __init__(self, away: int) -> None:
        self.away = away
        self.taken: list[str] = []

    def deliver(self, parcel: Parcel) -> None:
        self.away -= 1
        if self.away >= 0:
            raise DeliveryDeferred("nobody answers")
        self.taken.append(parcel.key)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.pressure = Pressure(MESPolicy.STOP, 2, 600.0)
    for number in range(3):
        bench.store.journal((), (started(f"BM-00001{number}"),))
    return bench


def holds(bench: Bench) -> list[Event]:
    return [event for event in bench.events if event["event"] in {"hold", "resume"}]


def test_a_line_that_stops_begins_no_panel_and_goes_on_alone_when_the_mes_is_back(bench: Bench) -> None:
    mes = MES(away=5)
    began: list[int] = []

    def watch(event: Event) -> None:
        if event["event"] == "panel.start":
            began.append(len(mes.taken))

    bench.watch = watch
    report = personalise(bench.line({"ca": MES(0), "mes-file": mes}, bench.open), PANEL, 5.0)
    assert (report.passed, report.outbox) == (1, 0)
    assert began[0] >= 2  # the older events first
    hold, resume = holds(bench)
    assert str(hold["what"]).startswith("4 events wait for mes-file, since ")
    assert (hold["finding"], resume["finding"], resume["unit"]) == ("line.mes.behind", "line.mes.behind", "")
    assert [type(event) for event in bench.told()[4:6]] == [LineHeld, LineResumed]
    assert mes.taken == [event.idempotency_key for event in bench.told()]
    assert not any(event.mes_hold for event in bench.told())


def test_a_line_that_may_stand_still_for_so_long_only_touches_no_board(bench: Bench) -> None:
    bench.hold_limit_s = 0.05
    with pytest.raises(HoldEnded) as caught:
        personalise(bench.line({"ca": MES(0), "mes-file": MES(10**6)}, bench.open), PANEL, 0.1)
    assert "events wait for mes-file" in caught.value.message
    assert bench.steps() == []


def test_a_line_that_goes_on_flags_what_it_makes_until_the_mes_has_caught_up(bench: Bench) -> None:
    bench.pressure = Pressure(MESPolicy.HOLD_FLAGS, 2, 600.0)
    line = bench.line({"ca": MES(0), "mes-file": MES(10**6)}, bench.open)
    assert personalise(line, PANEL, 0.1).passed == 1
    (behind,) = (event for event in bench.events if event["event"] == "mes.behind")
    assert (behind["destination"], behind["hint"]) == (
        "mes-file",
        "the line goes on; units carry mes_hold until the MES has caught up",
    )
    flagged = [event for event in bench.told() if event.run not in {"", "run-1"}]
    assert len(flagged) == 6
    assert all(event.mes_hold for event in flagged)
    (born,) = (event for event in flagged if isinstance(event, UnitBorn))
    assert read_birth(born.jws).mes_hold
    (began,) = (event for event in bench.events if event["event"] == "panel.start")
    assert began["mes_hold"] is True

    bench.ca.set_state("confirmed")
    bench.outbox({"mes-file": MES(0)}).drain("mes-file")
    personalise(bench.line({"ca": MES(0), "mes-file": MES(0)}, bench.open), PANEL, 1.0)
    later = bench.told()[-6:]
    assert {event.kind for event in later} == {event.kind for event in flagged} - {"unit.born"} | {"rig.ended"}
    assert not any(event.mes_hold for event in later)
