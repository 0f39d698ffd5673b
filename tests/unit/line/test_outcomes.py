# SPDX-License-Identifier: Apache-2.0
"""Whose fault a verdict is: what a person got wrong in a file must not cost a unit an attempt."""

import pytest

from birthmark.core.work import WorkState
from birthmark.line.journal import Result
from birthmark.line.outcomes import blames_board, state_after, tried


@pytest.mark.parametrize("finding", ["config.invalid", "ca.8.quota", "net.answer", "internal", "line.disk"])
def test_what_is_not_the_boards_leaves_its_unit_open(finding: str) -> None:
    assert not blames_board(Result.FAIL, finding)
    assert not tried(Result.FAIL, finding)
    assert state_after(Result.FAIL, finding) is WorkState.OPEN


@pytest.mark.parametrize("finding", ["chip.refused", "line.possession", "line.chip-model"])
def test_what_may_be_the_boards_counts(finding: str) -> None:
    assert tried(Result.FAIL, finding)
    assert state_after(Result.FAIL, finding) is WorkState.FAILED
