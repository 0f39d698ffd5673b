# SPDX-License-Identifier: Apache-2.0
"""`make bench`: every figure with its floor, as a table and in build/bench.json."""

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

OUT = Path("build/bench.json")


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


def _table(rows: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("name", "value", "unit", "floor", "ratio"):
        table.add_column(name, justify="left" if name in {"name", "unit"} else "right", no_wrap=True)
    for each in rows:
        table.add_row(each.name, f"{each.value:g}", each.unit, f"{each.floor:g}", f"{each.ratio:g}")
    return table


main()
