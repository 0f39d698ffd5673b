# SPDX-License-Identifier: Apache-2.0
"""`birthmark line reconcile`: whether CA, rigs and MES tell the same of every unit."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from birthmark.cli.exits import Exit

_FILE = click.Path(path_type=Path)


@click.command(short_help="Hold the books of CA, rigs and MES against each other.")
@click.option(
    "--config", type=_FILE, required=True, multiple=True, metavar="FILE", help="A rig's rig.toml; each rig's."
)
@click.option(
    "--certificates", type=_FILE, required=True, metavar="FILE", help="What `birthmark ca ledger export` printed."
)
@click.option(
    "--mes", type=_FILE, multiple=True, metavar="FILE", help="Events that one more MES received, as JSON lines."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reconcile(config: tuple[Path, ...], certificates: Path, mes: tuple[Path, ...], *, as_json: bool) -> None:
    """
    Hold the books of CA, rigs and MES against each other, row by row.

    Looks at the rigs' databases, the store of units that they share, the MES that their rig.toml name (file and
    database) and the ledger's export. Run it when the line stands still. Exit code 1: they do not agree.
    """
    from rich.console import Console

    from birthmark.line.reconcile.report import show
    from birthmark.line.reconcile.wiring import reconcile_line

    relations = reconcile_line(config, certificates, {str(path): path for path in mes})
    if as_json:
        click.echo(json.dumps({"relations": [asdict(each) for each in relations]}))
    else:
        show(Console(highlight=False), relations)
    sys.exit(Exit.NOT_HELD if any(each.found for each in relations) else Exit.OK)
