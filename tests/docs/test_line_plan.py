# SPDX-License-Identifier: Apache-2.0
"""The planner's page says every key of a scenario with its default, and its tolerance."""

import re

import msgspec
import pytest

from birthmark.line.plan import scenario
from birthmark.line.plan.calibration import TOLERANCE
from support.documents import ROOT

PAGE = (ROOT / "docs/reference/line-plan.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \| .* \|$", PAGE, re.MULTILINE))
SECTIONS = {
    "line": scenario.LineScenario,
    "chip": scenario.ChipScenario,
    "rig": scenario.RigScenario,
    "ca": scenario.CAScenario,
    "faults": scenario.FaultScenario,
    "run": scenario.RunScenario,
    "cost": scenario.CostScenario,
}


def shown(field: msgspec.structs.FieldInfo) -> str:
    """Return a default as the page writes it."""
    value = "required" if field.required else msgspec.to_builtins(field.default)
    if isinstance(value, dict):
        return "; ".join(f"{step} {ms:g}" for step, ms in value.items())
    if isinstance(value, str) and not field.required:
        return f"`{value}`"
    return "\N{EN DASH}" if value is None else value if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize("section", list(SECTIONS))
def test_every_key_stands_there_with_its_default(section: str) -> None:
    fields = {f"{section}.{field.encode_name}": shown(field) for field in msgspec.structs.fields(SECTIONS[section])}
    assert {key: default for key, default in ROWS.items() if key.startswith(f"{section}.")} == fields


def test_the_sections_are_all_of_them() -> None:
    assert set(SECTIONS) == {field.name for field in msgspec.structs.fields(scenario.Scenario)}


def test_the_tolerance_is_the_programs() -> None:
    assert f"more than {TOLERANCE:.0%} off".replace("%", " %") in PAGE
