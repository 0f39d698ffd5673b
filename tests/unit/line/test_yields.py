# SPDX-License-Identifier: Apache-2.0
"""What counts as an attempt, and what the yields of a period are."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.attempts import Attempt, Cell, Outcome
from birthmark.core.work import UnitWork
from birthmark.line.attempts import counted
from birthmark.line.yields import By, Trouble, compared, interval, pareto, yields
from support.attempts import attempt

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NEW = UnitWork("BM-000001")


@pytest.mark.parametrize(
    ("work", "verdict", "finding", "outcome"),
    [
        (NEW, "PASS", "", Outcome.PASSED),
        (NEW, "RESUMED", "", Outcome.PASSED),
        (NEW, "PASS-ALREADY", "", Outcome.REPEATED),
        (replace(NEW, interruptions=1), "PASS-ALREADY", "", Outcome.PASSED),
        (replace(NEW, tries=2), "PASS", "", Outcome.PASSED),
        (replace(NEW, tries=1, passes=1), "PASS-ALREADY", "", Outcome.REPEATED),
        (replace(NEW, tries=1, passes=1), "RESUMED", "", Outcome.REPEATED),
        (replace(NEW, tries=1, passes=1), "FAIL", "chip.absent", Outcome.REPEATED),
        (NEW, "FAIL", "chip.absent", Outcome.FAILED),
        (NEW, "FAIL", "chip.communication.timeout", Outcome.FAILED),
        (NEW, "FAIL", "line.power.brown-out", Outcome.FAILED),
        (NEW, "FAIL", "line.import.readback", Outcome.FAILED),
        (NEW, "FAIL", "line.chip-model", Outcome.FAILED),
        (NEW, "FAIL", "line.power.away", Outcome.UNTRIED),
        (NEW, "FAIL", "line.power.refused", Outcome.UNTRIED),
        (NEW, "FAIL", "ca.8.quota", Outcome.UNTRIED),
        (NEW, "FAIL", "line.hold.limit", Outcome.UNTRIED),
        (NEW, "FAIL", "line.stopped", Outcome.UNTRIED),
        (NEW, "FAIL", "line.disk", Outcome.UNTRIED),
        (NEW, "FAIL", "line.unit.lease-lost", Outcome.UNTRIED),
        (NEW, "FAIL", "line.unit.spent", Outcome.UNTRIED),
        (NEW, "FAIL", "internal", Outcome.UNTRIED),
        (NEW, "QUARANTINE", "ca.7.chip-alive", Outcome.FAILED),
        (NEW, "QUARANTINE", "evidence.signature", Outcome.FAILED),
        (NEW, "QUARANTINE", "line.unit.twin", Outcome.FAILED),
        (NEW, "QUARANTINE", "line.unit.quarantined", Outcome.UNTRIED),
    ],
)
def test_what_an_attempt_counts_as(work: UnitWork, verdict: str, finding: str, outcome: Outcome) -> None:
    after, ended = counted(work, attempt(1, verdict=verdict, finding=finding), AT)
    assert ended.outcome is outcome
    tries = outcome in {Outcome.PASSED, Outcome.FAILED}
    assert (ended.nth, after.tries) == ((work.tries + 1) * tries, work.tries + tries)
    assert after.passes == work.passes + (verdict in {"PASS", "PASS-ALREADY", "RESUMED"})
    assert ended.ended_at == AT
    assert replace(after, tries=0, passes=0) == replace(work, tries=0, passes=0)


def cell(number: int = 1, outcome: Outcome = Outcome.PASSED, *, first: bool = True, **changes: object) -> Cell:
    known = {"rig": "rig-a", "position": 1, "operator": "ada", "fixture": "", "order": "o", "step": "", "finding": ""}
    return Cell(**{"hour": AT, **known, **changes}, outcome=outcome, first=first, attempts=number, faults=0)  # type: ignore[arg-type] # by name


FAILED, UNTRIED, REPEATED = Outcome.FAILED, Outcome.UNTRIED, Outcome.REPEATED


def test_the_three_yields_are_three_numbers() -> None:
    # 10 units: 7 pass at once, 2 at the second attempt, 1 fails three times.
    cells = [
        cell(7),
        cell(3, FAILED),
        cell(2, first=False),
        cell(2, FAILED, first=False),
        cell(4, UNTRIED, first=False),
    ]
    found = yields([*cells, cell(5, REPEATED, first=False)], [cell(1, FAILED)])
    assert (found.units, found.first_passed, found.good) == (10, 7, 9)
    assert (found.attempts, found.passed, found.untried, found.repeated) == (14, 9, 4, 5)
    assert (found.first_pass, found.final, found.throughput) == (0.7, 0.9, 9 / 14)


def test_nothing_has_no_yield() -> None:
    none = yields([], [])
    assert (none.first_pass, none.final, none.throughput) == (None, None, None)
    assert compared([], [], By.RIG) == pareto([], Trouble.STEP) == ()


class Story:
    """Attempts one after the other, as a store would count them; and the same by hand."""

    def __init__(self, told: list[Attempt]) -> None:
        self.works: dict[str, UnitWork] = {}
        self.ended: list[Attempt] = []
        for each in told:
            work, ended = counted(self.works.get(each.unit, UnitWork(each.unit)), each, AT)
            self.works[each.unit] = work
            self.ended.append(ended)

    def cells(self) -> list[Cell]:
        return [self.cell(each) for each in self.ended]

    def cell(self, ended: Attempt) -> Cell:
        return cell(1, ended.outcome, first=ended.nth == 1, rig=ended.rig, position=ended.position)

    def unfinished(self) -> list[Cell]:
        return [self.cell(each) for each in self.ended if each.nth == 1 and not self.works[each.unit].passes]


TOLD = st.lists(
    st.builds(
        lambda number, verdict, rig, position: attempt(
            number, rig=rig, position=position, verdict=verdict, finding="" if "PASS" in verdict else "chip.refused"
        ),
        st.integers(1, 4),
        st.sampled_from(["PASS", "FAIL", "RESUMED"]),
        st.sampled_from(["rig-a", "rig-b"]),
        st.integers(1, 3),
    ),
    max_size=30,
)


@given(TOLD)
def test_the_yields_agree_with_a_count_unit_by_unit(told: list[Attempt]) -> None:
    story = Story(told)
    found = yields(story.cells(), story.unfinished())
    ends: dict[str, list[bool]] = {}
    for each in told:
        ends.setdefault(each.unit, []).append(each.verdict != "FAIL")
    assert (found.units, found.first_passed) == (len(ends), sum(each[0] for each in ends.values()))
    assert found.good == sum(any(each) for each in ends.values())
    until_passed = [each[: each.index(True) + 1] if True in each else each for each in ends.values()]
    assert (found.attempts, found.passed) == (sum(map(len, until_passed)), sum(map(sum, until_passed)))


@given(TOLD, st.sampled_from(By))
def test_the_groups_of_a_comparison_come_to_the_whole(told: list[Attempt], by: By) -> None:
    story = Story(told)
    whole, groups = yields(story.cells(), story.unfinished()), compared(story.cells(), story.unfinished(), by)
    for name in ("units", "first_passed", "good", "attempts", "passed"):
        assert sum(getattr(group.yields, name) for group in groups) == getattr(whole, name)


def test_groups_are_in_the_order_of_their_numbers_and_hours() -> None:
    places = [cell(position=number, rig=rig) for rig in ("rig-b", "rig-a") for number in (10, 9, 1)]
    assert [group.key[0][-1] + group.key[2] for group in compared(places, [], By.POSITION)] == [
        *("a1", "a9", "a10"),
        *("b1", "b9", "b10"),
    ]
    hours = [cell(hour=AT + timedelta(hours=number)) for number in (2, 0, 1)]
    assert [group.key[0] for group in compared(hours, [], By.HOUR)] == [
        f"2026-05-04T{hour}:00+00:00" for hour in (12, 13, 14)
    ]


def test_a_place_stands_out_when_chance_does_not_explain_it() -> None:
    good = [cell(100, position=number) for number in (1, 2, 3)]
    groups = compared([*good, cell(60, position=4), cell(40, FAILED, position=4)], [], By.POSITION)
    assert [group.stands_out for group in groups] == [False, False, False, True]
    groups = compared([*good, cell(98, position=4), cell(2, FAILED, position=4)], [], By.POSITION)
    assert not any(group.stands_out for group in groups)
    assert not any(group.stands_out for group in compared([cell(9, FAILED)], [], By.POSITION))


@pytest.mark.parametrize(
    ("passed", "of", "expected"),
    # By hand from Wilson's (p + z²/2n ± z√(p(1-p)/n + z²/4n²)) / (1 + z²/n); the last is R. G. Newcombe's (1998).
    [(0, 0, (0.0, 1.0)), (10, 10, (0.7225, 1.0)), (0, 10, (0.0, 0.2775)), (81, 263, (0.2553, 0.3662))],
)
def test_the_interval_is_wilsons(passed: int, of: int, expected: tuple[float, float]) -> None:
    assert interval(passed, of) == pytest.approx(expected, abs=5e-5)


def test_a_pareto_has_the_most_frequent_first_and_comes_to_the_whole() -> None:
    cells = [
        cell(1, FAILED, finding="chip.absent", step="power"),
        cell(6, FAILED, finding="chip.communication", step="observe"),
        cell(3, UNTRIED, first=False, finding="ca.8.quota", step="enrol"),
        cell(90),
    ]
    bars = pareto(cells, Trouble.FINDING)
    assert [(bar.name, bar.attempts, bar.untried) for bar in bars] == [
        ("chip.communication", 6, 0),
        ("ca.8.quota", 3, 3),
        ("chip.absent", 1, 0),
    ]
    assert [round(bar.cumulative, 6) for bar in bars] == [0.6, 0.9, 1.0]
    assert Counter({bar.name: bar.attempts for bar in pareto(cells, Trouble.STEP)}) == {
        "observe": 6,
        "enrol": 3,
        "power": 1,
    }
