# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca unit`: what is said of one unit."""

from typing import Any

import click

from birthmark.cli.ca_office import AS_JSON, REASON, office, with_office
from birthmark.cli.ca_order import entry_text
from birthmark.cli.values import UNIT

_ORDER = click.option("--order", "order_id", required=True, metavar="ORDER", help="In which the unit has its place.")


@click.group()
def unit() -> None:
    """Say what became of a unit."""


@unit.command()
@click.argument("unit_serial", metavar="UNIT", type=UNIT)
@_ORDER
@REASON
@AS_JSON
@with_office
def scrap(unit_serial: str, order_id: str, reason: str, *, as_json: bool, **where: Any) -> None:
    """Scrap a UNIT: its certificates are revoked, its chip is denied, its place stays taken."""
    import msgspec

    with office(where) as connected:
        entry = connected.scrap(order_id, unit_serial, reason)
    click.echo(msgspec.json.encode(entry).decode() if as_json else entry_text(entry))


@unit.command()
@click.argument("unit_serial", metavar="UNIT", type=UNIT)
@_ORDER
@REASON
@with_office
def rework(unit_serial: str, order_id: str, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to make a UNIT again, with another chip, in the place that it has."""
    from birthmark.ca.order_acts import REWORK, ReworkTerms

    with office(where) as connected:
        proposed = connected.propose_act(REWORK, unit_serial, ReworkTerms(order=order_id), reason)
    click.echo(f"{proposed.id}  {proposed.act} {proposed.subject}: {proposed.state}")
