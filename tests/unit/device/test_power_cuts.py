# SPDX-License-Identifier: Apache-2.0
"""
The rotation with the power cut before and after every call to chip, CA and cloud.

The chip is the simulated one, the cloud the real service with its registry, the certificates real.
"""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from birthmark.device.identities import active_identity, other_slot
from birthmark.device.ports import Identity
from birthmark.device.rotation import Goal
from birthmark.silicon.port import SlotState
from support.cloud_parts import UNIT
from support.device_parts import Board, Power, PowerCut

MOMENTS_MAX = 200


def cut(board: Board, goal: Goal, at: int) -> bool:
    """Run with the power failing at the given moment; return whether it did."""
    try:
        board.renewal(Power(cut_at=at)).run(goal)
    except PowerCut:
        return True
    return False


def require_one_identity(board: Board) -> Identity:
    """Switch the device on as it would be in the field, and demand that it works and that nothing is left over."""
    outcome = board.renewal().run(Goal.SETTLE)
    assert board.accepted(outcome.identity)
    chip = board.chip()
    assert active_identity(chip, UNIT) == outcome.identity
    assert chip.state(other_slot(outcome.identity.slot)) is SlotState.EMPTY
    return outcome.identity


def test_an_uncut_rotation_takes_its_steps_in_the_safe_order(make_board: Callable[[], Board]) -> None:
    board, power = make_board(), Power()
    before = require_one_identity(board)
    after = board.renewal(power).run(Goal.ROTATE).identity
    order = ["generate_keypair", "nonce", "attest", "sign", "renew", "import_certificate", "me", "activate", "erase"]
    assert [call for call in power.calls if call in order] == order
    assert after.certificate != before.certificate
    assert not board.accepted(before)
    assert require_one_identity(board) == after


def test_a_cut_at_any_moment_leaves_one_identity_that_works_and_rotates(make_board: Callable[[], Board]) -> None:
    for moment in range(MOMENTS_MAX):
        board = make_board()
        before = active_identity(board.chip(), UNIT)
        was_cut = cut(board, Goal.ROTATE, moment)
        settled = require_one_identity(board)
        rotated = board.renewal().run(Goal.ROTATE).identity
        assert rotated.certificate not in {before.certificate, settled.certificate}
        assert require_one_identity(board) == rotated
        if not was_cut:
            break
    else:
        pytest.fail(f"a rotation has more than {MOMENTS_MAX} moments")
    assert moment > 30, "the rotation was not cut in its middle"


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.sampled_from(Goal), st.integers(0, 80)), max_size=6))
def test_any_series_of_cuts_leaves_one_identity_that_works(
    make_board: Callable[[], Board], cuts: list[tuple[Goal, int]]
) -> None:
    board = make_board()
    for goal, moment in cuts:
        cut(board, goal, moment)
    settled = require_one_identity(board)
    assert board.renewal().run(Goal.ROTATE).identity.certificate != settled.certificate
    require_one_identity(board)
