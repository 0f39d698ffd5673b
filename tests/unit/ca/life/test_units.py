# SPDX-License-Identifier: Apache-2.0
"""The table of a unit's life, as a table and as any sequence of what may be said."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.errors import Refused
from birthmark.ca.life.units import BY_ONE, RULES, Effect, Move, moved, replaced
from birthmark.core.issuance import ChipID, Unit, UnitState

AT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CHIP, OTHER = ChipID("Smith", "0123456789ABCDEF"), ChipID("Smith", "FEDCBA9876543210")
UNIT = Unit(serial="BM-000001", chip=CHIP, state=UnitState.MADE, since=AT, order="order-1")
PAGE = Path(__file__).parents[4] / "docs/reference/life-cycle.md"

ALLOWED = [
    (UnitState.MADE, Move.SHIP, UnitState.SHIPPED),
    (UnitState.MADE, Move.ACTIVATE, UnitState.ACTIVE),
    (UnitState.SHIPPED, Move.ACTIVATE, UnitState.ACTIVE),
    (UnitState.ACTIVE, Move.SUSPEND, UnitState.SUSPENDED),
    (UnitState.SUSPENDED, Move.RETURN, UnitState.RETURNED),
    (UnitState.RETURNED, Move.RESUME, UnitState.SHIPPED),
    (UnitState.RETURNED, Move.REPLACE, UnitState.REWORKED),
    (UnitState.REWORKED, Move.BIRTH, UnitState.MADE),
    (UnitState.ACTIVE, Move.RETIRE, UnitState.RETIRED),
    (UnitState.RETIRED, Move.REPLACE, UnitState.REWORKED),
]
REFUSED = [
    (UnitState.SHIPPED, Move.SHIP),
    (UnitState.ACTIVE, Move.SHIP),
    (UnitState.ACTIVE, Move.RESUME),
    (UnitState.SUSPENDED, Move.SUSPEND),
    (UnitState.SUSPENDED, Move.ACTIVATE),
    (UnitState.SUSPENDED, Move.BIRTH),
    (UnitState.RETIRED, Move.RESUME),
    (UnitState.RETIRED, Move.BIRTH),
    (UnitState.RETIRED, Move.RETIRE),
    (UnitState.REWORKED, Move.RESUME),
]


@pytest.mark.parametrize(("state", "move", "target"), ALLOWED)
def test_what_may_follow(state: UnitState, move: Move, target: UnitState) -> None:
    resumes = UnitState.SHIPPED if state is UnitState.RETURNED else None
    after = moved(replace(UNIT, state=state, resumes=resumes), move, AT + timedelta(1), "why")
    assert (after.state, after.since, after.reason, after.chip) == (target, AT + timedelta(1), "why", CHIP)


@pytest.mark.parametrize(("state", "move"), REFUSED)
def test_what_may_not_follow(state: UnitState, move: Move) -> None:
    with pytest.raises(Refused) as refused:
        moved(replace(UNIT, state=state), move, AT, "why")
    assert refused.value.finding == "ca.unit.transition"


@pytest.mark.parametrize("state", [UnitState.MADE, UnitState.SHIPPED, UnitState.ACTIVE])
def test_a_suspended_unit_resumes_what_it_was(state: UnitState) -> None:
    suspended = moved(replace(UNIT, state=state), Move.SUSPEND, AT, "stolen?")
    assert moved(suspended, Move.RESUME, AT, "found").state is state


def test_a_replacement_is_another_chip() -> None:
    assert replaced(UNIT, OTHER, AT, "broken").chip == OTHER
    with pytest.raises(Refused) as refused:
        replaced(UNIT, CHIP, AT, "broken")
    assert refused.value.finding == "ca.unit.same-chip"


def test_what_gives_life_back_or_another_chip_takes_two_and_what_takes_it_takes_one() -> None:
    assert {move for move, rule in RULES.items() if rule.two_persons} == {Move.RESUME, Move.REPLACE}
    assert all(RULES[move].effect in (Effect.NOTHING, Effect.HOLD, Effect.REVOKE) for move in BY_ONE)
    assert set(RULES) == set(Move)


@given(st.lists(st.sampled_from(Move)))
def test_no_sequence_leads_from_retired_to_life_without_two_persons(moves: list[Move]) -> None:
    unit = replace(UNIT, state=UnitState.RETIRED)
    for move in moves:
        if RULES[move].two_persons:
            continue
        with pytest.raises(Refused):
            moved(unit, move, AT, "")


@pytest.mark.parametrize("move", Move)
def test_the_page_has_a_row_for_each(move: Move) -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{move.act}` |")]
    assert len(rows) == 1
    assert ("two persons" in rows[0]) is RULES[move].two_persons
    roles = sorted(role.value for role in RULES[move].roles)
    assert RULES[move].two_persons or all(role in rows[0] for role in roles)
