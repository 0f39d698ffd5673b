# SPDX-License-Identifier: Apache-2.0
import threading
import time
from collections.abc import Callable

import pytest

from birthmark.line.errors import AuthorityAway, AuthorityRefused, HoldEnded, LineStopped, UnitInWork
from birthmark.line.events import Events
from birthmark.line.hold import Holds

SOON_S = 0.01


class Heard:
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []

    def holds(self, limit_s: float | None = None, retry_s: float = SOON_S) -> Holds:
        return Holds(Events(self.events.append), time.monotonic, retry_s, limit_s)

    @property
    def kinds(self) -> list[object]:
        return [event["event"] for event in self.events]


def failing(*errors: Exception) -> Callable[[], str]:
    """Return something that raises each error in turn and then answers."""
    left = list(errors)

    def act() -> str:
        if left:
            raise left.pop(0)
        return "answer"

    return act


AWAY = AuthorityAway("the CA is unreachable", hint="see that it runs", finding="net.unreachable")


def test_an_authority_that_is_there_causes_no_hold() -> None:
    heard = Heard()
    assert heard.holds().call("BM-000001", failing()) == "answer"
    assert heard.events == []


def test_one_hold_is_announced_however_often_the_authority_is_asked() -> None:
    heard = Heard()
    assert heard.holds().call("BM-000001", failing(AWAY, AWAY, AWAY)) == "answer"
    assert heard.kinds == ["hold", "resume"]
    assert heard.events[0]["what"] == "the CA is unreachable"
    assert heard.events[0]["hint"] == "see that it runs"


def test_positions_that_wait_for_the_same_reason_share_one_hold() -> None:
    heard = Heard()
    holds = heard.holds()
    back = threading.Event()

    def ask() -> str:
        if not back.is_set():
            raise AWAY
        return "answer"

    threads = [threading.Thread(target=holds.call, args=(f"BM-00000{n}", ask)) for n in range(8)]
    for thread in threads:
        thread.start()
    time.sleep(5 * SOON_S)
    back.set()
    for thread in threads:
        thread.join()
    assert heard.kinds == ["hold", "resume"]


def test_the_end_of_a_hold_wakes_those_who_still_have_long_to_wait() -> None:
    heard = Heard()
    holds = heard.holds()
    patient = AuthorityAway("busy", finding="ca.busy", retry_after_s=3600)
    waiting = threading.Thread(target=holds.call, args=("BM-000001", failing(patient)))
    waiting.start()
    while "hold" not in heard.kinds:
        time.sleep(SOON_S)
    holds.call("BM-000002", failing(AWAY))
    waiting.join(timeout=5)
    assert not waiting.is_alive()


def test_retry_after_is_honoured() -> None:
    began = time.monotonic()
    Heard().holds().call("BM-000001", failing(AuthorityAway("busy", retry_after_s=0.2)))
    assert time.monotonic() - began >= 0.2


def test_a_unit_in_work_holds_its_own_position_only() -> None:
    heard = Heard()
    holds = heard.holds()
    in_work = UnitInWork("the unit is with rig-b", finding="ca.6.unit-in-work", retry_after_s=0.2)
    waiting = threading.Thread(target=holds.call, args=("BM-000001", failing(in_work)))
    waiting.start()
    while "hold" not in heard.kinds:
        time.sleep(SOON_S)
    began = time.monotonic()
    assert holds.call("BM-000002", failing()) == "answer"
    assert time.monotonic() - began < 0.1
    waiting.join()
    assert heard.kinds == ["hold", "resume"]
    assert heard.events[-1]["unit"] == "BM-000001"


def test_a_refusal_ends_the_hold_and_is_not_asked_again() -> None:
    heard = Heard()
    with pytest.raises(AuthorityRefused):
        heard.holds().call("BM-000001", failing(AWAY, AuthorityRefused("no", finding="ca.8.quota")))
    assert heard.kinds == ["hold", "resume"]


def test_a_hold_that_lasts_too_long_ends_with_the_cause() -> None:
    heard = Heard()
    with pytest.raises(HoldEnded, match="the CA is unreachable"):
        heard.holds(limit_s=0.05).call("BM-000001", failing(*[AWAY] * 1000))


def test_where_nobody_is_to_wait_any_more_a_hold_ends_and_what_need_not_wait_goes_on() -> None:
    heard = Heard()
    holds = heard.holds(retry_s=3600)
    ended: list[str] = []

    def work() -> None:
        try:
            holds.call("BM-000001", failing(AWAY))
        except HoldEnded as error:
            ended.append(error.finding)

    waiting = threading.Thread(target=work)
    waiting.start()
    while "hold" not in heard.kinds:
        time.sleep(SOON_S)
    holds.wait_no_more()
    waiting.join(timeout=5)
    assert ended == ["line.hold.ending"]
    with pytest.raises(HoldEnded, match="switched off"):
        holds.call("BM-000002", failing(AWAY))
    holds.check_running()
    assert holds.call("BM-000003", failing()) == "answer"


def test_a_stopped_run_ends_its_holds_at_once() -> None:
    heard = Heard()
    holds = heard.holds(retry_s=3600)
    ended: list[type] = []

    def wait() -> None:
        try:
            holds.call("BM-000001", failing(AWAY))
        except LineStopped as error:
            ended.append(type(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while "hold" not in heard.kinds:
        time.sleep(SOON_S)
    holds.stop()
    waiting.join(timeout=5)
    assert ended == [LineStopped]
    with pytest.raises(LineStopped):
        holds.check_running()
