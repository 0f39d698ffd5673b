# SPDX-License-Identifier: Apache-2.0
"""The power goes off before each TPM command in turn; the TPM restarts, and the act is done again."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from birthmark.silicon.errors import ChipCommunication
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT, Algorithm, SlotState
from birthmark.silicon.tpm2.chip import TPM2Chip
from birthmark.silicon.tpm2.connection import Connection
from support.swtpm import swtpm

CERTIFICATE = bytes(range(256)) * 6  # needs two NV writes
MOST_COMMANDS = 100
Act = Callable[[TPM2Chip], object]


class CutConnection(Connection):
    """A connection whose TPM is off after so many commands."""

    def __init__(self, tcti: str, commands: int) -> None:
        super().__init__(tcti)
        self.left = commands

    def command(self, name: str, *arguments: object, **options: object) -> object:
        if self.left == 0:
            self._drop()
            raise ChipCommunication("the power is off")
        self.left -= 1
        return super().command(name, *arguments, **options)


def generate(chip: TPM2Chip) -> None:
    chip.generate_keypair(SLOT_NEXT, Algorithm.P256)


def write(chip: TPM2Chip) -> None:
    chip.import_certificate(SLOT_NEXT, CERTIFICATE)


def activate(chip: TPM2Chip) -> None:
    chip.activate(SLOT_NEXT)


def erase(chip: TPM2Chip) -> None:
    chip.erase(SLOT_NEXT)


def outcome(chip: TPM2Chip) -> tuple[SlotState, str]:
    """What a rig or a device sees when it looks again. A certificate is whole or not there."""
    assert chip.get_certificate(SLOT_NEXT) in {None, CERTIFICATE}
    return chip.state(SLOT_NEXT), chip.active_slot()


EMPTY = (SlotState.EMPTY, SLOT_IDENTITY)
KEYED = (SlotState.KEYED, SLOT_IDENTITY)
CERTIFIED = (SlotState.CERTIFIED, SLOT_IDENTITY)
ACTIVE = (SlotState.CERTIFIED, SLOT_NEXT)


@pytest.mark.parametrize(
    ("before", "act", "between", "end"),
    [
        pytest.param([], generate, {EMPTY, KEYED}, KEYED, id="a first key"),
        pytest.param([generate], generate, {EMPTY, KEYED}, KEYED, id="another key"),
        pytest.param([generate], write, {KEYED, CERTIFIED}, CERTIFIED, id="a certificate"),
        pytest.param([generate, write], write, {KEYED, CERTIFIED}, CERTIFIED, id="another certificate"),
        pytest.param([generate, write], activate, {CERTIFIED, ACTIVE}, ACTIVE, id="activation"),
        pytest.param([generate, write], erase, {CERTIFIED, KEYED, EMPTY}, EMPTY, id="erasure"),
    ],
)
def test_a_cut_before_any_command_leaves_a_state_from_which_the_act_succeeds(
    tmp_path: Path, before: list[Act], act: Act, between: set[tuple[SlotState, str]], end: tuple[SlotState, str]
) -> None:
    seen = set()
    for cut in range(MOST_COMMANDS):
        state = tmp_path / str(cut)
        state.mkdir()
        finished = cut_short(state, before, act, cut)
        with swtpm(state) as tcti, closing(TPM2Chip(tcti)) as chip:
            seen.add(outcome(chip))
            act(chip)
            assert outcome(chip) == end
        if finished:
            break
    assert finished
    assert seen == between


def cut_short(state: Path, before: list[Act], act: Act, cut: int) -> bool:
    """Prepare, act, and lose power after `cut` commands of the act; return whether it was done by then."""
    with swtpm(state) as tcti:
        with closing(TPM2Chip(tcti)) as chip:
            for step in before:
                step(chip)
        with closing(TPM2Chip(tcti)) as chip:
            chip._tpm = CutConnection(tcti, cut)
            try:
                act(chip)
            except ChipCommunication:
                return False
    return True
