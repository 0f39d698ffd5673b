# SPDX-License-Identifier: Apache-2.0
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.core.delivery import DeliveryDeferred, DeliveryRefused, SignedBirth
from birthmark.line.outbox import Outbox
from birthmark.stores.line_sqlite import LineSQLite

RETRY_S = 0.01
PATIENCE_S = 5.0


class Taker:
    """A destination that takes births into a list; away while told so, and never takes poison."""

    def __init__(self, *, away: bool = False, poison: frozenset[str] = frozenset()) -> None:
        self.away = away
        self.poison = poison
        self.taken: list[str] = []

    def deliver(self, birth: SignedBirth) -> None:
        if self.away:
            raise DeliveryDeferred("away")
        if birth.unit in self.poison:
            raise DeliveryRefused("poison", finding="birth.signature")
        self.taken.append(birth.unit)

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LineSQLite]:
    with LineSQLite(tmp_path / "rig-a.sqlite") as store:
        yield store


def commit(store: LineSQLite, *units: str, to: tuple[str, ...] = ("mes",)) -> None:
    for unit in units:
        store.commit_birth(SignedBirth(unit.encode().hex(), unit, "jws"), to, [])


def outbox(store: LineSQLite, **takers: Taker) -> Outbox:
    return Outbox(store, takers, time.monotonic, RETRY_S)


def test_births_of_earlier_runs_are_delivered_in_their_order(store: LineSQLite) -> None:
    commit(store, "BM-000002", "BM-000001", "BM-000003")
    mes = Taker()
    running = outbox(store, mes=mes)
    running.start()
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000002", "BM-000001", "BM-000003"]


def test_a_birth_that_is_committed_while_the_outbox_runs_is_delivered(store: LineSQLite) -> None:
    mes = Taker()
    running = outbox(store, mes=mes)
    running.start()
    commit(store, "BM-000001")
    assert running.finish(PATIENCE_S) == 0
    assert mes.taken == ["BM-000001"]


def test_a_destination_that_is_away_loses_nothing_and_holds_up_no_other(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002", to=("ca", "mes"))
    ca, mes = Taker(), Taker(away=True)
    running = outbox(store, ca=ca, mes=mes)
    running.start()
    assert running.finish(PATIENCE_S) == 2
    assert (ca.taken, mes.taken) == (["BM-000001", "BM-000002"], [])
    mes.away = False
    running = outbox(store, ca=ca, mes=mes)
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


def test_a_poison_birth_parks_itself_and_blocks_nothing(store: LineSQLite) -> None:
    commit(store, "BM-000001", "BM-000002", "BM-000003")
    mes = Taker(poison=frozenset({"BM-000002"}))
    outbox(store, mes=mes).drain("mes")
    assert mes.taken == ["BM-000001", "BM-000003"]
    assert (store.waiting(), store.parked_count()) == (0, 1)


def test_a_destination_that_hangs_is_waited_for_no_longer_than_told(store: LineSQLite) -> None:
    commit(store, "BM-000001")

    class Hanging(Taker):
        def deliver(self, birth: SignedBirth) -> None:
            time.sleep(0.5)
            super().deliver(birth)

    running = outbox(store, mes=Hanging())
    running.start()
    began = time.monotonic()
    assert running.finish(0.1) == 1
    assert time.monotonic() - began < 0.4
    assert running.finish(PATIENCE_S) == 0


@settings(max_examples=30, deadline=None)
@given(
    units=st.lists(st.integers(1, 30), unique=True, max_size=12),
    poison=st.frozensets(st.integers(1, 30), max_size=4),
    outages=st.lists(st.integers(0, 12), max_size=4),
)
def test_whatever_fails_each_birth_arrives_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, units: list[int], poison: frozenset[int], outages: list[int]
) -> None:
    names = [f"BM-{unit:06d}" for unit in units]
    poisoned = frozenset(f"BM-{unit:06d}" for unit in poison)

    left = list(outages)

    class Flaky(Taker):
        def deliver(self, birth: SignedBirth) -> None:
            if left and left[0] <= len(self.taken):
                left.pop(0)
                raise DeliveryDeferred("away")
            super().deliver(birth)

    with LineSQLite(tmp_path_factory.mktemp("outbox") / "rig-a.sqlite") as store:
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
