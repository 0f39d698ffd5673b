# SPDX-License-Identifier: Apache-2.0
"""`birthmark line credential`: the rig's own key and certificate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from birthmark.line.credential import RigCredential

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rig's rig.toml."
)
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def credential() -> None:
    """Get this rig's certificate from the CA, and renew it."""


@credential.command()
@_CONFIG
@click.option(
    "--ticket-file",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The ticket of two persons (birthmark ca credential ticket), mode 0600.",
)
@_AS_JSON
def enrol(config: Path, ticket_file: Path, *, as_json: bool) -> None:
    """
    Make this rig's key and get its certificate for a ticket.

    The key stays here, in the file that rig.toml names. After a crash, give the same command again. A rig that has its
    certificate does nothing.
    """
    from birthmark.core.clock import system_clock
    from birthmark.core.secret_files import read_secret
    from birthmark.line.config import load_rig
    from birthmark.line.credential import enrol

    ticket = read_secret(ticket_file).decode("ascii", "replace")
    _tell(enrol(load_rig(config), ticket, system_clock()), as_json=as_json)


@credential.command()
@_CONFIG
@click.option("--now", is_flag=True, help="Also when two thirds of its life are not over.")
@_AS_JSON
def renew(config: Path, *, now: bool, as_json: bool) -> None:
    """
    Get the next certificate, for a new key, with the present one.

    Does nothing before two thirds of the certificate's life are over: give it every day, by a timer. A station that
    runs takes the new one when it is started again.
    """
    from birthmark.core.clock import system_clock
    from birthmark.line.config import load_rig
    from birthmark.line.credential import put_in_place, renew, show

    rig, at = load_rig(config), system_clock()
    put_in_place(rig)
    due = now or at >= show(rig).renew_at
    _tell(renew(rig, at) if due else show(rig), as_json=as_json)


@credential.command()
@_CONFIG
@_AS_JSON
def show(config: Path, *, as_json: bool) -> None:
    """Print what this rig has."""
    from birthmark.line.config import load_rig
    from birthmark.line.credential import show

    _tell(show(load_rig(config)), as_json=as_json)


def _tell(has: "RigCredential", *, as_json: bool) -> None:
    told = {
        "subject": has.certificate.subject.rfc4514_string(),
        "until": has.certificate.not_valid_after_utc.isoformat(timespec="seconds"),
        "renew_at": has.renew_at.isoformat(timespec="seconds"),
        "orders": None if has.orders is None else sorted(has.orders),
        "key_sha256": has.key_sha256,
    }
    if as_json:
        click.echo(json.dumps(told))
        return
    orders = "all that name it" if has.orders is None else ", ".join(sorted(has.orders))
    click.echo("\n".join(f"{name:<12}{value}" for name, value in {**told, "orders": orders}.items()))
