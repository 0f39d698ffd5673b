# SPDX-License-Identifier: Apache-2.0
"""How `birthmark line` prints what a run says: lines for people, or one JSON object in each line."""

import json
import sys
from pathlib import Path

import click

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rig's rig.toml."
)


def print_json(event: dict[str, object]) -> None:
    """Print an event as one line, at once."""
    click.echo(json.dumps(event))
    sys.stdout.flush()


def print_event(event: dict[str, object]) -> None:
    """Print an event for people, if it is one for them."""
    match event["event"]:
        case "verdict":
            why = f"  {event['finding']}: {event['reason']}" if event["finding"] else ""
            click.echo(f"{event['position']:>3}  {event['unit']}  {event['verdict']}  {event['board_s']:.3f} s{why}")
        case "hold":
            click.echo(f"HOLD  {event['what']}; {event['hint']}", err=True)
        case "resume":
            click.echo(f"GOES ON  {event['finding']} is over", err=True)
        case "mes.behind":
            click.echo(f"MES HOLD  {event['what']}; {event['hint']}", err=True)
        case "interlock.assumed":
            click.echo(f"NOT CLEARED  nobody cleared this panel, and it is worked on: {event['what']}", err=True)
        case "alarm":
            click.echo(f"ALARM  {event['what']}: {event['reason']}; {event['hint']}", err=True)
        case "panel.end":
            click.echo(f"panel: {event['passed']} passed, {event['failed']} failed, {event['panel_s']:.3f} s")
        case _:
            pass
