#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/openapi.json anew from the table of the administration's calls; with --check only compares."""

import sys
from pathlib import Path

from birthmark.ca.admin.openapi import encoded

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "openapi.json"


def main(arguments: list[str]) -> int:
    """Write the document, or compare it; return the exit code."""
    if arguments == ["--check"]:
        current = PAGE.exists() and PAGE.read_bytes() == encoded()
        if not current:
            sys.stderr.write(f"{PAGE} is not up to date: run tools/openapi.py\n")
        return 0 if current else 1
    PAGE.write_bytes(encoded())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
