# SPDX-License-Identifier: Apache-2.0
"""Markdown documents as they are to be believed: their shell blocks run, their links lead somewhere."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from birthmark.testing.lab.start import lab_down

ROOT = Path(__file__).parent.parent.parent
DOCUMENT_TIMEOUT_S = 300
_MARK = "=== next block"
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]*`")


@dataclass(frozen=True, slots=True)
class Block:
    """One sh block, and the lines of the text block that follows it at once: what a reader sees, … for anything."""

    commands: str
    shown: tuple[str, ...]


def documents() -> list[Path]:
    """Every Markdown file of the project."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.md"), *ROOT.glob("tests/**/*.md")]
    return sorted(found)


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    level = heading.index(" ")
    _, _, below = text.partition(f"\n{heading}\n")
    assert below, f"there is no {heading!r}"
    # A comment in a fence is no heading.
    hidden = _FENCE.sub(lambda fence: fence.group(0).replace("#", "\0"), below)
    return re.split(rf"^#{{1,{level}}} ", hidden, maxsplit=1, flags=re.MULTILINE)[0].replace("\0", "#")


def blocks(text: str) -> list[Block]:
    """Return the sh blocks in their order."""
    fences = list(_FENCE.finditer(text))
    found = []
    for fence, following in zip(fences, [*fences[1:], None], strict=True):
        if fence.group(1) == "sh":
            at_once = following and following.group(1) == "text" and not text[fence.end() : following.start()].strip()
            shown = tuple(following.group(2).splitlines()) if following and at_once else ()
            found.append(Block(fence.group(2), shown))
    return found


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings."""
    return {_slug(heading) for heading in _HEADING.findall(_FENCE.sub("", text))}


def links(text: str) -> list[str]:
    """Return the targets of all links and images outside code."""
    return _LINK.findall(_CODE.sub("", _FENCE.sub("", text)))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def run_blocks(found: list[Block], folder: Path) -> tuple[int, list[str], list[Block]]:
    """
    Paste the blocks into one shell, in a checkout whose environment is this one, with all of /tmp/ moved into `folder`.

    Return the exit code, what each block printed, and the blocks as they were run. Labs that are left are ended.
    """
    checkout, said = folder / "checkout", folder / "said"
    checkout.mkdir()
    (checkout / ".venv").symlink_to(sys.prefix)
    moved = [_moved(block, folder) for block in found]
    script = "".join(f"echo '{_MARK}'\n{block.commands}\n" for block in moved)
    shell = ("bash", "-e", "-o", "pipefail", "-c", script)
    try:
        with said.open("w") as out:
            done = subprocess.run(
                shell, cwd=checkout, stdout=out, stderr=subprocess.STDOUT, timeout=DOCUMENT_TIMEOUT_S, check=False
            )
    finally:
        for record in folder.glob("*/lab.json"):
            lab_down(record.parent)
    return done.returncode, said.read_text().split(f"{_MARK}\n")[1:], moved


def unseen(block: Block, printed: str) -> list[str]:
    """Return the lines that a reader is told to see and that were not printed, in this order."""
    missing, rest = [], printed
    for line in block.shown:
        pattern = ".*".join(map(re.escape, line.split("…")))
        seen = re.search(pattern, rest)
        if seen is None:
            missing.append(line)
        else:
            rest = rest[seen.end() :]
    return missing


def _moved(block: Block, folder: Path) -> Block:
    old, new = "/tmp/", f"{folder}/"  # noqa: S108 the documents' own paths
    return Block(block.commands.replace(old, new), tuple(line.replace(old, new) for line in block.shown))
