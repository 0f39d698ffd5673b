# SPDX-License-Identifier: Apache-2.0
"""The rotation's state machine by itself: its table, and that it always comes to an end with one working identity."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.device.rotation import Goal, Observed, Progress, Step, next_step
from birthmark.silicon.port import SlotState

ROTATE = Progress(Goal.ROTATE)
SETTLE = Progress(Goal.SETTLE)
EMPTY = Observed(SlotState.EMPTY, successor=False)
KEYED = Observed(SlotState.KEYED, successor=False)
SUCCESSOR = Observed(SlotState.CERTIFIED, successor=True)
USELESS = Observed(SlotState.CERTIFIED, successor=False)
BESIDE = Observed(SlotState.CERTIFIED, successor=True, connects=False)


@pytest.mark.parametrize(
    ("observed", "progress", "step"),
    [
        (EMPTY, ROTATE, Step.GENERATE),
        (EMPTY, SETTLE, Step.DONE),
        (EMPTY, ROTATE.activated(), Step.DONE),
        (KEYED, ROTATE, Step.ERASE),
        (KEYED, SETTLE, Step.ERASE),
        (KEYED, ROTATE.generated(), Step.ENROL),
        (KEYED, ROTATE.generated().enrolled(b"certificate"), Step.IMPORT),
        (SUCCESSOR, ROTATE.generated().enrolled(b"certificate"), Step.PROBE),
        (SUCCESSOR, SETTLE, Step.PROBE),
        (SUCCESSOR, SETTLE.probed(), Step.ACTIVATE),
        (SUCCESSOR, SETTLE.refused(), Step.ERASE),
        (SUCCESSOR, ROTATE.probed().activated(), Step.ERASE),
        (BESIDE, ROTATE.generated().enrolled(b"certificate"), Step.DONE),
        (BESIDE, SETTLE, Step.DONE),
        (BESIDE, ROTATE, Step.ERASE),
        (BESIDE, ROTATE.refused(), Step.ERASE),
        (USELESS, SETTLE, Step.ERASE),
        (USELESS, ROTATE.probed(), Step.ERASE),
    ],
)
def test_the_next_step_is(observed: Observed, progress: Progress, step: Step) -> None:
    assert next_step(observed, progress) is step


def test_what_was_known_of_a_slot_is_forgotten_when_it_is_erased() -> None:
    known = ROTATE.generated().enrolled(b"certificate").probed().refused()
    assert known.erased() == ROTATE
    assert known.activated().erased() == ROTATE.activated()


@dataclass
class Slots:
    """A chip and a cloud as numbers: a slot holds (generation of its key, certified), the cloud its newest used."""

    active: tuple[int, bool] = (0, True)
    other: tuple[int, bool] | None = None
    newest_used: int = 0
    keys_made: int = 0
    alive: set[int] = field(default_factory=lambda: {0})

    def observed(self) -> Observed:
        if self.other is None:
            return EMPTY
        generation, certified = self.other
        return Observed(SlotState.CERTIFIED, successor=generation > self.active[0]) if certified else KEYED

    def take(self, step: Step, progress: Progress) -> Progress:
        match step, self.other:
            case Step.GENERATE, None:
                self.keys_made += 1
                self.other = (self.keys_made, False)
                return progress.generated()
            case Step.ENROL, (generation, False):
                return progress.enrolled(bytes([generation]))
            case Step.IMPORT, (generation, False):
                assert progress.certificate == bytes([generation])
                self.other = (generation, True)
                return progress
            case Step.PROBE, (generation, True):
                self.newest_used = max(self.newest_used, generation)
                return progress.probed()
            case Step.ACTIVATE, (generation, True):
                assert generation == self.newest_used, "activated before the cloud has accepted it"
                self.active, self.other = self.other, self.active
                return progress.activated()
            case Step.ERASE, (generation, _):
                assert generation != self.newest_used or generation == 0, "destroyed the identity that works"
                self.other = None
                return progress.erased()
        raise AssertionError(f"{step} cannot be taken with {self.other} in the other slot")

    def works(self) -> bool:
        """There is a certified identity that the cloud accepts, in use or one probe away from it."""
        held = [self.active, *([self.other] if self.other else [])]
        return any(certified and generation >= self.newest_used for generation, certified in held)


def run(slots: Slots, goal: Goal, steps: int | None = None) -> bool:
    """Run until DONE or for some steps only; return whether DONE was reached."""
    progress, taken = Progress(goal), 0
    while (step := next_step(slots.observed(), progress)) is not Step.DONE:
        if taken == steps:
            return False
        assert taken < 10, "the machine does not come to an end"
        progress = slots.take(step, progress)
        taken += 1
        assert slots.works()
    return True


@given(st.lists(st.tuples(st.sampled_from(Goal), st.integers(0, 8)), max_size=30))
def test_after_any_cuts_a_last_run_ends_with_one_identity_that_works(cuts: list[tuple[Goal, int]]) -> None:
    slots = Slots()
    for goal, steps in cuts:
        run(slots, goal, steps)
    assert run(slots, Goal.SETTLE)
    assert slots.other is None
    before = slots.active
    assert run(slots, Goal.ROTATE)
    assert slots.active[0] > before[0]
    assert slots.active[0] == slots.newest_used
    assert slots.other is None


def test_a_rotation_that_was_cut_short_of_its_end_is_finished_with_the_key_that_it_made() -> None:
    slots = Slots()
    run(slots, Goal.ROTATE, 3)
    made = slots.keys_made
    assert run(slots, Goal.ROTATE)
    assert slots.keys_made == made
    assert slots.active == (made, True)
