# SPDX-License-Identifier: Apache-2.0
"""`birthmark attack`: really attack a running system; exit code 1 on a breach."""

import json
import sys
from pathlib import Path

import click

from birthmark.cli.exits import Exit


@click.command()
@click.option(
    "--lab",
    "directory",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A running lab. Without it one is started and ended.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per attack.")
def attack(directory: Path | None, *, as_json: bool) -> None:
    """Run every attack of the catalogue over the wire: each must be REFUSED."""
    from birthmark.testing.attacks.campaign import run_campaign

    breached = False
    for result in run_campaign(directory):
        breached = breached or not result.refused
        if as_json:
            click.echo(json.dumps(result.as_row()))
        else:
            word = click.style("REFUSED", fg="green") if result.refused else click.style("BREACH ", fg="red", bold=True)
            click.echo(f"{word}  {result.id:<34} {result.finding}")
    sys.exit(Exit.NOT_HELD if breached else Exit.OK)
