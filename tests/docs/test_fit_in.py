# SPDX-License-Identifier: Apache-2.0
"""The pages for programs say every field of a result, and which findings are not a board's."""

import re

from birthmark.line import results
from birthmark.line.outcomes import COMMUNICATION, NOT_THE_UNITS
from birthmark.web.station.panels import WAIT_MAX_S
from support.documents import ROOT, section

PAGE = (ROOT / "docs/reference/fit-in.md").read_text()
CALL = section((ROOT / "docs/reference/line-station.md").read_text(), "### A panel by one call")


def test_every_field_of_a_result_stands_there_and_no_other() -> None:
    _, _, answer = CALL.partition("| Answer | Meaning |")
    fields = {
        name for row in re.findall(r"^\| (`.*?) \|", answer, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert fields - {"panel", "operator", "began"} == results.members(results.begun(["BM-000001"])).keys()
    (places,) = re.findall(r"^\| `places` \| (.*) \|$", answer, re.MULTILINE)
    (place,) = results.members(results.begun(["BM-000001"]))["places"]
    assert set(re.findall(r"`(\w+)`", places)) == place.keys()


def test_the_findings_that_are_not_the_boards_are_those_of_the_line() -> None:
    (row,) = re.findall(r"^\| Findings \|.*?\|(.*)\|$", PAGE, re.MULTILINE)
    patterns = {name + "*" if name.endswith(".") else name for name in (*COMMUNICATION, *NOT_THE_UNITS)}
    assert set(re.findall(r"`([^`]+)`", row)) == patterns


def test_the_longest_wait_stands_there() -> None:
    assert f"0 to {WAIT_MAX_S:g}, default 0" in CALL
