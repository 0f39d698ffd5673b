# SPDX-License-Identifier: Apache-2.0
"""A month of production in the rig's stores: its station answers at once, its disk is bounded, nothing is dropped."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.campaign import keep, rounds
from support.labs import running_lab
from support.month import FAILED_PERMILLE, MonthFigures, month

UNITS = rounds(short=3_000, campaign=100_000)
ANSWER_MS = rounds(short=1_000, campaign=100)
"""In `make test` other tests run beside this one; the bound is the campaign's. The time is the server's own for one
answer, and the half of the answers that a client has soonest; what other programs of the machine add is in the report.
"""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonthFigures]:
    with running_lab(tmp_path_factory.mktemp("month") / "lab", boards=1) as lab:
        figures = month(Path(lab.rig_configs["rig-a"]), UNITS)
        keep("month", figures.members())
        yield figures


def test_a_month_of_units_is_there(figures: MonthFigures) -> None:
    assert figures.units == UNITS
    assert figures.attempts > UNITS * (1 + FAILED_PERMILLE / 2000)
    assert figures.first_pass == pytest.approx(1 - FAILED_PERMILLE / 1000, abs=0.02)


def test_no_record_of_a_month_was_dropped_before_it_was_delivered_and_none_came_twice(figures: MonthFigures) -> None:
    assert (figures.lost, figures.doubled) == (0, 0)


def test_the_station_s_page_answers_at_once_after_a_month(figures: MonthFigures) -> None:
    assert figures.slowest("cpu_ms") < ANSWER_MS
    assert figures.slowest("p50_ms") < ANSWER_MS


def test_the_disk_of_a_month_is_bounded_by_the_policies(figures: MonthFigures) -> None:
    # The rig's file is as large as a week and an outage of the MES; from then on it does not grow.
    assert figures.rig_file_mib <= 1.02 * figures.rig_file_half_mib
    assert figures.pruned_growth <= 1.02
