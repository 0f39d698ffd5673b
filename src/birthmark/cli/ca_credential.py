# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca credential`: certificates of people, rigs and servers, by the operations CA."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from birthmark.cli.ca_office import REASON, hand_in, with_office
from birthmark.cli.values import OUTPUT

if TYPE_CHECKING:
    from birthmark.ca.operations.issuing import Credential, CredentialDesk

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)
_ROLES = ("security-officer", "approver", "auditor", "line-lead")
_HELP = """Certify people, rigs and servers, by the operations CA.

\b
Whoever needs a certificate makes a key and a request, on their own machine:
  birthmark ca credential keygen olga.key --request olga.csr --name "Olga Officer"
Whoever has the operations CA certifies the request:
  birthmark ca credential officer olga.csr --role security-officer --name "Olga Officer" \\
    --policy people --operations operations.toml -o olga.pem
Before it ends, for a new key:
  birthmark ca credential renew next.csr --old olga.pem --policy people --operations operations.toml -o olga-2.pem
"""
_ISSUING = (
    click.argument("request", type=_FILE),
    click.option(
        "--operations", type=_FILE, required=True, metavar="FILE", help="operations.toml: the key and its policies."
    ),
    click.option("--policy", required=True, help="By which policy of operations.toml."),
    click.option("--days", type=click.IntRange(min=1), help="Fewer days than the policy says."),
    click.option("-o", "--output", type=OUTPUT, required=True, help="Where certificate and operations CA go (PEM)."),
    click.option("--json", "as_json", is_flag=True, help="Print the log entry, as JSON."),
)


@click.group(help=_HELP, short_help="Certify people, rigs and servers.")
def credential() -> None:
    """Certify people, rigs and servers."""


def _issuing(command: _Command) -> _Command:
    for option in reversed(_ISSUING):
        command = option(command)
    return command


@credential.command(short_help="Certify the key of a person.")
@_issuing
@click.option("--role", type=click.Choice(_ROLES), required=True, help="What they may do at the CA.")
@click.option("--name", required=True, help="The person's name, as others know it.")
def officer(role: str, name: str, **how: Any) -> None:
    """Certify the key in the REQUEST (PKCS#10) as that of a person who works on the CA."""
    _issue(role, [name], how)


@credential.command(short_help="Certify the key of a rig.")
@_issuing
@click.option("--name", required=True, help="As orders name the rig.")
def rig(name: str, **how: Any) -> None:
    """
    Certify the key in the REQUEST (PKCS#10) as that of a rig.

    A rig may enrol under the orders that name it, and nothing else: they are printed where the ledger is at hand.
    """
    _issue("rig", [name], how)


@credential.command(short_help="Certify the key of a server.")
@_issuing
@click.option("--host", "hosts", multiple=True, required=True, help="DNS name or IP address; several times, if so.")
def server(hosts: tuple[str, ...], **how: Any) -> None:
    """Certify the key in the REQUEST (PKCS#10) as that of a TLS server: the CA's own, the cloud's."""
    _issue("server", hosts, how)


@credential.command(short_help="Certify the key of a service that follows.")
@_issuing
@click.option("--name", required=True, help="The service's name.")
def follower(name: str, **how: Any) -> None:
    """Certify the key in the REQUEST (PKCS#10) as that of a service that reads the feed of revocations."""
    _issue("follower", [name], how)


@credential.command(short_help="Certify another key of the same holder.")
@_issuing
@click.option("--old", type=_FILE, required=True, metavar="FILE", help="The certificate that is renewed (PEM).")
def renew(old: Path, **how: Any) -> None:
    """Certify the new key in the REQUEST (PKCS#10) for whom the old certificate is."""
    from birthmark.core.config import read_file
    from birthmark.pki.paths import read_certificates

    known = read_certificates(read_file(old), str(old))[0]
    _by(how, lambda desk, request: desk.renew(known, request, how["policy"], how["days"]))


@credential.command(short_help="Propose that a rig may enrol itself.")
@click.argument("rig_name", metavar="RIG")
@click.option("--order", "orders", multiple=True, help="Limit it to this order; several times, if so.")
@click.option("--days", type=click.IntRange(1, 30), default=7, show_default=True, help="How long the ticket is good.")
@click.option("-o", "--output", type=OUTPUT, required=True, help="Where the ticket goes (mode 0600).")
@REASON
@with_office
def ticket(rig_name: str, orders: tuple[str, ...], days: int, output: Path, reason: str, **where: Any) -> None:
    """
    Make a ticket for the RIG of this name, and sign and hand in the proposal of it.

    Once another person has approved it, the rig gets its first certificate with the ticket, once: `birthmark line
    credential enrol`. The CA sees the ticket then and not before; whoever has it can use it, so hand it on as a secret.
    """
    from datetime import timedelta

    from birthmark.ca.rigs.tickets import TICKET, TicketTerms
    from birthmark.core.clock import system_clock
    from birthmark.core.files import PRIVATE_MODE, write_whole
    from birthmark.core.tickets import new_ticket, ticket_digest

    text = new_ticket()
    until = (system_clock() + timedelta(days=days)).replace(microsecond=0)
    terms = TicketTerms(ticket=ticket_digest(text), not_after=until, orders=tuple(dict.fromkeys(orders)))
    write_whole(output, f"{text}\n".encode(), PRIVATE_MODE)
    hand_in(TICKET, rig_name, terms, reason, where)
    click.echo(f"{output}: for whoever sets up {rig_name}; good until {until.isoformat()}")


@credential.command(short_help="Make a key and a request.")
@click.argument("key", type=OUTPUT)
@click.option("--request", type=OUTPUT, required=True, metavar="FILE", help="Where the request goes (PKCS#10, PEM).")
@click.option("--name", required=True, help="Yours, the rig's, or the server's first host.")
@click.option("--passphrase-file", type=_FILE, metavar="FILE", help="With the passphrase; otherwise you are asked.")
@click.option("--unsafe-plain", is_flag=True, help="No passphrase: for a rig or server, whose program starts alone.")
def keygen(key: Path, request: Path, name: str, passphrase_file: Path | None, *, unsafe_plain: bool) -> None:
    """
    Make your KEY, encrypted, and a request for its certificate.

    The key stays in its file, on this machine; only the request is for others. Nothing is overwritten.
    """
    from birthmark.ca.operations.keygen import make_key

    if unsafe_plain and passphrase_file is not None:
        raise click.UsageError("either --passphrase-file or --unsafe-plain")
    make_key(key, request, name, None if unsafe_plain else _passphrase(key, passphrase_file))
    click.echo(f"{key}: stays here\n{request}: for whoever has the operations CA")


def _passphrase(key: Path, file: Path | None) -> bytes:
    from birthmark.core.secret_files import read_secret

    if file is not None:
        return read_secret(file)
    secret: str = click.prompt(f"passphrase for {key}", hide_input=True, confirmation_prompt=True, err=True)
    return secret.encode()


def _issue(holder: str, names: "list[str] | tuple[str, ...]", how: dict[str, Any]) -> None:
    from birthmark.ca.operations.file import Holder
    from birthmark.ca.operations.requests import Wanted

    wanted = Wanted(Holder(holder), tuple(dict.fromkeys(names)))
    _by(how, lambda desk, request: desk.issue(wanted, request, how["policy"], how["days"]))


def _by(how: dict[str, Any], issue: "Callable[[CredentialDesk, bytes], Credential]") -> None:
    from cryptography.hazmat.primitives.serialization import Encoding

    from birthmark.ca.operations.wiring import open_operations
    from birthmark.core.audit import encode_row
    from birthmark.core.config import read_file
    from birthmark.core.files import write_whole

    with open_operations(how["operations"]) as desk:
        made = issue(desk, read_file(how["request"]))
        chain = (made.certificate, desk.authority.certificate)
    write_whole(how["output"], b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    if how["as_json"]:
        click.echo(json.dumps(json.loads(encode_row(made.row))))
        return
    click.echo(f"{made.row.act}: {made.row.detail}")
    click.echo(f"certificate  {made.row.about}")
    for order in made.orders:
        click.echo(f"order        {order}")
    if desk.store is None:
        click.echo("log          operations.toml names no ledger: keep these lines", err=True)
