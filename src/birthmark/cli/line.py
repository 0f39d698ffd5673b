# SPDX-License-Identifier: Apache-2.0
"""`birthmark line`: personalise a panel with a rig, run its station, deliver what is in its outbox, show births."""

import json
import sys
from pathlib import Path

import click

from birthmark.cli.line_credential import credential
from birthmark.cli.line_events import CONFIG, print_event, print_json
from birthmark.cli.line_outbox import outbox
from birthmark.cli.line_plan import plan
from birthmark.cli.line_reconcile import reconcile
from birthmark.cli.line_run import call, run
from birthmark.cli.line_unit import unit
from birthmark.cli.line_yields import yields


@click.group()
def line() -> None:
    """Personalise boards at the SMT line."""


line.add_command(run)
line.add_command(call)
line.add_command(plan)
line.add_command(unit)
line.add_command(credential)
line.add_command(outbox)
line.add_command(yields)
line.add_command(reconcile)


@line.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Every event as one JSON line.")
def deliver(config: Path, *, as_json: bool) -> None:
    """Deliver what waits in the rig's outbox to the CA and the MES, and what is parked."""
    from birthmark.line.wiring import deliver as drain

    waiting = drain(config, print_json if as_json else print_event)
    click.echo(json.dumps({"event": "deliver.end", "outbox": waiting}) if as_json else f"{waiting} records still wait")


@line.command()
@click.option(
    "--mes", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rigs' mes_file (JSON lines)."
)
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65_535), help="0: any free port.")
def births(mes: Path, port: int) -> None:
    """Show what the MES received as a page for this machine's browser, and print its address. Ctrl-C ends it."""
    from birthmark.web.births import serve_births

    serve_births(mes, port, click.echo)


@line.command()
@CONFIG
@click.option("--port", default=0, show_default=True, type=click.IntRange(0, 65_535), help="0: any free port.")
def serve(config: Path, port: int) -> None:
    """Run the rig's station and its screen, for this machine's browser. SIGTERM ends it after the running panel."""
    from birthmark.web.station.serving import serve_station

    serve_station(config, port)


@line.command()
def pin() -> None:
    """Read a lead's PIN (twice from a terminal; else one line) and print its hash for rig.toml."""
    from birthmark.line.people import hash_pin

    if sys.stdin.isatty():
        given = click.prompt("PIN", hide_input=True, confirmation_prompt=True, err=True)
    else:
        given = sys.stdin.readline().removesuffix("\n")
    click.echo(str(hash_pin(given)))
