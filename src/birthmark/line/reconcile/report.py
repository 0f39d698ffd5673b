# SPDX-License-Identifier: Apache-2.0
"""The table that the reconciler shows: one line for each relation, then one for each unit that disagrees."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from birthmark.line.reconcile.checks import Relation

SHOWN_MAX = 100
"""Of the lines about units; --json has all of them."""


def show(console: Console, relations: Sequence[Relation]) -> None:
    """Print the relations, and what does not hold."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, justify in (("rows", "right"), ("wrong", "right"), ("must hold", "left"), ("finding", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    for each in relations:
        wrong = Text(str(len(each.found)), style="bold red" if each.found else "green")
        table.add_row(f"{each.compared:,}", wrong, each.demands, each.finding)
    console.print(table)
    found = [found for each in relations for found in each.found]
    if not found:
        console.print("\nThe books agree.", style="bold green")
        return
    console.print()
    lines = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("unit", "finding", "what does not agree"):
        lines.add_column(name)
    for wrong_row in found[:SHOWN_MAX]:
        lines.add_row(wrong_row.unit or "-", wrong_row.finding, Text(wrong_row.detail))
    console.print(lines)
    if len(found) > SHOWN_MAX:
        console.print(f"… and {len(found) - SHOWN_MAX} more: --json has all of them")
