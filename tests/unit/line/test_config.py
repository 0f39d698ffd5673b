# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from birthmark.core.errors import ConfigError
from birthmark.line.config import load_panel, load_rig

RIG = """
rig = "rig-a"
operator = "ada"
recipe = "recipe.toml"
ca_url = "https://127.0.0.1:8443"
trust = "pki/trust.pem"
certificate = "pki/rig-a.pem"
key = "pki/rig-a.key"
database = "rig-a.sqlite"
endorsements = "/etc/birthmark/endorsements.toml"
"""
BOARD = '[[position]]\nunit = "BM-000001"\nchip = "apdu:unix=/a"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def test_relative_paths_start_at_the_file_and_absolute_ones_stay(tmp_path: Path) -> None:
    rig = load_rig(written(tmp_path, RIG))
    assert rig.key == tmp_path / "pki" / "rig-a.key"
    assert rig.endorsements == Path("/etc/birthmark/endorsements.toml")
    assert rig.mes_file is None


@pytest.mark.parametrize(
    "line",
    [
        "colour = 1",
        "hold_retry_s = 0",
        "hold_limit_s = -1.0",
        "deliver_wait_s = -0.5",
        "ca_timeout_s = nan",
        "hold_retry_s = inf",
        '[[fixture]]\nchip = "i2c:/dev/i2c-1"',
        '[[fixture]]\nchip = "smp:serial=ttyACM0"',
        '[[fixture]]\nchip = "apdu:unix=/a"\n[[fixture]]\nchip = "apdu:unix=/a"',
    ],
)
def test_what_a_rig_cannot_work_with_is_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.toml"):
        load_rig(written(tmp_path, f"{RIG}{line}\n"))


@pytest.mark.parametrize("key", ["rig", "operator"])
@pytest.mark.parametrize("name", ["", " ", " ada", "a\\tb", "a\\u202eb", "a" * 65])
def test_a_name_that_nobody_could_read_in_a_birth_record_is_refused(tmp_path: Path, key: str, name: str) -> None:
    text = "\n".join(f'{key} = "{name}"' if line.startswith(f"{key} =") else line for line in RIG.splitlines())
    with pytest.raises(ConfigError, match=f"{key} = "):
        load_rig(written(tmp_path, text))


@pytest.mark.parametrize("key", ["hold_retry_s", "lease_s", "deliver_wait_s", "hold_limit_s"])
def test_a_time_that_is_none_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} is not positive"):
        load_rig(written(tmp_path, f"{RIG}{key} = -1.0\n"))


def test_a_bad_position_needs_no_unit_and_no_chip(tmp_path: Path) -> None:
    good, bad = load_panel(written(tmp_path, f"{BOARD}[[position]]\nbad = true\n"))
    assert (good.unit, good.bad, bad.bad) == ("BM-000001", False, True)


@pytest.mark.parametrize(
    ("panel", "problem"),
    [
        ("position = []", "0 positions"),
        (BOARD * 65, "65 positions"),
        (BOARD + BOARD.replace("/a", "/b"), "BM-000001 is in two positions"),
        (BOARD + BOARD.replace("000001", "000002"), "apdu:unix=/a is in two positions"),
        ('[[position]]\nunit = "bm 1"\nchip = "apdu:unix=/a"\n', "'bm 1' is not a unit serial"),
        ('[[position]]\nunit = "BM-000001"\n', "has no chip address"),
        ('[[position]]\nunit = "BM-000001"\nchip = "i2c:1"\n', "BM-000001: 'i2c:1' is not the address of a chip"),
        ("[[position]]\nunit = 1\n", "Expected"),
    ],
)
def test_a_panel_that_was_scanned_wrongly_is_refused(tmp_path: Path, panel: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_panel(written(tmp_path, panel))
