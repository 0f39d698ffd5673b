# SPDX-License-Identifier: Apache-2.0
"""`birthmark device`: what a board does with its own chip."""

import base64
import json
from pathlib import Path
from typing import Any

import click

from birthmark.cli.values import JSON_OBJECT, NONCE, OUTPUT, UNIT

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The agent's device.toml."
)


@click.group()
def device() -> None:
    """Act as a device: connect, publish, rotate, make a certificate request."""


@device.command()
@CONFIG
@click.option("--telemetry", type=JSON_OBJECT, default="{}", help="A JSON object to publish once connected.")
def connect(config: Path, telemetry: dict[str, Any]) -> None:
    """Connect to the cloud with the chip's key, publish once and take a command if one waits."""
    from birthmark.device.wiring import open_agent

    with open_agent(config) as agent:
        rights = agent.connect()
        agent.publish(telemetry)
        taken = agent.take_command()
    click.echo(json.dumps({"rights": list(rights), "command": taken.name if taken else None}))


@device.command()
@CONFIG
def rotate(config: Path) -> None:
    """Make a new key in the other slot, have it certified, prove it, and only then switch to it."""
    from birthmark.device.wiring import open_agent

    with open_agent(config) as agent:
        report = agent.rotate()
    click.echo(
        json.dumps(
            {
                "old": report.old_fingerprint,
                "new": report.new_fingerprint,
                "in_use": report.in_use,
                "bytes_up": report.bytes_up,
                "bytes_down": report.bytes_down,
            }
        )
    )


@device.command()
@CONFIG
def status(config: Path) -> None:
    """Print what the chip holds: its slots, and the identity in use. Asks nobody else."""
    from birthmark.device.wiring import open_agent

    with open_agent(config) as agent:
        click.echo(json.dumps(agent.status()))


@device.command()
@CONFIG
def certificate(config: Path) -> None:
    """Print the certificate in use, as PEM."""
    from birthmark.device.wiring import open_agent

    with open_agent(config) as agent:
        click.echo(agent.certificate_pem(), nl=False)


@device.command()
@click.option("--chip", required=True, metavar="ADDRESS", help="The chip, for example apdu:unix=/run/board-1.sock.")
@click.option("--unit", type=UNIT, required=True, metavar="SERIAL", help="The unit serial on the label.")
@click.option(
    "--nonce", type=NONCE, metavar="BASE64URL", help="The CA's nonce; without it the request carries no evidence."
)
@click.option(
    "--key-type",
    type=click.Choice(["P-256", "P-384", "Ed25519", "ML-DSA-44", "ML-DSA-65", "ML-DSA-87"]),
    default="P-256",
    show_default=True,
    help="The key to make in a chip that has none: what the CA's csrattrs ask for.",
)
@click.option("--out", type=OUTPUT, required=True, metavar="FILE", help="Where the request goes.")
def csr(chip: str, unit: str, nonce: bytes | None, key_type: str, out: Path) -> None:
    """Write a base64 PKCS#10 request, signed by the chip with its evidence inside, ready to be posted to EST."""
    from birthmark.core.files import write_whole
    from birthmark.device.service import make_bare_csr, make_csr
    from birthmark.silicon.address import open_chip
    from birthmark.silicon.port import SLOT_IDENTITY, Algorithm, SlotState

    element = open_chip(chip)
    try:
        if element.state(SLOT_IDENTITY) is SlotState.EMPTY:
            element.generate_keypair(SLOT_IDENTITY, Algorithm(key_type))
        if nonce is None:
            der = make_bare_csr(element, SLOT_IDENTITY, unit)
        else:
            der = make_csr(element, SLOT_IDENTITY, unit, nonce)
    finally:
        element.close()
    write_whole(out, base64.b64encode(der))
    click.echo(f"{out}: {len(der)} bytes of PKCS#10 for {unit}")
