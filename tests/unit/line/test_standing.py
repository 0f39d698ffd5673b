# SPDX-License-Identifier: Apache-2.0
"""How a rig stands by what it has told, and what ends that which a process that was killed has left open."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.line_events import (
    LineEvent,
    LineHeld,
    LineResumed,
    Outcome,
    PanelBegun,
    PanelBroken,
    PanelEnded,
    Place,
    RigState,
    StateChange,
)
from birthmark.line.births import Rig
from birthmark.line.duty import Duty
from birthmark.line.standing import ENDS, Standing, standing_of
from birthmark.line.telling import Teller, Told
from support.births import new_rig

MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
PLACES = [
    Place(position=1, unit="BM-000001"),
    Place(position=2, unit="BM-000002"),
    Place(position=3, unit="", bad=True),
]
AWAY = {"event": "hold", "unit": "", "what": "no connection", "hint": "see", "finding": "line.ca.away"}
WAITS = AWAY | {"unit": "BM-000001", "finding": "line.unit.in-work"}
certificate, key = new_rig()
RIG = Rig("rig-a", "ada", "Controller", "order-1", "birthmark test", certificate, key)


class Log:
    """What a rig has told, one second after the other; `stands` reads no more of it than the rig does."""

    def __init__(self) -> None:
        self.events: list[LineEvent] = []
        self.now = MOMENT
        self.duty = Duty(RIG, self.clock)
        self.panel(0)

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def panel(self, number: int) -> None:
        self.teller = Teller(RIG, f"run-{number}", f"panel-{number}", self.clock, "ab" * 32)

    def stands(self) -> Standing:
        ends = [place for place, event in enumerate(self.events) if event.kind in ENDS]
        return standing_of(self.events[ends[-1] if ends else 0 :])

    def tell(self, *events: LineEvent) -> None:
        self.events += events

    def up(self) -> None:
        self.tell(*self.duty.begins(self.stands()))

    def down(self) -> None:
        self.tell(*self.duty.ends(self.stands()))

    def begin(self) -> None:
        self.tell(self.teller.panel_begun(PLACES))

    def work(self) -> None:
        self.tell(self.teller.work_started(PLACES, "", self.stands()))

    def verdict(self) -> None:
        self.tell(self.teller.verdict(1, "BM-000001", Told("PASS")))

    def end(self) -> None:
        outcomes = [Outcome(position=place.position, unit=place.unit, verdict="PASS") for place in PLACES]
        self.tell(*self.teller.panel_ended(outcomes, (3, 0, 0), 1.0, self.stands()))

    def break_off(self) -> None:
        self.tell(*self.duty.breaks_off(self.stands()))

    def hold(self) -> None:
        self.tell(self.teller.held(AWAY, self.stands()))

    def wait(self) -> None:
        self.tell(self.teller.held(WAITS, self.stands()))

    def resume(self) -> None:
        self.tell(*self.teller.resumed(AWAY, self.stands()))

    def go_on(self) -> None:
        self.tell(*self.teller.resumed(WAITS, self.stands()))


def log(*acts: str) -> Log:
    told = Log()
    for act in acts:
        getattr(told, act)()
    return told


def changes(told: Log) -> list[tuple[LineEvent, StateChange]]:
    found = ((event, getattr(event, "change", None)) for event in told.events)
    return [(event, change) for event, change in found if change is not None]


def states(told: Log) -> list[str]:
    return [f"{change.was} {change.now}" for _, change in changes(told) if change.was is not change.now]


def test_a_rig_comes_up_works_and_goes_down() -> None:
    told = log("up", "begin", "work", "verdict", "end", "down")
    assert states(told) == ["down idle", "idle work", "work idle", "idle down"]
    assert [change.was_s for _, change in changes(told)] == [0.0, 2.0, 2.0, 1.0]


def test_a_hold_stops_the_line_and_a_position_that_waits_does_not() -> None:
    assert states(log("up", "begin", "work", "wait", "go_on")) == ["down idle", "idle work"]
    told = log("up", "begin", "work", "wait", "hold", "go_on", "resume", "end")
    assert states(told) == ["down idle", "idle work", "work held", "held work", "work idle"]
    assert states(log("up", "hold", "resume", "begin")) == ["down idle", "idle held", "held idle"]


def test_an_end_names_its_hold_and_what_was_no_hold_has_no_end() -> None:
    told = log("up", "begin", "resume", "hold", "resume", "resume")
    held, resumed = told.events[-2:]
    assert isinstance(held, LineHeld)
    assert isinstance(resumed, LineResumed)
    assert (resumed.hold, resumed.finding) == (held.idempotency_key, "line.ca.away")


def test_a_panel_without_work_changes_nothing_and_the_state_goes_on() -> None:
    told = log("up", "begin", "end", "begin", "work")
    (_, _), (_, stays), (_, worked) = changes(told)
    assert (stays.was, stays.now, stays.was_s) == (RigState.IDLE, RigState.IDLE, 2.0)
    assert worked == StateChange(was=RigState.IDLE, was_s=4.0, now=RigState.WORK)


def test_what_a_killed_process_left_open_is_ended_as_of_its_last_sign_of_life() -> None:
    told = log("up", "begin", "work", "verdict", "hold")
    last = told.events[-1].at
    told.up()
    resumed, broken, ended, started = told.events[-4:]
    assert isinstance(broken, PanelBroken)
    assert {resumed.at, broken.at, ended.at} == {last}
    assert started.at > last
    assert [outcome.verdict for outcome in broken.outcomes] == ["PASS", "", "SKIP"]
    assert (broken.worked, broken.transaction, broken.operator) == (True, "panel-0", "ada")
    assert states(told)[-5:] == ["work held", "held work", "work idle", "idle down", "down idle"]


def test_a_rig_that_went_down_in_good_order_has_nothing_to_end() -> None:
    told = log("up", "down")
    before = list(told.events)
    told.up()
    assert [event.kind for event in told.events[len(before) :]] == ["rig.started"]


PANELS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["hold", "resume"]), max_size=3),
        st.lists(st.sampled_from(["hold", "resume", "wait", "go_on", "verdict"]), max_size=5),
        st.sampled_from(["end", "break_off", "kill", "kill before work", "refused"]),
    ),
    max_size=4,
)


@given(PANELS)
def test_whatever_happens_states_follow_each_other_and_all_that_begins_ends_once(
    panels: list[tuple[list[str], list[str], str]],
) -> None:
    told = log("up")
    for number, (before, during, ending) in enumerate(panels):
        told.panel(number)
        whole = [*held_once(before, "hold"), "begin"]
        if ending in {"end", "break_off", "kill"}:
            whole += ["work", *during]
        whole.append({"kill": "up", "kill before work": "up", "refused": "end"}.get(ending, ending))
        for act in whole:
            getattr(told, act)()
            everything = standing_of(told.events)
            assert told.stands() == everything
    told.down()
    since, state = told.events[0].at, RigState.DOWN
    for event, change in changes(told):
        assert change.was is state
        assert change.was_s == (datetime.fromisoformat(event.at) - datetime.fromisoformat(since)).total_seconds()
        if change.now is not state:
            since, state = event.at, change.now
    assert state is RigState.DOWN
    held = [event.idempotency_key for event in told.events if isinstance(event, LineHeld)]
    assert sorted(event.hold for event in told.events if isinstance(event, LineResumed)) == sorted(held)
    begun = [event.transaction for event in told.events if isinstance(event, PanelBegun)]
    assert begun == [event.transaction for event in told.events if isinstance(event, PanelEnded | PanelBroken)]
    keys = [event.idempotency_key for event in told.events if event.kind != "unit.verdict"]
    assert len(set(keys)) == len(keys)


def held_once(acts: list[str], act: str) -> list[str]:
    """Leave out holds of what is held already: the line announces each once."""
    kept: list[str] = []
    for each in acts:
        if each != act or kept.count(act) == kept.count("resume"):
            kept.append(each)
    return kept
