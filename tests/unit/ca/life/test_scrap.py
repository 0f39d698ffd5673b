# SPDX-License-Identifier: Apache-2.0
"""
Why one line lead may scrap alone: whatever a lead and the rigs do together, scrap gives nothing back.

An insider at the line would scrap boards on paper and make others in their places. Here the rigs are hostile, chips are
genuine and plenty, and the lead scraps whatever helps. What takes two persons is the only thing that they cannot do.
"""

from contextlib import suppress
from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import example, given, settings
from hypothesis import strategies as st

from birthmark.ca.acts import all_acts
from birthmark.ca.errors import Refused
from birthmark.ca.life.lifecycle import Actor, Lifecycle
from birthmark.ca.life.units import AT_THE_LINE, Move
from birthmark.ca.orders.acts import REWORK, ReworkTerms
from birthmark.ca.orders.book import OrderBook
from birthmark.ca.people.approvals import Approvals
from birthmark.ca.people.roles import officer_of
from birthmark.core.issuance import UnitState
from birthmark.core.roles import Role
from birthmark.testing.forge import new_key
from birthmark.testing.orders import hired
from support.ca_parts import AUTHORITY, ORDER, UNIT, Board, CAParts, order
from support.officers import Person

QUANTITY = 2
UNITS = tuple(f"BM-00000{number}" for number in range(1, 5))
CHIPS = range(3)
OFFICER = Actor("security-officer:Olga")


class Line:
    """An order for two units, hostile rigs, a few genuine chips, and a line lead who is with them."""

    def __init__(self, parts: CAParts | None = None) -> None:
        self.parts = parts or CAParts()
        self.parts.put_order(order(quantity=QUANTITY))
        self.book = OrderBook(self.parts.store, self.parts.clock)
        self.lead = officer_of(hired(self.parts.operations, "Lena", Role.LINE_LEAD, self.parts.clock()).certificate)
        self.life = Lifecycle(self.parts.store, self.parts.clock)
        self.chips = [self.parts.forge.maker.chip() for _ in CHIPS]
        self.made: dict[str, tuple[Board, x509.Certificate]] = {}
        self.scrapped = set[str]()

    def make(self, unit: str, chip: int) -> None:
        board = Board(unit, self.chips[chip], new_key())
        self.made[unit] = board, self.parts.born(board)

    def confirm(self, unit: str) -> None:
        if unit in self.made:
            board, certificate = self.made[unit]
            self.parts.ca.take_birth(self.parts.client(), self.parts.birth(board, certificate))

    def scrap(self, unit: str, reason: str = "burnt, on paper") -> None:
        self.book.scrap(self.lead, ORDER, unit, reason)
        self.scrapped.add(unit)

    def left(self) -> int:
        return self.book.entry(ORDER).account.left

    def demand_nothing_gained(self, left: int) -> None:
        """Pass when there is no more on the order than before, and nothing lives that must not."""
        account = self.book.entry(ORDER).account
        living = [row["unit_serial"] for row in self.parts.living()]
        ever = {row["unit_serial"] for row in self.parts.administration.certificates()}
        assert 0 <= account.left <= left
        assert account.taken == len(ever) <= QUANTITY
        assert len(living) == len(set(living))
        assert len(living) + len(self.scrapped) <= QUANTITY
        assert not self.scrapped & set(living)


STEPS = st.one_of(
    st.tuples(st.just("make"), st.sampled_from(UNITS), st.sampled_from(CHIPS)),
    st.tuples(st.just("confirm"), st.sampled_from(UNITS)),
    st.tuples(st.just("scrap"), st.sampled_from(UNITS)),
    st.tuples(st.just("wait"), st.sampled_from(["61 s", "2 days"])),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=8, max_size=24))
@example([("make", UNIT, 0), ("scrap", UNIT), ("make", UNIT, 1)])
@example([("make", UNIT, 0), ("confirm", UNIT), ("scrap", UNIT), ("make", UNIT, 1)])
@example([("make", UNIT, 0), ("scrap", UNIT), ("make", UNITS[1], 0)])
@example([("make", UNIT, 0), ("wait", "2 days"), ("scrap", UNIT), ("make", UNIT, 1)])
def test_no_order_of_making_confirming_and_scrapping_gives_one_unit_more(steps: list[tuple[str, ...]]) -> None:
    line = Line()
    for step, *what in steps:
        left = line.left()
        with suppress(Refused):
            if step == "wait":
                line.parts.clock.forward(seconds=61 if what == ["61 s"] else 172_800)
            else:
                getattr(line, step)(*what)
        line.demand_nothing_gained(left)


def test_an_order_that_is_full_stays_full_when_all_of_it_is_scrapped() -> None:
    line = Line()
    for unit, chip in zip(UNITS[:QUANTITY], CHIPS, strict=False):
        line.make(unit, chip)
        line.confirm(unit)
        line.scrap(unit)
    assert (line.left(), line.parts.living()) == (0, [])
    for unit, finding in ((UNITS[0], "ca.7.unit-state"), (UNITS[-1], "ca.8.quota")):
        with refused(finding):
            line.make(unit, 2)


def test_it_takes_two_persons_to_make_a_scrapped_unit_again_and_then_one_of_it_lives() -> None:
    line = Line()
    line.make(UNIT, 0)
    line.confirm(UNIT)
    line.scrap(UNIT)
    parts, at = line.parts, line.parts.clock()
    acts = all_acts(parts.policy, parts.lineage())
    approvals = Approvals(parts.store, acts, parts.policy.trust, AUTHORITY, parts.clock)
    lead, approver = (
        Person.hired(parts.operations, name, role, at)
        for name, role in (("Lena", Role.LINE_LEAD), ("Anton", Role.APPROVER))
    )
    token = lead.proposal(REWORK, UNIT, ReworkTerms(order=ORDER))
    proposal = approvals.propose(lead.officer(parts.policy.trust, at), token)
    with refused("ca.7.unit-state"):
        line.make(UNIT, 1)
    with refused("ca.1.role"):
        approvals.rule(lead.officer(parts.policy.trust, at), proposal.id, lead.ruling(token, REWORK))
    approvals.rule(approver.officer(parts.policy.trust, at), proposal.id, approver.ruling(token, REWORK))
    line.make(UNIT, 1)
    with refused("ca.7.denied"):
        line.make(UNITS[1], 0)
    assert [row["unit_serial"] for row in parts.living()] == [UNIT]


# --- what the line has before it -------------------------------------------------------------------------------


def gone(line: Line, state: UnitState) -> None:
    """Let the unit be in this state, by those who may say so."""
    ways = {
        UnitState.SHIPPED: (Move.SHIP,),
        UnitState.SUSPENDED: (Move.SHIP, Move.SUSPEND),
        UnitState.RETURNED: (Move.SHIP, Move.RETURN),
        UnitState.RETIRED: (Move.SHIP, Move.RETIRE),
    }
    for move in ways.get(state, ()):
        line.life.move(OFFICER, UNIT, move, "as it goes")
    if state is UnitState.ACTIVE:
        with line.parts.store.writing() as ledger:
            unit = ledger.unit(UNIT)
            assert unit is not None
            ledger.put_units([replace(unit, state=UnitState.ACTIVE)])


@pytest.mark.parametrize(
    "state", sorted(set(UnitState) - AT_THE_LINE - {UnitState.RETIRED}, key=lambda each: each.value)
)
def test_a_line_lead_does_not_end_what_has_left_the_line(state: UnitState) -> None:
    line = Line()
    line.make(UNIT, 0)
    line.confirm(UNIT)
    gone(line, state)
    before = line.parts.states()
    with refused("ca.unit.transition"):
        line.scrap(UNIT)
    assert (line.parts.states(), line.book.entry(ORDER).account.scrapped) == (before, 0)
    with line.parts.store.reading() as ledger:
        assert ledger.denial(ledger.issuances_of_unit(UNIT)[0].chip) is None


@pytest.mark.parametrize(
    "state", sorted({*AT_THE_LINE, UnitState.RETIRED} - {UnitState.REWORKED}, key=lambda each: each.value)
)
def test_a_line_lead_scraps_what_is_at_the_line_or_dead(state: UnitState) -> None:
    line = Line()
    line.make(UNIT, 0)
    line.confirm(UNIT)
    gone(line, state)
    line.scrap(UNIT)
    assert line.parts.living() == []
    assert line.book.entry(ORDER).account.scrapped == 1


def refused(finding: str) -> object:
    return pytest.raises(Refused, check=lambda error: error.finding == finding)
