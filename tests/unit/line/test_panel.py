# SPDX-License-Identifier: Apache-2.0
"""Positions side by side: what one of them meets is no other's affair."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from birthmark.core.delivery import Parcel
from birthmark.line.config import Position
from birthmark.line.journal import Result
from birthmark.line.panel import Panel, Verdict
from birthmark.line.ports import Event
from birthmark.line.service import deliver, personalise
from birthmark.silicon.errors import ChipAbsent
from birthmark.silicon.port import SecureElement
from support.line_bench import ROUTES, UNIT, Bench

GOOD = Position(unit=UNIT, chip="local")


class Fixture:
    """Knows one chip; other addresses are empty or broken."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def open(self, address: str) -> SecureElement:
        if address == "absent":
            raise ChipAbsent("nothing answers", hint="seat the board")
        if address == "broken":
            raise ZeroDivisionError
        return self._bench.open()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def run(bench: Bench, *positions: Position) -> tuple[Verdict, ...]:
    with ThreadPoolExecutor(2 * len(positions)) as threads:
        return Panel(bench.station(threads), Fixture(bench).open, threads).run(positions)[0]


def test_each_position_gets_its_own_verdict(bench: Bench) -> None:
    positions = (
        Position(bad=True),
        Position(unit="BM-000002", chip="absent"),
        GOOD,
        Position(unit="BM-000004", chip="broken"),
    )
    verdicts = run(bench, *positions)
    assert [verdict.result for verdict in verdicts] == [Result.SKIP, Result.FAIL, Result.PASS, Result.FAIL]
    assert [verdict.finding for verdict in verdicts] == ["", "chip.absent", "", "internal"]
    assert "seat the board" in verdicts[1].reason
    told = {event["position"]: event["verdict"] for event in bench.events if event["event"] == "verdict"}
    assert told == {1: "SKIP", 2: "FAIL", 3: "PASS", 4: "FAIL"}


def test_an_error_that_nobody_foresaw_says_nothing_of_its_content(bench: Bench) -> None:
    (verdict,) = run(bench, Position(unit="BM-000004", chip="broken"))
    assert verdict.reason == "ZeroDivisionError: see the log"


def test_a_panel_of_bad_boards_only_ends_at_once(bench: Bench) -> None:
    assert [verdict.result for verdict in run(bench, Position(bad=True), Position(bad=True))] == [Result.SKIP] * 2


def test_a_run_that_is_ended_lets_no_board_begin_another_step(bench: Bench) -> None:
    with ThreadPoolExecutor(2) as threads:
        station = bench.station(threads)

        def watch(event: Event) -> None:
            if event["event"] == "step" and event["step"] == "generate":
                station.holds.stop()

        bench.watch = watch
        (verdict,), _ = Panel(station, bench.open, threads).run([GOOD])
    assert (verdict.result, verdict.finding) == (Result.FAIL, "line.stopped")
    assert bench.steps()[-1] == "generate"
    bench.watch = lambda _: None
    assert bench.run().result is Result.RESUMED


class Taker:
    """A destination that takes everything."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    def deliver(self, parcel: Parcel) -> None:
        self.taken.append(parcel.unit)

    def close(self) -> None:
        """Nothing to close."""


def test_the_report_counts_boards_and_births(bench: Bench) -> None:
    positions = [GOOD, Position(unit="BM-000002", chip="absent"), Position(bad=True)]
    report = personalise(bench.line({"ca": Taker()}, Fixture(bench).open), positions, 1.0)
    # For the MES: the rig's two ends, the panel's, the work's start, two units' starts, three verdicts, one birth.
    assert (report.passed, report.failed, report.outbox) == (1, 1, 11)
    assert bench.events[-1]["event"] == "panel.end"
    assert bench.events[-1]["outbox"] == 11


def test_what_was_parked_is_offered_again_when_a_person_asks_for_delivery(bench: Bench) -> None:
    bench.run()
    (parcel,) = bench.store.parcels("ca", 1)
    bench.store.parked(parcel, "birth.signer", "2026-05-04T12:00:00.000+00:00")
    destinations = {name: Taker() for name in ROUTES}
    assert deliver(bench.store, bench.outbox(destinations), tuple(ROUTES)) == 0
    assert destinations["ca"].taken == [UNIT]
