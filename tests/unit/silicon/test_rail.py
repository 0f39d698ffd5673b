# SPDX-License-Identifier: Apache-2.0
"""A simulated board on a rail: without power it is silent, and with new power it has forgotten what was under way."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from birthmark.silicon.address import open_chip
from birthmark.silicon.errors import ChipError
from birthmark.silicon.port import SLOT_IDENTITY, SlotState
from birthmark.silicon.simulator.rail import NOMINAL_V, Rail
from support.chips import simulated_chip
from support.smp_boards import smp_board


@pytest.fixture
def rail(tmp_path: Path) -> Rail:
    (tmp_path / "rail").mkdir()
    return Rail(tmp_path / "rail")


@pytest.mark.parametrize("carrier", ["serial", "udp"])
def test_the_mcu_of_a_board_answers_only_while_its_rail_is_on(carrier: str, rail: Rail, tmp_path: Path) -> None:
    with ExitStack() as stack:
        chip = stack.enter_context(simulated_chip())
        board = stack.enter_context(smp_board(chip.socket, "--rail", str(tmp_path / "rail"), carrier=carrier))
        with pytest.raises(ChipError):
            open_chip(board.address)
        rail.on()
        element = open_chip(board.address)
        assert element.state(SLOT_IDENTITY) is SlotState.EMPTY
        rail.off()
        rail.on()
        with pytest.raises(ChipError):
            element.state(SLOT_IDENTITY)
        element.close()
        again = open_chip(board.address)
        assert again.state(SLOT_IDENTITY) is SlotState.EMPTY
        again.close()


def test_a_sag_lasts_from_the_load_until_the_rail_is_switched_off(rail: Rail) -> None:
    rail.on()
    rail.arm_sag(3.0)
    assert rail.volts() == NOMINAL_V
    assert not rail.carries_load()
    assert rail.volts() == 3.0
    rail.off()
    assert rail.volts() == 0.0
    rail.mend()
    rail.on()
    assert rail.carries_load()
    assert rail.volts() == NOMINAL_V


def test_to_switch_on_what_is_on_is_no_new_period(rail: Rail) -> None:
    rail.on()
    period = rail.period()
    rail.on()
    assert rail.period() == period
    rail.off()
    rail.on()
    assert rail.period() not in {period, ""}


def test_a_rail_without_its_folder_is_an_error_and_not_a_rail_that_is_off(tmp_path: Path) -> None:
    rail = Rail(tmp_path / "nowhere")
    for call in (rail.on, rail.off, rail.volts, rail.period):
        with pytest.raises(OSError, match="nowhere"):
            call()
