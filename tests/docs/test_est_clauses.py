# SPDX-License-Identifier: Apache-2.0
"""docs/reference/est-divergences.md: every clause has a state, and every test that it names is there."""

import re
from pathlib import Path

import pytest

from support.documents import ROOT, section

PAGE = (ROOT / "docs/reference/est-divergences.md").read_text()
TABLES = {
    "## RFC 7030 §3: design and layers": 59,
    "## RFC 7030 §4: exchanges": 59,
    "## RFC 8951": 13,
    "## RFC 9908": 17,
}
"""Each table of clauses, and how many it has at least: nobody shortens it unseen."""
STATE = re.compile(r"^(\*\*(met|not taken|differs)\*\*|see there$)")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")


ELSEWHERE = re.compile(r"the same tests?\b|see there|as (RFC 7030 )?§")


def rows(heading: str) -> list[list[str]]:
    lines = [line for line in section(PAGE, heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[1:]]


CLAUSES = [
    pytest.param(row, id=f"{heading[3:11]} {row[0]} {row[2][:50]}") for heading in TABLES for row in rows(heading)
]


@pytest.mark.parametrize("row", CLAUSES)
def test_a_clause_is_met_not_taken_or_differs_and_says_how(row: list[str]) -> None:
    clause, _, text, here = row
    assert clause.startswith("§")
    assert text
    state = STATE.match(here)
    assert state, here
    if state[2] == "differs":
        assert len(here) > len("**differs**: no reason"), "a difference has a reason"
    if state[2] == "met" and "MUST" in row[1]:
        assert TEST.search(here) or ELSEWHERE.search(here), "no test, and no clause that names one"


@pytest.mark.parametrize(("heading", "least"), TABLES.items())
def test_no_table_of_clauses_gets_shorter(heading: str, least: int) -> None:
    assert len(rows(heading)) >= least


def test_every_test_that_the_page_names_is_there() -> None:
    there = {
        name
        for path in Path(ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(TEST.findall(PAGE))
    assert len(named) > 70
    assert named - there == set()
