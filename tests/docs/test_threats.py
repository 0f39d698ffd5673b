# SPDX-License-Identifier: Apache-2.0
"""docs/explanation/threats.md and the catalogue of attacks tell the same story."""

import re
from itertools import groupby

import pytest

from birthmark.testing.attacks.campaign import CATALOGUE
from birthmark.testing.attacks.catalogue import TITLE_WIDTH, Attack
from support.documents import ROOT, section

PAGE = (ROOT / "docs/explanation/threats.md").read_text()
_ROW = re.compile(r"^\| `([a-z0-9.-]+)` \|", re.MULTILINE)


def threat(attack: Attack) -> str:
    """What stands on the page under the attack's threat."""
    return section(PAGE, f"## {attack.threat.capitalize()}")


def test_the_page_has_a_row_for_every_attack_and_none_that_is_not_there() -> None:
    assert sorted(_ROW.findall(PAGE)) == sorted(attack.id for attack in CATALOGUE)


@pytest.mark.parametrize("attack", CATALOGUE, ids=lambda attack: attack.id)
def test_an_attack_stands_under_its_threat_with_the_findings_that_count(attack: Attack) -> None:
    rows = [line for line in threat(attack).splitlines() if line.startswith(f"| `{attack.id}` |")]
    assert len(rows) == 1
    assert re.findall(r"`([^`]+)`", rows[0].rsplit("|", 2)[1]) == list(attack.expected)


def test_every_threat_says_what_is_not_covered() -> None:
    assert all("**Not covered yet.**" in threat(attack) for attack in CATALOGUE)


def test_what_is_shown_of_the_attacks_is_aligned_and_each_threat_is_shown_once() -> None:
    assert [attack.title for attack in CATALOGUE if len(attack.title) > TITLE_WIDTH] == []
    threats = [threat for threat, _ in groupby(CATALOGUE, key=lambda attack: attack.threat)]
    assert len(threats) == len(set(threats))
