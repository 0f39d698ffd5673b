# SPDX-License-Identifier: Apache-2.0
"""
Tables as a terminal, a log and `grep` can have them: one line of text for each row, nothing cut, no blank edges.

A long text in the last column of a terminal goes on in further lines below its own beginning.
"""

import shutil
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from rich.cells import cell_len

GAP: Final = "  "
LEAST_TEXT: Final = 24
"""Narrower than that the last column is not broken up: the terminal does it."""


def table_lines(
    titles: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Collection[str] = (), width: int | None = None
) -> Iterator[str]:
    """
    Yield a table: its titles, and its rows with the columns named in `numbers` set to the right.

    A column without anything in it, title included, is left out. Without `width` no line is broken up.
    """
    kept = [index for index, title in enumerate(titles) if title or any(row[index] for row in rows)]
    shown = [[row[index] for index in kept] for row in (titles, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    rights = [titles[index] in numbers for index in kept]
    for row in shown:
        yield from _lines(row, widths, rights, width)


def terminal_width() -> int | None:
    """Return how wide the terminal is that sees standard output; None when a file or a program has it."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _lines(row: Sequence[str], widths: Sequence[int], rights: Sequence[bool], width: int | None) -> Iterator[str]:
    *cells, last = (_set(*cell) for cell in zip(row, widths, rights, strict=True))
    before = "".join(cell + GAP for cell in cells)
    room = 0 if width is None else width - cell_len(before)
    if room < LEAST_TEXT or cell_len(last.rstrip()) <= room:
        yield f"{before}{last}".rstrip()
        return
    first, *others = textwrap.wrap(last, room, break_on_hyphens=False)
    yield before + first
    for other in others:
        yield " " * cell_len(before) + other


def _set(text: str, width: int, right: bool) -> str:  # noqa: FBT001 one of a column's two sides
    room = " " * (width - cell_len(text))
    return room + text if right else text + room
