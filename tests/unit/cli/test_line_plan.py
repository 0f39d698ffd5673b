# SPDX-License-Identifier: Apache-2.0
"""`birthmark line plan` as a person and as a script meet it."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from birthmark.cli.main import birthmark
from birthmark.core.errors import BirthmarkError
from birthmark.line.plan.results import Plan

WIDTH = 80
FIGURES = ("takt", "time", "failures", "ca")
BRIEF = "[run]\npanels = 6\nwarm_up_panels = 2\nreplications = 2\n[line]\npositions = 2\n"
COST = '[cost]\ncurrency = "EUR"\nhours_per_year = 4000\nchip = 0.8\nrig = 20000\n'


def plan(*arguments: str | Path) -> Result:
    return CliRunner().invoke(birthmark, ["line", "plan", *map(str, arguments)], env={"COLUMNS": str(WIDTH)})


def brief(folder: Path, more: str = "") -> Path:
    path = folder / "line.toml"
    path.write_text(BRIEF + more)
    return path


def test_the_report_fits_a_terminal_and_says_first_what_binds(tmp_path: Path) -> None:
    done = plan("--scenario", brief(tmp_path, COST), "--mtbf-h", "200", "--rigs", "3", "--ca-round-trip-ms", "20")
    assert done.exit_code == 0, done.output
    lines = [line.rstrip() for line in done.output.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    assert lines[0] == "optiga-trust-m, 2 boards on a panel of 2, a panel every 2 s, 3 rigs"
    assert lines[2].startswith("takt binds: 2 s are asked for, ")
    assert "a second rig: " in done.output
    assert "EUR/board" in done.output


def test_json_is_one_object_and_options_come_before_the_file(tmp_path: Path) -> None:
    done = plan("--scenario", brief(tmp_path), "--chip", "slb9670", "--takt-s", "0", "--json")
    found = msgspec.json.decode(done.output, type=Plan)
    assert (found.chip, found.takt_s, found.boards_per_panel) == ("slb9670", 0.0, 2)
    assert done.output.count("\n") == 1


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_four_figures_are_drawn_and_drawn_alike_again(kind: str, tmp_path: Path) -> None:
    scenario = brief(tmp_path, "[faults]\nmtbf_h = 200\n")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        done = plan("--scenario", scenario, "--plots", folder, "--plot-format", kind)
        assert done.exit_code == 0, done.output
    for name in FIGURES:
        one, two = (folder / f"line-plan-{name}.{kind}" for folder in folders)
        assert str(two) in done.output.replace("\n", "")
        assert one.read_bytes() == two.read_bytes()
        if kind == "png":
            with Image.open(one) as image:
                assert image.size[0] > 600
        else:
            assert ET.parse(one).getroot().tag.endswith("svg")  # noqa: S314 our own file


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("--rigs", "0"), "config"),
        (("--chip", "z80"), "config"),
        (("--takt-s", "nan"), "config"),
        (("--scenario", "nowhere.toml"), "config"),
        (("--measured", "nowhere.jsonl"), "config"),
        (("--measured", __file__), "line.plan.measured"),
    ],
)
def test_what_cannot_be_planned_is_an_error_with_a_finding(arguments: tuple[str, ...], finding: str) -> None:
    error = plan(*arguments).exception
    assert isinstance(error, BirthmarkError)
    assert error.finding.startswith(finding)


def test_a_model_that_is_too_far_from_the_measurement_ends_with_1(tmp_path: Path) -> None:
    steps = [{"event": "step", "unit": "U", "step": "record", "ms": 1.0, "chip_ms": 0.0}]
    verdict = {"event": "verdict", "unit": "U", "verdict": "PASS", "board_s": 9.0, "chip_s": 8.9}
    measured = tmp_path / "run.jsonl"
    events = [*steps, verdict | {"certificate_bytes": 1700}, {"event": "panel.end", "panel_s": 9.0}]
    measured.write_text("\n".join(map(json.dumps, events)))
    done = plan("--scenario", brief(tmp_path), "--measured", measured)
    assert done.exit_code == 1
    assert "> 25% off" in done.output
