# SPDX-License-Identifier: Apache-2.0
"""What every supply of the fixture guarantees: that it is on or off is seen by somebody else than its driver."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.line.errors import SupplyAway
from birthmark.line.fixture.gpio import LinePower
from birthmark.line.fixture.power import AlwaysOn, Power, ReadsVoltage
from support.supplies import PLACES, SUPPLIES, SupplyUnderTest


@pytest.fixture(params=sorted(SUPPLIES))
def supply(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SupplyUnderTest]:
    with SUPPLIES[request.param](tmp_path) as supply:
        yield supply


@pytest.fixture
def power(supply: SupplyUnderTest) -> Iterator[Power]:
    power = supply.open()
    yield power
    with suppress(BirthmarkError):
        power.close()


def test_no_place_has_power_when_the_supply_was_opened(supply: SupplyUnderTest) -> None:
    first = supply.open()
    first.on(1)
    assert supply.powered() == {1}
    first.close()
    again = supply.open()
    assert supply.powered() == set()
    again.close()


def test_each_place_is_switched_alone(supply: SupplyUnderTest, power: Power) -> None:
    power.check(PLACES)
    power.on(2)
    assert supply.powered() == {2}
    power.on(1)
    power.off(2)
    assert supply.powered() == {1}


def test_to_switch_twice_is_to_switch_once(supply: SupplyUnderTest, power: Power) -> None:
    power.off(1)
    power.on(1)
    power.on(1)
    assert supply.powered() == {1}
    power.off(1)
    power.off(1)
    assert supply.powered() == set()


def test_no_place_has_power_when_the_supply_was_closed(supply: SupplyUnderTest) -> None:
    power = supply.open()
    for place in PLACES:
        power.on(place)
    assert supply.powered() == set(PLACES)
    power.close()
    assert supply.powered() == set()


def test_a_place_that_it_does_not_feed_is_said_before_any_board(power: Power) -> None:
    with pytest.raises(ConfigError, match="nothing feeds place 3"):
        power.check([1, 3])


def test_a_supply_that_went_away_says_so_at_every_call(supply: SupplyUnderTest, power: Power) -> None:
    power.on(1)
    supply.go_away()
    with pytest.raises(SupplyAway):
        power.check(PLACES)
    with pytest.raises(SupplyAway):
        power.off(1)
    with pytest.raises(SupplyAway):
        power.on(1)


def test_a_supply_that_is_away_cannot_be_opened(supply: SupplyUnderTest) -> None:
    supply.go_away()
    with pytest.raises(SupplyAway):
        supply.open()


@pytest.mark.parametrize("name", [name for name in sorted(SUPPLIES) if name != "gpiod"])
def test_a_supply_that_reads_voltage_reads_it_at_the_place_that_is_asked_for(name: str, tmp_path: Path) -> None:
    with SUPPLIES[name](tmp_path) as supply:
        power = supply.open()
        assert isinstance(power, ReadsVoltage)
        power.on(2)
        assert (power.volts(1), power.volts(2)) == (0.0, 5.0)
        supply.go_away()
        with pytest.raises(SupplyAway):
            power.volts(1)
        with pytest.raises(SupplyAway):
            power.close()


def test_lines_read_no_voltage_and_do_not_claim_to() -> None:
    assert not issubclass(LinePower, ReadsVoltage)


def test_boards_that_are_always_on_are_nobodys_affair() -> None:
    power: Power = AlwaysOn()
    power.check(range(1, 65))
    power.on(1)
    power.off(1)
    power.close()
