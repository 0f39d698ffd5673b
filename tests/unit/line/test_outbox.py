# SPDX-License-Identifier: Apache-2.0
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, Parcel, Wants
from birthmark.line.events import Events
from birthmark.line.outbox import PAUSE_MAX_S, Outbox
from birthmark.line.ports import Event
from birthmark.stores.line_sqlite import LineSQLite
from support.parcels import started

RETRY_S = 0.01
PATIENCE_S = 5.0
MOMENT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ROUTES = {"ca": Wants.EVERYTHING, "mes": Wants.EVERYTHING}


class Taker:
    """A destination that takes events into a list; away while told so, and never takes poison."""

    def __init__(self, *, away: bool = False, poison: frozenset[str] = frozenset()) -> None:
        self.away = away
        self.retry_after_s: float | None = None
        self.poison = poison
        self.taken: list[str] = []

    def deliver(self, parcel: Parcel) -> None:
        if self.away:
            raise DeliveryDeferred("away", retry_after_s=self.retry_after_s)
        if parcel.unit in self.poison:
            raise DeliveryRefused("poison", finding="birth.signature")
        self.taken.append(parcel.event().about)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(tmp_path / "rig-a.sqlite", {"mes": Wants.EVERYTHING}) as store:
        yield store


@pytest.fixture
def both(tmp_path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(tmp_path / "rig-b.sqlite", ROUTES) as store:
        yield store


def commit(store: LineSQLite, *units: str) -> None:
    for unit in units:
        store.journal((), (started(unit),))


def outbox(store: LineSQLite, heard: list[Event] | None = None, moment: datetime = MOMENT, **takers: Taker) -> Outbox:
    events = Events([].append if heard is None else heard.append)
    return Outbox(store, takers, events, clock=lambda: moment, stopwatch=time.monotonic, retry_s=RETRY_S)


def test_events_of_earlier_runs_are_delivered_in_their_order(store: LineSQLite) -> None:
    commit(store, "BM-000002", "BM-000001", "BM-000003")
    mes = Taker()
    running = outbox(store, mes=mes)
    running.start()
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000002", "BM-000001", "BM-000003"]


def test_an_event_that_is_committed_while_the_outbox_runs_is_delivered(store: LineSQLite) -> None:
    mes = Taker()
    running = outbox(store, mes=mes)
    running.start()
    commit(store, "BM-000001")
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000001"]


def test_a_destination_that_is_away_loses_nothing_and_holds_up_no_other(both: LineSQLite) -> None:
    commit(both, "BM-000001", "BM-000002")
    ca, mes = Taker(), Taker(away=True)
    running = outbox(both, ca=ca, mes=mes)
    running.start()
    assert running.finish(PATIENCE_S) == 2
    assert (ca.taken, mes.taken) == (["BM-000001", "BM-000002"], [])
    mes.away = False
    running = outbox(both, ca=ca, mes=mes)
    running.start()
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000001", "BM-000002"]


def test_a_destination_that_comes_back_while_the_outbox_runs_gets_everything(store: LineSQLite) -> None:
    commit(store, "BM-000001")
    mes = Taker(away=True)
    running = outbox(store, mes=mes)
    running.start()
    mes.away = False
    deadline = time.monotonic() + PATIENCE_S
    while not mes.taken and time.monotonic() < deadline:
        time.sleep(RETRY_S)
    assert mes.taken == ["BM-000001"]
    assert running.finish(PATIENCE_S) == 0


def test_a_poison_event_parks_itself_with_an_alarm_and_blocks_nothing(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002", "BM-000003")
    mes, heard = Taker(poison=frozenset({"BM-000002"})), list[Event]()
    outbox(store, heard, mes=mes).drain("mes")
    assert mes.taken == ["BM-000001", "BM-000003"]
    assert (store.waiting(), store.parked_count()) == (0, 1)
    (alarm,) = heard
    assert (alarm["event"], alarm["destination"], alarm["sequence"]) == ("alarm", "mes", 2)
    assert (alarm["unit"], alarm["finding"], alarm["reason"]) == ("BM-000002", "birth.signature", "poison")
    assert alarm["hint"] == "mend the cause, then: birthmark line outbox retry mes 2"


def test_a_copy_that_is_damaged_on_the_disk_is_parked_and_blocks_nothing(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002", "BM-000003")
    store._file.write("update event set body = substr(body, 1, 100) where sequence = 2")
    mes = Taker()
    outbox(store, mes=mes).drain("mes")
    assert mes.taken == ["BM-000001", "BM-000003"]
    (parked,) = store.aside()
    assert "not an event of a line" in parked.reason


def test_an_error_that_nobody_foresaw_ends_no_delivery_and_can_be_parked_by_a_person(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002")

    class Broken(Taker):
        def deliver(self, parcel: Parcel) -> None:
            if parcel.unit == "BM-000001":
                raise ZeroDivisionError
            super().deliver(parcel)

    mes = Broken()
    running = outbox(store, mes=mes)
    running.start()
    deadline = time.monotonic() + PATIENCE_S
    while not store.backlog()[0].attempts and time.monotonic() < deadline:
        time.sleep(RETRY_S)
    assert store.backlog()[0].reason == "internal: ZeroDivisionError: see the log"
    store.parked(store.parcels("mes", 1)[0], "by ada: broken", MOMENT.isoformat())
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000002"]


def test_what_was_taken_before_an_outage_is_not_offered_again(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002", "BM-000003")

    class Leaving(Taker):
        def deliver(self, parcel: Parcel) -> None:
            self.away = len(self.taken) == 2
            super().deliver(parcel)

    with pytest.raises(DeliveryDeferred):
        outbox(store, mes=Leaving()).drain("mes")
    mes = Taker()
    outbox(store, mes=mes).drain("mes")
    assert mes.taken == ["BM-000003"]


def test_a_destination_that_asks_for_patience_gets_it_also_from_the_next_run(store: LineSQLite) -> None:
    commit(store, "BM-000001")
    mes = Taker(away=True)
    mes.retry_after_s = 60.0
    with pytest.raises(DeliveryDeferred):
        outbox(store, mes=mes).drain("mes")
    mes.away = False
    for seconds, taken in ((59, []), (61, ["BM-000001"])):
        running = outbox(store, moment=MOMENT + timedelta(seconds=seconds), mes=mes)
        running.start()
        running.finish(PATIENCE_S)
        assert mes.taken == taken


def test_no_destination_is_left_alone_for_longer_than_an_hour(store: LineSQLite) -> None:
    commit(store, "BM-000001")
    mes = Taker(away=True)
    mes.retry_after_s = 1e9
    with pytest.raises(DeliveryDeferred):
        outbox(store, mes=mes).drain("mes")
    assert store.pause_until("mes") == (MOMENT + timedelta(seconds=PAUSE_MAX_S)).isoformat(timespec="milliseconds")


def test_a_destination_that_hangs_is_waited_for_no_longer_than_told(store: LineSQLite) -> None:
    commit(store, "BM-000001")

    class Hanging(Taker):
        def deliver(self, parcel: Parcel) -> None:
            time.sleep(0.5)
            super().deliver(parcel)

    running = outbox(store, mes=Hanging())
    running.start()
    began = time.monotonic()
    assert running.finish(0.1) == 1
    assert time.monotonic() - began < 0.4
    assert running.finish(PATIENCE_S) == 0


def test_a_rig_that_ends_at_once_has_nothing_to_say_of_a_delivery_that_is_under_way(
    store: LineSQLite, caplog: pytest.LogCaptureFixture
) -> None:
    commit(store, "BM-000001")
    under_way, go_on, over = threading.Event(), threading.Event(), threading.Event()

    class Closed(Taker):
        def deliver(self, _parcel: Parcel) -> None:
            under_way.set()
            go_on.wait(PATIENCE_S)
            try:
                raise ValueError("I/O operation on a closed file")
            finally:
                over.set()

    running = outbox(store, mes=Closed())
    running.start()
    under_way.wait(PATIENCE_S)
    running.stop()
    go_on.set()
    assert over.wait(PATIENCE_S)
    assert running.finish(PATIENCE_S) == 1
    assert caplog.records == []


@settings(max_examples=30, deadline=None)
@given(
    units=st.lists(st.integers(1, 30), unique=True, max_size=12),
    poison=st.frozensets(st.integers(1, 30), max_size=4),
    outages=st.lists(st.integers(0, 12), max_size=4),
)
def test_whatever_fails_each_event_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, units: list[int], poison: frozenset[int], outages: list[int]
) -> None:
    names = [f"BM-{unit:06d}" for unit in units]
    poisoned = frozenset(f"BM-{unit:06d}" for unit in poison)

    left = list(outages)

    class Flaky(Taker):
        def deliver(self, parcel: Parcel) -> None:
            if left and left[0] <= len(self.taken):
                left.pop(0)
                raise DeliveryDeferred("away")
            super().deliver(parcel)

    with LineSQLite(tmp_path_factory.mktemp("outbox") / "rig-a.sqlite", {"mes": Wants.EVERYTHING}) as store:
        commit(store, *names)
        mes = Flaky(poison=poisoned)
        box = outbox(store, mes=mes)
        for _ in range(len(outages) + 1):
            try:
                box.drain("mes")
            except DeliveryDeferred:
                continue
        assert mes.taken == [name for name in names if name not in poisoned]
        assert (store.waiting(), store.parked_count()) == (0, len(poisoned & set(names)))
