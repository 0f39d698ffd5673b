# SPDX-License-Identifier: Apache-2.0
"""The exit codes in the program and in the document are the same, and every finding has one."""

import re
from pathlib import Path

import pytest

from birthmark.cli.exits import FINDINGS, Exit, exit_for

DOCUMENT = Path("docs/reference/exit-codes.md")
SOURCES = sorted(Path("src/birthmark").rglob("*.py"))
FINDING = re.compile(r'finding ?= ?"([a-z0-9-]+(?:\.[a-z0-9-]+)*)"')


def documented() -> dict[Exit, tuple[str, tuple[str, ...]]]:
    """Return name and finding patterns of each code in the document's table."""
    rows = [line.strip("|\n").split("|") for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")]
    return {
        Exit(int(code)): (name.strip(), tuple(re.findall(r"`([^`]+)`", findings)))
        for code, name, _meaning, findings in rows
        if code.strip().isdigit()
    }


def test_the_document_lists_every_code_with_its_name() -> None:
    assert {code: name for code, (name, _) in documented().items()} == {code: code.name for code in Exit}


@pytest.mark.parametrize("code", Exit)
def test_the_document_gives_each_code_the_findings_that_the_program_gives_it(code: Exit) -> None:
    assert documented()[code][1] == FINDINGS.get(code, ())


@pytest.mark.parametrize(
    ("finding", "code"),
    [
        ("net.unreachable", Exit.UNREACHABLE),
        ("net.port-occupied", Exit.PORT),
        ("net.tls-files", Exit.INPUT),
        ("pki.trust", Exit.INPUT),
        ("pki.path.expired", Exit.NOT_HELD),
        ("line.disk", Exit.DISK),
        ("line.hold.limit", Exit.UNREACHABLE),
        ("line.panel.duplicate", Exit.INPUT),
        ("line.possession", Exit.NOT_HELD),
        ("store.full", Exit.DISK),
        ("store.version", Exit.INPUT),
        ("internal", Exit.INTERNAL),
        ("something.that.a.server.said", Exit.NOT_HELD),
    ],
)
def test_the_longest_pattern_that_fits_decides(finding: str, code: Exit) -> None:
    assert exit_for(finding) is code


def test_every_finding_in_the_program_belongs_to_a_documented_family() -> None:
    families = {pattern.split(".")[0] for patterns in FINDINGS.values() for pattern in patterns}
    found = {finding for source in SOURCES for finding in FINDING.findall(source.read_text())}
    assert found
    assert {finding for finding in found if finding.split(".")[0] not in families} == set()
