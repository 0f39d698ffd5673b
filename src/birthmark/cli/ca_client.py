# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca client`: who may not come to the CA any more, which takes two persons to say and to take back."""

from pathlib import Path
from typing import Any

import click

from birthmark.cli.ca_office import AS_JSON, REASON, hand_in, office, table, with_office
from birthmark.cli.values import Value
from birthmark.core.clients import ClientKind, DeniedClient, read_client

CLIENT = Value("client", read_client)
_HELP = """Deny persons, rigs and services, and take it back: a lost card, a stolen rig.

\b
A CLIENT is one of
  key:SHA256   the key (SubjectPublicKeyInfo), whatever certificates it has
  rig:NAME     every rig of this name, whatever keys it has
  person:NAME  every officer or follower of this name, in every role
"""


@click.group(help=_HELP, short_help="Deny persons and rigs, and take it back.")
def client() -> None:
    """Deny persons, rigs and services, and take it back."""


@client.command(short_help="Propose that a CLIENT may not come any more.")
@click.argument("denied", metavar="[CLIENT]", type=CLIENT, required=False)
@click.option(
    "--of", "lost", type=click.Path(path_type=Path), metavar="FILE", help="Deny the key of this certificate (PEM)."
)
@REASON
@with_office
def deny(denied: DeniedClient | None, lost: Path | None, reason: str, **where: Any) -> None:
    """
    Sign and hand in the proposal that a CLIENT, or the key of a certificate, may not come any more.

    Once another person has approved it, every worker turns the client away within a second, and orders that they have
    signed issue nothing until two others override them.
    """
    from birthmark.ca.people.denials import DENY, DenyTerms

    if (denied is None) == (lost is None):
        raise click.UsageError("name a CLIENT, or --of a certificate")
    named = denied or _key_of(lost or Path())
    hand_in(DENY, str(named), DenyTerms(), reason, where)


@client.command(short_help="Propose that a denied CLIENT may come again.")
@click.argument("denied", metavar="CLIENT", type=CLIENT)
@click.option("--since", required=True, help="Since when they are denied, as `client list` says it.")
@REASON
@with_office
def allow(denied: DeniedClient, since: str, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal that a denied CLIENT may come again."""
    from birthmark.ca.people.denials import ALLOW, AllowTerms

    hand_in(ALLOW, str(denied), AllowTerms(since=since), reason, where)


@client.command("list")
@AS_JSON
@with_office
def list_denied(*, as_json: bool, **where: Any) -> None:
    """Print who is denied. The keys in ca.toml (`denied_clients`) are not among them."""
    import msgspec

    with office(where) as connected:
        found = connected.denied_clients().clients
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    click.echo(table(("client", "since", "reason"), [(each.client, each.since, each.reason) for each in found]))


def _key_of(path: Path) -> DeniedClient:
    from birthmark.core.config import read_file
    from birthmark.pki.paths import key_digest, read_certificates

    return DeniedClient(ClientKind.KEY, key_digest(read_certificates(read_file(path), str(path))[0]))
