#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Writes docs/reference/cli.md from the help texts of the program, or with --check says whether it is up to date.

Run it with the environment's Python: .venv/bin/python tools/cli_reference.py [--check]
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from birthmark.cli.main import birthmark

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
WIDTH = 100
HEAD = """# Commands

What `--help` says, for every command. This page is generated: `.venv/bin/python tools/cli_reference.py` writes it anew.
How a command ends: [exit-codes.md](exit-codes.md).
"""


def reference() -> str:
    """Return the page."""
    sections = [f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(birthmark, "birthmark", None)]
    return "\n".join([HEAD, *sections])


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings
    )
    yield context.command_path, command.get_help(context).rstrip()
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _helps(command.commands[child], child, context)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; return the exit code."""
    if arguments == ["--check"]:
        current = PAGE.exists() and PAGE.read_text() == reference()
        if not current:
            sys.stderr.write(f"{PAGE} is not up to date: run tools/cli_reference.py\n")
        return 0 if current else 1
    PAGE.write_text(reference())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
