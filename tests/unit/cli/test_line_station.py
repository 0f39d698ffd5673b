# SPDX-License-Identifier: Apache-2.0
"""`birthmark line pin`: a PIN comes in, its hash goes out. `line serve`: what keeps a station from starting."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from birthmark.cli.main import birthmark as program
from birthmark.core.errors import ConfigError
from birthmark.line.people import read_pin_hash
from birthmark.testing.lab.files import rig_toml

PIN = "135790"


def test_the_hash_of_a_pin_is_printed_alone() -> None:
    done = CliRunner().invoke(program, ["line", "pin"], input=f"{PIN}\n{PIN}\n")
    assert done.exit_code == 0
    assert read_pin_hash(done.stdout.strip()).fits(PIN)
    assert PIN not in done.output


def test_a_pin_that_is_too_short_is_refused_and_not_repeated() -> None:
    done = CliRunner().invoke(program, ["line", "pin"], input="123\n123\n")
    assert done.exit_code != 0
    assert done.stdout == ""
    assert "123" not in str(done.exception)


@pytest.mark.parametrize("places", [0, 65])
def test_a_station_has_a_fixture_of_1_to_64_places(tmp_path: Path, places: int) -> None:
    config = tmp_path / "rig.toml"
    config.write_text(rig_toml("rig-a", "https://127.0.0.1:1", [f"apdu:unix=/{number}" for number in range(places)]))
    config.chmod(0o600)
    done = CliRunner().invoke(program, ["line", "serve", "--config", str(config)])
    assert isinstance(done.exception, ConfigError)
    assert f"{places} places" in str(done.exception)
    assert done.stdout == ""
