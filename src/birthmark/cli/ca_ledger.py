# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca ledger`: the ledger held against its own log."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from birthmark.cli.exits import Exit


@click.group()
def ledger() -> None:
    """Look after the ledger."""


@ledger.command(short_help="Hold the tables against the log.")
@click.option("--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def check(config: Path, *, as_json: bool) -> None:
    """
    Hold every table against the log, row by row; the reference of the ledger says what is seen and what is not.

    May run beside the serving process. Prints one line for each discrepancy and ends with 1 when there is any.
    """
    from birthmark.ca.wiring import open_ca

    found = 0
    with open_ca(config) as authority:
        for each in authority.check():
            found += 1
            told = json.dumps(asdict(each)) if as_json else f"{each.finding}  {each.subject}  {each.detail}"
            click.echo(told)
    if not as_json:
        click.echo(f"{found} discrepancies" if found else "the tables and the log agree")
    sys.exit(Exit.NOT_HELD if found else Exit.OK)


@ledger.command(short_help="Print every certificate with its birth record.")
@click.option("--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml.")
def export(config: Path) -> None:
    """
    Print every certificate with its birth record, as one JSON object per line: for `birthmark line reconcile`.

    May run beside the serving process. Birth records name operators.
    """
    from birthmark.ca.wiring import open_ca

    with open_ca(config) as authority:
        for row in authority.export():
            click.echo(json.dumps(row))
