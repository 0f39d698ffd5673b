# SPDX-License-Identifier: Apache-2.0
"""Years of failures against closed forms, and against the floor itself when failures are made frequent."""

import math
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from birthmark.line.plan.bounds import HOUR_S
from birthmark.line.plan.scenario import changed
from birthmark.line.plan.season import HOURS_PER_YEAR, Fleet, Season, run_season
from birthmark.line.plan.simulation import Floor
from support.plans import scenario

MTBF_H, MTTR_H = 90.0, 10.0
ALIVE = MTBF_H / (MTBF_H + MTTR_H)
YEARS = 200.0
TWO_RIGS = {"positions": 2, "rigs": 2, "buffer_panels": 2}


def alive_with_probability(rigs: int) -> list[float]:
    return [math.comb(rigs, k) * ALIVE**k * (1 - ALIVE) ** (rigs - k) for k in range(rigs + 1)]


def season(rates: tuple[float, ...], demand: float | None, buffer_panels: int = 0, years: float = YEARS) -> Season:
    return run_season(Fleet(rates, demand, buffer_panels, MTBF_H, MTTR_H), years, 1)


@pytest.mark.parametrize("rates", [(0.0, 1800.0), (0.0, 1800.0, 3600.0), (0.0, 1800.0, 3000.0, 3100.0)])
@pytest.mark.parametrize("demand", [None, 900.0, 2500.0])
def test_without_a_buffer_the_output_is_the_mean_over_the_rigs_alive(
    rates: tuple[float, ...], demand: float | None
) -> None:
    reached = [rate if demand is None else min(rate, demand) for rate in rates]
    expected = sum(p * rate for p, rate in zip(alive_with_probability(len(rates) - 1), reached, strict=True))
    found = season(rates, demand)
    assert found.panels_per_h == pytest.approx(expected, rel=0.01)
    assert found.availability == pytest.approx(ALIVE, abs=0.01)


def test_with_an_endless_buffer_nothing_is_lost_as_long_as_the_rigs_keep_up_on_average() -> None:
    assert season((0.0, 2000.0), 1500.0, 10**9).panels_per_h == pytest.approx(1500.0, rel=0.01)
    assert season((0.0, 1500.0), 1500.0, 10**9).panels_per_h == pytest.approx(1500.0 * ALIVE, rel=0.01)


@pytest.mark.parametrize("rigs", [1, 2])
def test_hours_without_any_rig_are_those_in_which_all_are_down_at_once(rigs: int) -> None:
    found = season(tuple(1000.0 * k for k in range(rigs + 1)), 1000.0)
    assert found.stopped_h_per_year == pytest.approx((1 - ALIVE) ** rigs * HOURS_PER_YEAR, rel=0.1)
    assert found.failures_per_year == pytest.approx(rigs * HOURS_PER_YEAR / (MTBF_H + MTTR_H), rel=0.05)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0, 1000), min_size=1, max_size=3),
    st.one_of(st.none(), st.floats(1, 2000)),
    st.integers(0, 5000),
    st.integers(0, 99),
)
def test_one_rig_more_never_lowers_the_output_and_nothing_comes_from_nowhere(
    steps: list[float], demand: float | None, buffer_panels: int, seed: int
) -> None:
    rates = tuple(accumulate(steps, initial=0.0))
    found = [
        run_season(Fleet(rates[:rigs], demand, buffer_panels, MTBF_H, MTTR_H), 2.0, seed).panels_per_h
        for rigs in range(2, len(rates) + 1)
    ]
    redone = [2.0 * rigs * HOURS_PER_YEAR / MTBF_H / (2.0 * HOURS_PER_YEAR) for rigs in range(1, len(rates))]
    for fewer, more, work in zip(found, found[1:], redone[1:], strict=False):
        assert more >= fewer - 2 * work  # a failed rig's panel is worked on again
    for rate, reached in zip(rates[1:], found, strict=True):
        assert 0 <= reached <= (rate if demand is None else min(rate, demand)) + 1e-6


@pytest.mark.parametrize("takt_s", [0.0, 0.5])
def test_the_fluid_agrees_with_the_floor_when_failures_are_frequent_enough_to_be_simulated_there(takt_s: float) -> None:
    steady = scenario(
        ("line", "positions", 2), ("line", "rigs", 2), ("line", "takt_s", takt_s), ("line", "buffer_panels", 2)
    )
    mtbf_h, mttr_h = 60 / HOUR_S, 30 / HOUR_S
    frequent = changed(
        steady, (("faults", "mtbf_h", mtbf_h), ("faults", "mttr_h", mttr_h), ("faults", "takeover_s", 2.0))
    )
    on_the_floor = Floor(frequent, 0).run(2_500, 0).panels_per_h
    full = changed(steady, (("line", "takt_s", 0.0),))
    rates = (0.0, *(Floor(changed(full, (("line", "rigs", k),)), 0).run(20, 4).panels_per_h for k in (1, 2)))
    fleet = Fleet(rates, HOUR_S / takt_s if takt_s else None, 2, mtbf_h, mttr_h)
    assert run_season(fleet, 200 / HOURS_PER_YEAR, 1).panels_per_h == pytest.approx(on_the_floor, rel=0.08)
