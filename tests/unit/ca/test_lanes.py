# SPDX-License-Identifier: Apache-2.0
"""A lane holds up nobody outside of it: a queue with an end, a bounded wait, one answer for one question."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from birthmark.ca import lanes
from birthmark.ca.errors import NotNow
from birthmark.ca.lanes import WAITING_MAX, Lane

AGES_S = 30


class Gate:
    """Something that is waited for, and how often it was begun."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.times = 0

    def passed(self) -> str:
        self.times += 1
        self.begun.set()
        assert self.open.wait(AGES_S)
        return "passed"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


@pytest.fixture
def lane() -> Lane:
    return Lane("test", 1)


def test_one_question_of_many_is_answered_once(lane: Lane, gate: Gate) -> None:
    async def many() -> list[str]:
        asked = [asyncio.create_task(lane.run("list", gate.passed)) for _ in range(100)]
        await asyncio.to_thread(gate.begun.wait, AGES_S)
        gate.open.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(many()) == ["passed"] * 100
    assert gate.times == 1


def test_it_is_asked_anew_once_it_was_answered(lane: Lane) -> None:
    answers = iter("ab")

    async def twice() -> list[str]:
        return [await lane.run("list", lambda: next(answers)) for _ in range(2)]

    assert asyncio.run(twice()) == ["a", "b"]


def test_what_waits_in_vain_is_told_so_and_the_loop_goes_on(
    lane: Lane, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "WAIT_MAX_S", 0.1)

    async def asked() -> str:
        with pytest.raises(NotNow) as late:
            await lane.run("list", gate.passed)
        return late.value.finding

    assert asyncio.run(asked()) == "ca.slow"


def test_a_queue_has_an_end_and_shares_its_places(lane: Lane, gate: Gate) -> None:
    async def crowd() -> None:
        asked = [asyncio.create_task(lane.run(number, gate.passed)) for number in range(WAITING_MAX)]
        await asyncio.to_thread(gate.begun.wait, AGES_S)
        with pytest.raises(NotNow) as full:
            await lane.run("one more", gate.passed)
        assert full.value.finding == "ca.overload"
        asked.append(asyncio.create_task(lane.run(3, gate.passed)))
        await asyncio.sleep(0)
        gate.open.set()
        assert await asyncio.gather(*asked) == ["passed"] * (WAITING_MAX + 1)
        assert await lane.run("one more", gate.passed) == "passed"

    asyncio.run(crowd())


def test_who_leaves_takes_the_answer_from_nobody(lane: Lane, gate: Gate) -> None:
    async def two() -> str:
        leaves, stays = (asyncio.create_task(lane.run("list", gate.passed)) for _ in range(2))
        await asyncio.to_thread(gate.begun.wait, AGES_S)
        leaves.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaves
        gate.open.set()
        return await stays

    assert asyncio.run(two()) == "passed"


def test_what_goes_wrong_goes_wrong_for_all_who_asked_and_for_nobody_later(lane: Lane, gate: Gate) -> None:
    def wrong() -> str:
        gate.passed()
        raise NotNow("ca.store", "no", retry_after_s=1)

    async def several() -> list[BaseException | str]:
        asked = [asyncio.create_task(lane.run("list", wrong)) for _ in range(3)]
        await asyncio.to_thread(gate.begun.wait, AGES_S)
        gate.open.set()
        told = await asyncio.gather(*asked, return_exceptions=True)
        return [*told, await lane.run("list", lambda: "right")]

    *told, after = asyncio.run(several())
    assert [isinstance(each, NotNow) for each in told] == [True] * 3
    assert after == "right"


def test_several_loops_share_an_answer(lane: Lane, gate: Gate) -> None:
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda: told.append(asyncio.run(lane.run("list", gate.passed)))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    assert gate.begun.wait(AGES_S)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert told == ["passed", "passed"]
    assert gate.times <= 2
