# SPDX-License-Identifier: Apache-2.0
"""Strangers are slowed down and not turned away at once; clients with a certificate are not even that."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca import pace
from birthmark.ca.pace import BURST, PER_S, WAIT_MAX_S, Pace, Paced
from birthmark.net.asgi import Receive, Scope, Send

GAP_S = 1 / PER_S


def test_a_burst_passes_at_once_and_then_one_in_a_while() -> None:
    made = Pace(PER_S, BURST)
    assert [made.wait_s(10.0) for _ in range(BURST)] == pytest.approx([0.0] * BURST, abs=1e-9)
    assert [round(made.wait_s(10.0) / GAP_S) for _ in range(3)] == [1, 2, 3]


def test_who_would_wait_too_long_takes_nobody_s_turn() -> None:
    made = Pace(per_s=8, burst=4)
    waits = [made.wait_s(0.0) for _ in range(1_000)]
    assert len([wait for wait in waits if wait <= WAIT_MAX_S]) == 4 + WAIT_MAX_S * 8
    assert made.wait_s(1.0) == WAIT_MAX_S - 1.0 + 1 / 8


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=1_000))
def test_in_no_second_pass_more_than_the_pace_and_a_burst(pauses: list[float]) -> None:
    made, now_s, turns = Pace(PER_S, BURST), 0.0, []
    for pause_s in pauses:
        now_s += pause_s
        wait_s = made.wait_s(now_s)
        if wait_s <= WAIT_MAX_S:
            turns.append(now_s + wait_s)
    assert turns == sorted(turns)
    last = 0
    for first, begin in enumerate(turns):
        while last < len(turns) and turns[last] < begin + 1.0:
            last += 1
        assert last - first <= PER_S + BURST + 1


async def _served(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def _nothing() -> dict[str, object]:
    return {"type": "http.request"}


class World:
    """A paced application, whose time stands still."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slept: list[float] = []
        self.app = Paced(_served, lambda: 0.0)

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        monkeypatch.setattr(pace, "sleep", sleep)

    def ask(self, path: str, certificate: bytes | None = None) -> tuple[int, dict[bytes, bytes]]:
        """Return status and headers."""
        told: list[dict[str, object]] = []

        async def send(message: dict[str, object]) -> None:
            told.append(message)

        tls = {"client_cert": certificate, "client_cert_chain": (certificate,), "channel_bindings": dict}
        scope = {"type": "http", "path": path, "extensions": {"tls": tls}}
        asyncio.run(self.app(scope, _nothing, send))  # type: ignore[arg-type] # a dict is a mapping
        headers, status = told[0]["headers"], told[0]["status"]
        assert isinstance(headers, list)
        assert isinstance(status, int)
        return status, dict(headers)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(pace, "BURST", 4)
    monkeypatch.setattr(pace, "PER_S", 8.0)
    return World(monkeypatch)


def test_strangers_wait_and_are_put_off_only_after_they_have_waited(world: World) -> None:
    answers = [world.ask("/v1/crl") for _ in range(25)]
    assert [status for status, _ in answers] == [200] * 20 + [503] * 5
    assert world.slept == [number / 8 for number in range(1, 17)] + [WAIT_MAX_S] * 5
    assert int(answers[-1][1][b"retry-after"]) >= 1


def test_a_flood_of_one_kind_slows_down_no_other(world: World) -> None:
    for _ in range(50):
        world.ask("/v1/crl")
    world.slept.clear()
    for path in ("/v1/health", "/.well-known/est/cacerts", "/.well-known/est/order-1/csrattrs"):
        assert world.ask(path)[0] == 200
    assert world.slept == []


def test_labels_and_paths_that_name_nothing_share_a_pace(world: World) -> None:
    for number in range(50):
        world.ask(f"/.well-known/est/order-{number}/csrattrs")
        world.ask(f"/nothing/{number}")
    assert sorted(world.app._paces) == ["csrattrs", "other"]


def test_who_shows_a_certificate_never_waits(world: World) -> None:
    assert {world.ask("/v1/crl", b"certificate")[0] for _ in range(50)} == {200}
    assert world.slept == []
