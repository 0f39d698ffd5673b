# SPDX-License-Identifier: Apache-2.0
"""`birthmark cloud`: run the verification and onboarding service and look into it."""

import json
from pathlib import Path
from typing import Any

import click

from birthmark.cli.values import COMMAND_NAME, JSON_OBJECT, UNIT

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's cloud.toml."
)


@click.group()
def cloud() -> None:
    """Run the cloud side: verification, onboarding, telemetry and commands."""


@cloud.command()
@CONFIG
def serve(config: Path) -> None:
    """Serve devices over mutual TLS until SIGTERM."""
    from birthmark.cloud.wiring import serve as run

    run(config)


@cloud.command()
@CONFIG
@click.argument("unit", type=UNIT)
@click.argument("name", type=COMMAND_NAME)
@click.argument("payload", type=JSON_OBJECT, default="{}")
def command(config: Path, unit: str, name: str, payload: dict[str, Any]) -> None:
    """Queue the command NAME with a JSON PAYLOAD for the device UNIT."""
    from birthmark.cloud.wiring import open_cloud

    with open_cloud(config) as service:
        service.add_command(unit, name, payload)
    click.echo(f"queued {name} for {unit}")


@cloud.command()
@CONFIG
def devices(config: Path) -> None:
    """Print the devices that have been onboarded, one JSON object per line."""
    from birthmark.cloud.wiring import open_cloud

    with open_cloud(config) as service:
        for row in service.devices():
            click.echo(json.dumps(row))
