# SPDX-License-Identifier: Apache-2.0
"""
Acceptance 1: "I scan the panel, close the lid, and eight boards go green before the next one arrives."

A station, a CA, and a chip with the datasheet's times for each board, all processes of their own. Of eight places two
are marked bad. The station's own figures are what is judged: what the operator sees.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from birthmark.line.station.pace import spread
from birthmark.testing.lab.rig import STEPS
from support.campaign import VARIABLE, keep, rounds, seed
from support.labs import birthmark, births, certificates
from support.shopfloor.one_rig import POSITIONS, OneRig, one_rig

CHIP = "optiga-trust-m"
PANELS = rounds(short=6, campaign=1000)
BAD = 2
SEED = 20261123
TAKT_S = 2.0
"""Acceptance 1; asked of the long series alone, where the machine is to itself."""
GENEROUS_S = 30.0
DRIFT = 1.25
"""By how much the last hundred panels may be slower than the first."""
END = 100
MEMORY_EVERY = 20
Figures = dict[str, Any]


@pytest.fixture
def line() -> Iterator[OneRig]:
    with one_rig(CHIP) as made:
        yield made


def test_panels_of_eight_with_two_bad_marks_go_green_in_takt_and_go_on_so(line: OneRig) -> None:
    chance = Random(seed(SEED))  # noqa: S311 which places are bad is no secret
    panel_s: list[float] = []
    memory_kib: list[int] = []
    for number in range(PANELS):
        bad = frozenset(chance.sample(range(1, POSITIONS + 1), BAD))
        boards, floor = line.panel(bad)
        looks = {place["number"]: (place["look"], place["word"], place["unit"]) for place in floor["places"]}
        assert looks == {
            place: ("skip", "SKIP", "") if place in bad else ("pass", "PASS", boards[place].unit)
            for place in range(1, POSITIONS + 1)
        }, floor
        assert 0 < floor["panel_s"] < GENEROUS_S
        panel_s.append(floor["panel_s"])
        if number % MEMORY_EVERY == 0:
            memory_kib.append(resident_kib(line))
    shown = line.rig.call("GET", "/v1/floor")
    check_the_floor(shown, panel_s)
    line.rig.end()
    check_the_books(line)
    figures = figures_of(shown, panel_s, memory_kib)
    keep("panels", figures)
    if os.environ.get(VARIABLE):
        assert figures["p99_s"] <= TAKT_S, figures
        assert figures["last"]["p50_s"] <= DRIFT * figures["first"]["p50_s"], figures


def check_the_floor(shown: Figures, panel_s: list[float]) -> None:
    """p50 and p95 of panel and steps are on the screen, and are what was measured."""
    newest = panel_s[-400:]
    expected = spread(newest)
    assert shown["panels"]["count"] == len(newest)
    assert shown["panels"]["p50_s"] == pytest.approx(expected.p50, abs=0.001)
    assert shown["panels"]["p95_s"] == pytest.approx(expected.p95, abs=0.001)
    assert set(shown["steps"]) == set(STEPS)
    assert all(0 < step["p50_s"] <= step["p95_s"] for step in shown["steps"].values())
    assert shown["last"][0]["verdict"] == "PASS"


def check_the_books(line: OneRig) -> None:
    """Six births a panel, at CA and MES, and what the reconciler finds of it: nothing."""
    config = line.lab.rig_configs["rig-a"]
    said = birthmark("line", "deliver", "--config", config, "--json").stdout.splitlines()[-1]
    assert json.loads(said) == {"event": "deliver.end", "outbox": 0}
    made = PANELS * (POSITIONS - BAD)
    assert [row["state"] for row in certificates(line.lab)] == ["confirmed"] * made
    assert len({birth["unit_serial"] for birth in births(line.lab)}) == made
    export = line.lab.path / "ledger.jsonl"
    export.write_text(birthmark("ca", "ledger", "export", "--config", line.lab.ca_config).stdout)
    done = birthmark("line", "reconcile", "--config", config, "--certificates", export)
    assert done.returncode == 0, done.stdout + done.stderr


def resident_kib(line: OneRig) -> int:
    status = Path(f"/proc/{line.rig.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def figures_of(shown: Figures, panel_s: list[float], memory_kib: list[int]) -> Figures:
    ordered = sorted(panel_s)
    return {
        "panels": len(panel_s),
        "positions": POSITIONS,
        "bad": BAD,
        "chip": CHIP,
        "takt_s": TAKT_S,
        "p50_s": spread(panel_s).p50,
        "p95_s": spread(panel_s).p95,
        "p99_s": ordered[-(-len(ordered) * 99 // 100) - 1],
        "max_s": ordered[-1],
        "first": {"p50_s": spread(panel_s[:END]).p50, "p95_s": spread(panel_s[:END]).p95},
        "last": {"p50_s": spread(panel_s[-END:]).p50, "p95_s": spread(panel_s[-END:]).p95},
        "panel_s": [round(each, 4) for each in panel_s],
        "steps": shown["steps"],
        "memory_kib": memory_kib,
        "memory_every": MEMORY_EVERY,
    }
