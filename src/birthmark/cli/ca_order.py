# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca order`: production orders, which one person signs and another one approves."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import (
    AS_JSON,
    REASON,
    credential,
    office,
    signing,
    table,
    with_credential,
    with_office,
)
from birthmark.cli.ca_proposal import approve, propose, reject
from birthmark.cli.values import OUTPUT

if TYPE_CHECKING:
    from birthmark.ca.admin.types import OrderEntryView


_HELP = """Sign, propose, approve and look at production orders.

\b
Each command wants to know who you are, and which CA you mean (sign: without --url and --trust):
  --url https://ca:8443 --trust trust.pem --authority example.com/device-ca
  --certificate olga.pem --key olga.key
A new order:
  birthmark ca order sign order.toml --reason "batch 7" -o order.jws ...
  birthmark ca order propose order.jws ...
  birthmark ca order approve PROPOSAL --reason "as planned" ...   (another person)
  birthmark ca order show order-7 ...
"""


@click.group(help=_HELP)
def order() -> None:
    """Sign, propose, approve and look at production orders."""


for _command in (propose, approve, reject):
    order.add_command(_command)


@order.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--act",
    type=click.Choice(["create", "extend", "override"]),
    default="create",
    show_default=True,
    help="extend: more units, a wider range, a longer window. override: any other change.",
)
@click.option("--authority", required=True, metavar="NAME", help="The CA that it is for: the name of its log.")
@click.option("--replaces", default="", metavar="SHA256", help="The document the order stands on now (order show).")
@REASON
@click.option("-o", "--output", type=OUTPUT, required=True, help="Where the signed proposal goes.")
@with_credential
def sign(file: Path, act: str, authority: str, replaces: str, reason: str, output: Path, **where: Any) -> None:
    """Sign the order in the TOML file FILE. Needs no connection."""
    from msgspec.structs import replace

    from birthmark.ca.orders.documents import read_order
    from birthmark.core.files import write_whole

    order_id, terms = read_order(file)
    with credential(where) as lent:
        whole = replace(terms, replaces=replaces)
        token = lent.sign_proposal(authority, f"order.{act}", order_id, whole, reason)
    write_whole(output, token.encode() + b"\n")
    click.echo(f"{output}: order.{act} {order_id}, for {authority}")


@order.command("list")
@AS_JSON
@with_office
def list_orders(*, as_json: bool, **where: Any) -> None:
    """Print every order."""
    import msgspec

    with office(where) as connected:
        found = connected.orders().orders
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    rows = [
        (each.id, each.state, each.quantity, each.product, f"{each.first_unit} to {each.last_unit}") for each in found
    ]
    click.echo(table(("order", "state", "units", "product", "range"), rows))


@order.command()
@click.argument("order_id", metavar="ORDER")
@AS_JSON
@with_office
def show(order_id: str, *, as_json: bool, **where: Any) -> None:
    """Print an ORDER and what became of its places."""
    import msgspec

    with office(where) as connected:
        entry = connected.order(order_id)
    click.echo(msgspec.json.encode(entry).decode() if as_json else entry_text(entry))


@order.command()
@click.argument("order_id", metavar="ORDER")
@REASON
@with_office
def close(order_id: str, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to close an ORDER."""
    from birthmark.ca.orders.acts import CLOSE, CloseTerms

    with signing(where) as connected:
        terms = CloseTerms(replaces=connected.order(order_id).order.document)
        proposed = connected.propose_act(CLOSE, order_id, terms, reason)
    click.echo(f"{proposed.id}  {proposed.act} {proposed.subject}: {proposed.state}")


def entry_text(entry: "OrderEntryView") -> str:
    """Return an order and its account as two tables."""
    import msgspec

    parts = (
        [(name, _plain(value)) for name, value in msgspec.structs.asdict(part).items()]
        for part in (entry.order, entry.account)
    )
    return "\n\n".join(table(("account" if "taken" in dict(rows) else "order", ""), rows) for rows in parts)


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
