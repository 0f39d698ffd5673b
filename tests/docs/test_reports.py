# SPDX-License-Identifier: Apache-2.0
"""Reports of campaigns are what their figures make, each is in the list, and none tells of what did not hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import ROOT

REPORTS = ROOT / "docs" / "reports"
DATA = sorted(REPORTS.glob("*.json"))


def test_every_page_is_what_its_figures_make() -> None:
    command = [sys.executable, ROOT / "tools/campaign.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_report_is_in_the_list() -> None:
    listed = (REPORTS / "README.md").read_text().partition("## Reports")[2]
    assert DATA
    assert all(f"]({path.stem}.md)" in listed for path in DATA)


@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_a_report_tells_of_a_campaign_that_held_and_its_pictures_are_there(path: Path) -> None:
    report = json.loads(path.read_text())
    faults = report["fault-campaign"]
    assert faults["found"] == []
    assert faults["chips_that_differ"] == []
    assert all(each["compared"] > 0 and each["found"] == 0 for each in faults["relations"])
    text = path.with_suffix(".md").read_text()
    pictures = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert pictures
    assert all((REPORTS / name).stat().st_size > 0 for name in pictures)
