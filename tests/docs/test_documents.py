# SPDX-License-Identifier: Apache-2.0
"""What the documents say to type is typed, and what they say to see is seen; their links lead somewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import ROOT, anchors, blocks, documents, links, run_blocks, section, unseen

README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "docs/tutorials/first-board.md").read_text()
CEREMONY = (ROOT / "docs/tutorials/ceremony.md").read_text()
FITTING_IN = (ROOT / "docs/reference/fit-in.md").read_text()
PLANNING = (ROOT / "docs/reference/line-plan.md").read_text()
TWO_RIGS = (ROOT / "docs/tutorials/two-rigs.md").read_text()
OWN_CA = (ROOT / "docs/tutorials/product-security.md").read_text()
EXECUTED = [
    pytest.param(section(README, "## How to go on"), id="README: how to go on"),
    pytest.param(TUTORIAL, id="tutorial: your first board"),
    pytest.param(TWO_RIGS, id="tutorial: two rigs"),
    pytest.param(CEREMONY, id="tutorial: a key ceremony"),
    pytest.param(OWN_CA, id="tutorial: your own CA"),
    pytest.param(section(FITTING_IN, "## An example"), id="fitting in"),
    pytest.param(section(PLANNING, "## An example"), id="planning a line"),
]
OUTSIDE = ("http://", "https://", "mailto:")


@pytest.mark.parametrize("text", EXECUTED)
def test_every_shell_block_runs_and_shows_what_it_should(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    found = blocks(text)
    assert found
    code, printed, moved = run_blocks(found, tmp_path_factory.mktemp("doc"))
    assert code == 0, f"this block failed:\n{moved[len(printed) - 1].commands}\n{printed[-1]}"
    for block, output in zip(moved, printed, strict=True):
        assert not unseen(block, output), f"{block.commands}\nprinted\n{output}"


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in links(path.read_text()):
        if target.startswith(OUTSIDE):
            continue
        name, _, anchor = target.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), f"{path.relative_to(ROOT)} leads to {target}, which is not there"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{path.relative_to(ROOT)}: no heading for {target}"


def test_every_page_of_docs_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        inside = [target.partition("#")[0] for target in links(path.read_text()) if not target.startswith(OUTSIDE)]
        waiting += [(path.parent / name).resolve() for name in inside if name]
    assert {path for path in documents() if path.is_relative_to(ROOT / "docs")} <= reached


def test_the_command_reference_is_what_help_says() -> None:
    command = [sys.executable, ROOT / "tools/cli_reference.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_openapi_document_is_what_is_served() -> None:
    command = [sys.executable, ROOT / "tools/openapi.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
