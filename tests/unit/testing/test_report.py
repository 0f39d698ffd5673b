# SPDX-License-Identifier: Apache-2.0
import pytest

from birthmark.testing.demo.figures import spread_of, step_spreads
from birthmark.testing.demo.report import Spread, percentile, spread
from birthmark.testing.lab.rig import Event, PanelRun


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0], 50, 3.0), ([1.0, 2.0], 50, 1.0), ([4, 1, 3, 2], 50, 2), ([4, 1, 3, 2], 95, 4), (range(1, 101), 95, 95)],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], percent: float, expected: float) -> None:
    assert percentile(list(values), percent) == expected


def test_nothing_has_a_spread_of_zero() -> None:
    assert spread([]) == Spread(0.0, 0.0)


def verdict(unit: str, word: str, board_s: float) -> Event:
    return {"event": "verdict", "unit": unit, "verdict": word, "board_s": board_s}


def test_only_boards_that_passed_are_in_the_figures() -> None:
    run = PanelRun([verdict("A", "PASS", 0.1), verdict("B", "FAIL", 9.0), verdict("C", "PASS-ALREADY", 0.2)])
    assert run.passed == 2
    assert spread_of(run, "board_s") == Spread(0.1, 0.2)


def test_a_panel_that_did_not_end_took_no_time() -> None:
    assert PanelRun().panel_s == 0.0


def test_steps_come_in_the_order_of_the_sequence_with_the_chips_share() -> None:
    step = {"event": "step", "unit": "A", "ms": 10.0, "chip_ms": 5.0}
    run = PanelRun([{**step, "step": "prove"}, {**step, "step": "generate", "chip_ms": 10.0}])
    assert list(step_spreads(run)) == ["generate", "prove"]
    assert [each.chip_share for each in step_spreads(run).values()] == [1.0, 0.5]
