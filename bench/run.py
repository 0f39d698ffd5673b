# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every figure with its floor, as a table, in build/bench.json, and as a page in build/bench.md."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import authority
import cli
import floor
import ledger
import line
import msgspec
import rotation
import verdict
from rich.console import Console
from rich.table import Table
from rows import Row

from birthmark.core.clock import system_clock

OUT = Path("build/bench.json")
PAGE = Path("build/bench.md")


def main() -> None:
    """Measure everything; print the table; write the file."""
    console = Console()
    p256 = floor.measure()
    rows: list[Row] = []
    for name, measure in (
        ("cli", cli.measure),
        ("verdict", lambda: verdict.measure(p256)),
        ("line", lambda: line.measure(p256)),
        ("authority", lambda: authority.measure(p256)),
        ("rotation", rotation.measure),
        ("ledger", ledger.measure),
    ):
        with console.status(f"measuring {name}"):
            rows += measure()
    console.print(_table(rows))
    for each in rows:
        console.print(f"{each.name}: {each.note}", style="dim")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_bytes(msgspec.json.format(msgspec.json.encode(rows), indent=2) + b"\n")
    PAGE.write_text(_page(rows))


def _page(rows: list[Row]) -> str:
    machine = f"{len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}"
    lines = [
        f"# Benchmarks of {system_clock():%Y-%m-%d}",
        "",
        f"birthmark {version('birthmark')}, Python {sys.version.split()[0]}, {machine}.",
        "Made by `make bench`; every figure stands beside a floor that was measured in the same run.",
        "",
        "| Figure | Value | Unit | Floor | Ratio |",
        "|---|--:|---|--:|--:|",
        *(f"| `{each.name}` | {each.value:g} | {each.unit} | {each.floor:g} | {each.ratio:g} |" for each in rows),
        "",
        *(f"- `{each.name}`: {each.note}" for each in rows),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("name", "value", "unit", "floor", "ratio"):
        table.add_column(name, justify="left" if name in {"name", "unit"} else "right", no_wrap=True)
    for each in rows:
        table.add_row(each.name, f"{each.value:g}", each.unit, f"{each.floor:g}", f"{each.ratio:g}")
    return table


main()
