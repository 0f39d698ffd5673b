# SPDX-License-Identifier: Apache-2.0
"""A policy is kept for auditors by the names of its files: they lie beside it, or it is refused."""

import shutil
from pathlib import Path

import pytest

from birthmark.ca.transparency.policy_log import read_policy
from birthmark.core.errors import ConfigError
from support.documents import ROOT

EXAMPLES = ROOT / "docs/reference/examples"
FILES = ("endorsements.toml", "chipmaker.pem", "delivered.txt")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    for name in FILES:
        shutil.copy(EXAMPLES / name, folder)
    return folder / "endorsements.toml"


def test_a_policy_is_read_with_all_its_texts_by_name(policy: Path) -> None:
    _, texts = read_policy(policy, Path.read_bytes)
    assert list(texts) == list(FILES)


@pytest.mark.parametrize("place", ["{above}/chipmaker.pem", "../chipmaker.pem"])
def test_a_policy_that_names_a_file_elsewhere_is_refused(policy: Path, place: str) -> None:
    above = policy.parent.parent
    shutil.move(policy.parent / "chipmaker.pem", above)
    policy.write_text(policy.read_text().replace("chipmaker.pem", place.format(above=above)))
    with pytest.raises(ConfigError, match="not beside it"):
        read_policy(policy, Path.read_bytes)
