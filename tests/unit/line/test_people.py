# SPDX-License-Identifier: Apache-2.0
"""Who works at a station, and a lead's PIN."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError, DecodeError
from birthmark.line.config import load_rig, people_of
from birthmark.line.errors import LeadRefused
from birthmark.line.people import (
    PIN_MIN_CHARACTERS,
    WAIT_S,
    WRONG_PINS_MAX,
    People,
    Person,
    PinHash,
    Role,
    hash_pin,
    read_pin_hash,
)
from birthmark.testing.lab.files import LEAD, LEAD_PIN, OPERATOR, rig_toml

PIN = "246810"
HASH = hash_pin(PIN)


class Stopwatch:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def stopwatch() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def people(stopwatch: Stopwatch) -> People:
    return People([Person("ada", Role.OPERATOR), Person("grace", Role.LEAD, HASH)], stopwatch)


def refused(people: People, badge: str, pin: str) -> str:
    with pytest.raises(LeadRefused) as error:
        people.demand_lead(badge, pin)
    assert pin not in str(error.value)
    return error.value.finding


def test_a_lead_with_the_pin_may_decide_and_nobody_else(people: People) -> None:
    people.demand_lead("grace", PIN)
    assert refused(people, "grace", "999999") == "line.lead.pin"
    assert refused(people, "ada", PIN) == "line.lead.role"
    assert refused(people, "mallory", PIN) == "line.lead.role"


def test_after_wrong_pins_a_lead_waits_and_then_may_decide_again(people: People, stopwatch: Stopwatch) -> None:
    for _ in range(WRONG_PINS_MAX):
        assert refused(people, "grace", "999999") == "line.lead.pin"
    assert refused(people, "grace", PIN) == "line.lead.wait"
    stopwatch.now_s += WAIT_S
    people.demand_lead("grace", PIN)


def test_the_right_pin_forgets_the_wrong_ones(people: People) -> None:
    for pin in ["999999"] * (WRONG_PINS_MAX - 1) + [PIN] + ["999999"] * (WRONG_PINS_MAX - 1):
        if pin == PIN:
            people.demand_lead("grace", pin)
        else:
            refused(people, "grace", pin)
    people.demand_lead("grace", PIN)


def test_with_nobody_named_every_badge_is_an_operator_s(people: People, stopwatch: Stopwatch) -> None:
    assert (people.role_of("ada"), people.role_of("grace"), people.role_of("mallory")) == (
        Role.OPERATOR,
        Role.LEAD,
        None,
    )
    anybody = People([], stopwatch)
    assert (anybody.role_of("mallory"), anybody.leads) == (Role.OPERATOR, ())


def test_a_hash_has_one_text_form_and_the_same_pin_another_hash() -> None:
    assert read_pin_hash(str(HASH)) == HASH
    assert hash_pin(PIN) != HASH
    assert PIN not in str(HASH)


@pytest.mark.parametrize(
    "text",
    [
        "",
        PIN,
        str(HASH).replace("scrypt-15-8-1", "scrypt-1-1-1"),
        str(HASH) + "=",
        str(HASH)[:-4],
        str(HASH) + "$",
        str(HASH).replace("$", "$ ", 1),
        f"scrypt-15-8-1${'A' * 23}${'A' * 43}",
    ],
    ids=("nothing", "the PIN", "other costs", "padded", "cut off", "longer", "a blank", "a long salt"),
)
def test_any_other_text_is_no_hash(text: str) -> None:
    with pytest.raises(DecodeError) as error:
        read_pin_hash(text)
    assert error.value.finding == "line.lead.pin-hash"


@pytest.mark.parametrize("pin", ["", "1" * (PIN_MIN_CHARACTERS - 1), "1" * 65, "12345\x006"])
def test_a_pin_has_its_length(pin: str) -> None:
    with pytest.raises(DecodeError) as error:
        hash_pin(pin)
    assert error.value.finding == "line.lead.pin-form"


# --- rig.toml --------------------------------------------------------------------------------------------------


def write(folder: Path, extra: str = "", *, mode: int = 0o600) -> Path:
    path = folder / "rig.toml"
    path.write_text(rig_toml("rig-a", "https://127.0.0.1:1", ["apdu:unix=/x"]) + extra)
    path.chmod(mode)
    return path


def test_a_lab_s_people_are_an_operator_and_a_lead_with_the_pin_of_the_documents(tmp_path: Path) -> None:
    path = write(tmp_path)
    operator, lead = people_of(load_rig(path), path)
    assert (operator, lead.badge, lead.role) == (Person(OPERATOR, Role.OPERATOR), LEAD, Role.LEAD)
    assert isinstance(lead.pin, PinHash)
    assert lead.pin.fits(LEAD_PIN)


def test_a_file_with_a_pin_s_hash_is_its_owner_s_alone(tmp_path: Path) -> None:
    path = write(tmp_path, mode=0o644)
    with pytest.raises(ConfigError, match="0644"):
        people_of(load_rig(path), path)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ('badge = "ada"\nrole = "operator"', "each badge once"),
        ('badge = "a b"\nrole = "operator"', "letters, digits"),
        ('badge = "bob"\nrole = "lead"', "a lead has a PIN"),
        ('badge = "bob"\nrole = "operator"\npin = "x"', "an operator none"),
        ('badge = "bob"\nrole = "boss"', "boss"),
    ],
)
def test_people_that_make_no_sense_are_refused(tmp_path: Path, entry: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_rig(write(tmp_path, f"\n[[people]]\n{entry}\n"))


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, '\n[[people]]\nbadge = "bob"\nrole = "lead"\npin = "1234"\n')
    with pytest.raises(ConfigError, match="line pin"):
        people_of(load_rig(path), path)


@pytest.mark.parametrize("gap_ms", [0, 1001])
def test_a_gap_between_keys_is_a_time_that_makes_sense(tmp_path: Path, gap_ms: int) -> None:
    with pytest.raises(ConfigError, match="gap_ms"):
        load_rig(write(tmp_path, f"\n[scanner]\ngap_ms = {gap_ms}\n"))
