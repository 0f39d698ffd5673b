# SPDX-License-Identifier: Apache-2.0
"""Records come back in order, whether they fit into memory or not."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.transparency import spill
from birthmark.ca.transparency.spill import Spill

RECORDS = st.lists(st.tuples(st.text(), st.integers(0, 1 << 63), st.text(max_size=64)), max_size=60)


@given(
    RECORDS.filter(
        lambda records: all(each < "\ud800" or each > "\udfff" for r in records for t in r[::2] for each in t)
    )
)
def test_records_of_any_text_come_back_in_order(records: list[tuple[str, int, str]]) -> None:
    with Spill(7) as spilled:
        for record in records:
            spilled.add(record)
        assert list(spilled.in_order()) == sorted(records)


def test_runs_are_joined_before_there_are_too_many_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "RUNS_MAX", 3)
    records = [(f"unit/{n:04}", n, "d") for n in range(500)]
    random.Random(1).shuffle(records)  # noqa: S311 any order will do
    with Spill(10) as spilled:
        for record in records:
            spilled.add(record)
        assert len(spilled._runs) <= 3
        assert list(spilled.in_order()) == sorted(records)
