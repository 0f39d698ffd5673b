# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca`: run the issuing CA and administer it on its own machine."""

import json
from pathlib import Path

import click

from birthmark.cli.blocks import certificate_block, decision_block
from birthmark.cli.ca_ceremony import ceremony
from birthmark.cli.ca_client import client
from birthmark.cli.ca_credential import credential
from birthmark.cli.ca_doctor import doctor
from birthmark.cli.ca_hsm import hsm
from birthmark.cli.ca_ledger import ledger
from birthmark.cli.ca_order import order
from birthmark.cli.ca_policy import policy
from birthmark.cli.ca_proposal import proposal
from birthmark.cli.ca_revoke import revoke
from birthmark.cli.ca_root import root
from birthmark.cli.ca_store import store
from birthmark.cli.ca_unit import unit

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml."
)


@click.group()
def ca() -> None:
    """Run and administer the issuing CA."""


ca.add_command(policy)

ca.add_command(ceremony)

ca.add_command(doctor)

ca.add_command(hsm)

ca.add_command(store)
ca.add_command(ledger)

ca.add_command(order)
ca.add_command(proposal)
ca.add_command(unit)
ca.add_command(client)
ca.add_command(credential)
ca.add_command(revoke)
ca.add_command(root)


@ca.command()
@CONFIG
def serve(config: Path) -> None:
    """Serve EST over mutual TLS until SIGTERM."""
    from birthmark.ca.wiring import serve as run

    run(config)


@ca.command()
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def audit(config: Path, *, as_json: bool) -> None:
    """Print every decision that the CA has taken."""
    from birthmark.ca.wiring import open_ca

    with open_ca(config) as authority:
        for row in authority.audit():
            click.echo(json.dumps(row) if as_json else decision_block(row))


@ca.command(short_help="Print every certificate that was issued.")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def certificates(config: Path, *, as_json: bool) -> None:
    """Print every certificate that was issued, with its unit, chip and state."""
    from birthmark.ca.wiring import open_ca

    with open_ca(config) as authority:
        for row in authority.certificates():
            click.echo(json.dumps(row) if as_json else certificate_block(row))
