# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from birthmark.core.config import Config, load, parse
from birthmark.core.errors import ConfigError


class Kettle(Config, frozen=True):
    litres: float
    name: str = "kettle"
    log: Path | None = None


def test_defaults_fill_what_is_not_said_and_paths_are_paths() -> None:
    assert parse(Kettle, 'litres = 1.5\nlog = "x/y"', "kettle.toml") == Kettle(litres=1.5, log=Path("x/y"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("litres = 1\ncolour = 2", "colour"),
        ('litres = "much"', "litres"),
        ("", "litres"),
        ("litres = ", "kettle.toml"),
        ("\x00", "kettle.toml"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Kettle, text, "kettle.toml")
    assert "kettle.toml" in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load(Kettle, tmp_path / name)


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"k\.toml"):
        load(Kettle, tmp_path / "k.toml")
