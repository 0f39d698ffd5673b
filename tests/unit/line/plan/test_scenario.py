# SPDX-License-Identifier: Apache-2.0
"""The scenario's file: strict, bounded, and the same whether a value comes from it or from the command line."""

from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.line.plan.scenario import Scenario, changed, load_scenario
from birthmark.silicon.port import Algorithm

FULL = """
[line]
rigs = 2
positions = 8
bad_per_panel = 2
takt_s = 2
buffer_panels = 4
operators = 1
load_s = 0.4
unload_s = 0.2

[chip]
model = "se050"
algorithm = "P-384"
certificate_bytes = 1600
spread = 0.1
bus = "transfer"
bus_hz = 1000000

[rig]
nests = 2
power_s = 0.05
cores = 2
spread = 0.2
software_ms = { record = 3.5, import = 0.5 }

[ca]
round_trip_ms = 12.5
nonce_ms = 2
enrol_ms = 8
workers = 4
spread = 0.5
nonces = "ahead"

[faults]
communication = 0.001
retries = 2
board = 0.01
mtbf_h = 300
mttr_h = 2
takeover_s = 8

[run]
panels = 30
warm_up_panels = 5
replications = 4
seed = 7
years = 5

[cost]
currency = "EUR"
hours_per_year = 4000
rig = 20000
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path: Path) -> None:
    scenario = load_scenario(written(tmp_path, FULL))
    assert (scenario.line.takt_s, scenario.chip.algorithm, scenario.boards) == (2.0, Algorithm.P384, 6)
    assert (scenario.rig.software_ms.import_, scenario.rig.software_ms.record) == (0.5, 3.5)
    assert scenario.cost is not None
    assert changed(scenario, ()) == scenario


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert load_scenario(written(tmp_path, "")) == Scenario()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[line]\nrig = 2", id="unknown key"),
        pytest.param("[lines]\nrigs = 2", id="unknown table"),
        pytest.param("[line]\nrigs = 0", id="no rig"),
        pytest.param("[line]\nrigs = 17", id="too many rigs"),
        pytest.param("[line]\nrigs = true", id="a bool is no number"),
        pytest.param("[line]\npositions = 65", id="too many positions"),
        pytest.param("[line]\npositions = 2\nbad_per_panel = 2", id="all positions bad"),
        pytest.param("[line]\ntakt_s = -1", id="negative takt"),
        pytest.param("[line]\ntakt_s = nan", id="a takt that is none"),
        pytest.param("[line]\ntakt_s = inf", id="endless takt"),
        pytest.param("[line]\nbuffer_panels = 0", id="nowhere to wait"),
        pytest.param('[chip]\nmodel = "z80"', id="chip without times"),
        pytest.param('[chip]\nalgorithm = "RSA-1024"', id="algorithm"),
        pytest.param('[chip]\nbus = "both"', id="bus"),
        pytest.param("[chip]\nbus_hz = 0", id="no clock"),
        pytest.param("[faults]\nboard = 1.5", id="share above one"),
        pytest.param("[faults]\nmtbf_h = 0", id="fails at once"),
        pytest.param("[run]\nreplications = 1", id="one replication has no interval"),
        pytest.param("[run]\npanels = 20000\nreplications = 1000", id="more than can be simulated"),
        pytest.param('[cost]\ncurrency = "EUR"', id="cost without hours"),
        pytest.param('[cost]\ncurrency = "EUR"\nhours_per_year = 9000', id="a year is shorter"),
        pytest.param("[rig]\nsoftware_ms = { power = 1 }", id="a step that is none"),
        pytest.param("takt", id="no TOML"),
    ],
)
def test_what_is_no_scenario_is_refused_with_the_file_named(text: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=r"line\.toml"):
        load_scenario(path)


def test_a_change_is_checked_like_the_file() -> None:
    assert changed(Scenario(), (("line", "rigs", 3),)).line.rigs == 3
    with pytest.raises(ConfigError, match="the command line"):
        changed(Scenario(), (("line", "rigs", 99),), "the command line")
    with pytest.raises(ConfigError, match="z80"):
        changed(Scenario(), (("chip", "model", "z80"),))
