# SPDX-License-Identifier: Apache-2.0
"""The reopen ladder: a state machine that is told the time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.pki.keys.pkcs11.ladder import PAUSE_FIRST_S, PAUSE_MAX_S, Ending, Ladder, State
from birthmark.pki.keys.pkcs11.meanings import Remedy

REMEDIES = (Remedy.RETRY, Remedy.SESSION, Remedy.LOGIN, Remedy.MODULE)


def test_the_first_attempt_is_due_at_once() -> None:
    ladder = Ladder().failed(Remedy.LOGIN, "the cable", 10.0)
    assert (ladder.state, ladder.wait_s(10.0)) == (State.BROKEN, 0.0)
    assert ladder.climb(10.0).rung is Remedy.LOGIN


@pytest.mark.parametrize(
    ("remedy", "rung"),
    [
        (Remedy.RETRY, Remedy.LOGIN),
        (Remedy.SESSION, Remedy.LOGIN),
        (Remedy.LOGIN, Remedy.LOGIN),
        (Remedy.MODULE, Remedy.MODULE),
    ],
)
def test_what_callers_could_not_mend_takes_a_login_at_least(remedy: Remedy, rung: Remedy) -> None:
    assert Ladder().failed(remedy, "x", 0.0).rung is rung


def test_a_worse_failure_before_the_attempt_raises_its_rung() -> None:
    ladder = Ladder().failed(Remedy.LOGIN, "first", 0.0).failed(Remedy.MODULE, "second", 0.0)
    assert (ladder.rung, ladder.cause) == (Remedy.MODULE, "first")
    assert ladder.failed(Remedy.LOGIN, "third", 0.0).rung is Remedy.MODULE


def test_an_attempt_that_slips_restarts_the_module_next_and_pauses_longer_each_time() -> None:
    ladder, at_s, pauses = Ladder().failed(Remedy.LOGIN, "x", 0.0), 0.0, []
    for _ in range(8):
        ladder = ladder.climb(at_s).slipped(at_s)
        assert ladder.rung is Remedy.MODULE
        pauses.append(ladder.wait_s(at_s))
        at_s += pauses[-1]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0, 4.0]


def test_an_attempt_before_its_time_is_a_mistake() -> None:
    ladder = Ladder().failed(Remedy.LOGIN, "x", 0.0).climb(0.0).slipped(0.0)
    with pytest.raises(ValueError, match="not due"):
        ladder.climb(PAUSE_FIRST_S / 2)


@pytest.mark.parametrize("transition", ["climb", "slipped", "reached", "lost"])
def test_what_does_not_fit_the_state_is_a_mistake(transition: str) -> None:
    arguments = (0.0,) if transition in {"climb", "slipped"} else ()
    with pytest.raises(ValueError, match="not while the token is sound"):
        getattr(Ladder(), transition)(*arguments)


def test_the_outage_is_told_with_its_first_cause_and_its_length() -> None:
    ladder = Ladder().failed(Remedy.LOGIN, "the cable", 5.0).climb(5.0).slipped(5.1).climb(5.5).reached()
    outage = ladder.outage("hsm", 6.0)
    assert (outage.token, outage.ending, outage.cause, outage.attempts) == ("hsm", Ending.HEALED, "the cable", 2)
    assert outage.lasted_s == 1.0


def test_a_refused_pin_ends_the_outage_and_nothing_is_tried_again() -> None:
    ladder = Ladder().failed(Remedy.LOGIN, "x", 0.0).climb(0.0).lost()
    assert ladder.outage("hsm", 1.0).ending is Ending.LOST
    assert ladder.failed(Remedy.MODULE, "y", 2.0) == ladder
    with pytest.raises(ValueError, match="not while the token is lost"):
        ladder.climb(100.0)


def test_a_second_outage_begins_anew() -> None:
    ladder = Ladder().failed(Remedy.MODULE, "first", 0.0).climb(0.0).slipped(0.0).climb(1.0).reached()
    again = ladder.failed(Remedy.LOGIN, "second", 9.0)
    assert (again.cause, again.began_s, again.attempts, again.rung) == ("second", 9.0, 0, Remedy.LOGIN)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fail", "climb", "slip", "reach", "lose"]), st.sampled_from(REMEDIES), st.floats(0, 10)
        ),
        max_size=60,
    )
)
def test_whatever_happens_outages_end_once_and_callers_are_told_a_sane_time(
    steps: list[tuple[str, Remedy, float]],
) -> None:
    ladder, at_s, begun, ended = Ladder(), 0.0, 0, 0
    for step, remedy, passed_s in steps:
        at_s += passed_s
        before = ladder
        match step, ladder.state:
            case "fail", _:
                ladder = ladder.failed(remedy, "x", at_s)
                begun += before.state is State.SOUND
            case "climb", State.BROKEN if ladder.wait_s(at_s) == 0:
                ladder = ladder.climb(at_s)
            case "slip", State.CLIMBING:
                ladder = ladder.slipped(at_s)
            case "reach", State.CLIMBING:
                ladder, ended = ladder.reached(), ended + 1
            case "lose", State.CLIMBING:
                ladder, ended = ladder.lost(), ended + 1
        assert begun - ended == (ladder.state in {State.BROKEN, State.CLIMBING})
        assert 0 <= ladder.wait_s(at_s) <= PAUSE_MAX_S
        assert 1 <= ladder.retry_after_s(at_s) <= PAUSE_MAX_S + 1
        if before.state is State.LOST:
            assert ladder == before
