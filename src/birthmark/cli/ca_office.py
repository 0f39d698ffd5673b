# SPDX-License-Identifier: Apache-2.0
"""What every command has that a person gives to a running CA: where it is, and with which key."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from msgspec import Struct

    from birthmark.ca.admin.credentials import Credential
    from birthmark.ca.admin.office import Office

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)
_CREDENTIAL = (
    click.option("--certificate", type=_FILE, required=True, metavar="FILE", help="Yours, with its chain (PEM)."),
    click.option(
        "--key", required=True, metavar="KEY", help="An encrypted key file, or pkcs11:token=T;object=L?module-path=M."
    ),
    click.option("--passphrase-file", type=_FILE, metavar="FILE", help="Passphrase or PIN; otherwise you are asked."),
)
_CONFIG = click.option("--config", type=_FILE, metavar="FILE", help="Do it here, beside the CA with this ca.toml.")
_REMOTE = (
    click.option("--url", help="Do it at a running CA: https://host[:port]."),
    click.option("--trust", type=_FILE, metavar="FILE", help="With --url: the trust anchors (PEM)."),
    click.option("--authority", metavar="NAME", help="With --url: the CA that it must be, the name of its log."),
    click.option("--certificate", type=_FILE, metavar="FILE", help="With --url: yours, with its chain (PEM)."),
    click.option("--key", metavar="KEY", help="With --url: an encrypted key file, or a pkcs11: URI."),
    click.option("--passphrase-file", type=_FILE, metavar="FILE", help="Passphrase or PIN; otherwise you are asked."),
)
_WANTED_WITH_URL = ("trust", "certificate", "key")
_SERVER = (
    click.option("--url", required=True, help="The CA: https://host[:port]."),
    click.option("--trust", type=_FILE, required=True, metavar="FILE", help="The trust anchors (PEM)."),
    click.option("--authority", metavar="NAME", help="The CA that it must be: the name of its log."),
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="JSON.")
REASON = click.option("--reason", required=True, help="Why; it is signed, and goes into the log.")


def with_credential(command: _Command) -> _Command:
    """Give a command the options of a person's key; they arrive as keyword arguments for `credential`."""
    return _optioned(command, _CREDENTIAL)


def with_office(command: _Command) -> _Command:
    """Give a command the options of a person at a running CA; they arrive as keyword arguments for `office`."""
    return _optioned(command, (*_SERVER, *_CREDENTIAL))


def with_ca(command: _Command) -> _Command:
    """Give a command the options of a CA that is here or elsewhere; they arrive as keyword arguments for `here`."""
    return _optioned(command, (_CONFIG, *_REMOTE))


def here(where: dict[str, Any]) -> Path | None:
    """Return the ca.toml of the CA that is here; None when `office(where)` is meant. Raises UsageError."""
    config: Path | None = where["config"]
    if (config is None) == (where["url"] is None):
        raise click.UsageError("either --config or --url")
    missing = [name for name in _WANTED_WITH_URL if where[name] is None]
    if config is None and missing:
        raise click.UsageError(f"--url wants --{missing[0]}")
    return config


@contextmanager
def credential(where: dict[str, Any]) -> Iterator["Credential"]:
    """Lend the person's key."""
    from birthmark.ca.admin.credentials import opened

    with opened(where["certificate"], where["key"], where["passphrase_file"], _ask) as lent:
        yield lent


@contextmanager
def office(where: dict[str, Any]) -> Iterator["Office"]:
    """Connect the person with the CA; where they have said which CA that must be, it is that one."""
    from birthmark.ca.admin.office import Office
    from birthmark.core.clock import system_clock
    from birthmark.core.config import read_file

    with credential(where) as lent:
        connected = Office(where["url"], read_file(where["trust"]), lent, system_clock, where["authority"])
        try:
            if where["authority"] is not None:
                connected.authority()
            yield connected
        finally:
            connected.close()


@contextmanager
def signing(where: dict[str, Any]) -> Iterator["Office"]:
    """Connect the person with the CA, to sign something for it: which CA that is, they have said or are asked."""
    with office(where) as connected:
        click.echo(f"authority    {connected.authority()}", err=True)
        if where["authority"] is None:
            click.confirm("Sign for this CA?", abort=True, err=True)
        yield connected


def hand_in(act: str, subject: str, terms: "Struct", reason: str, where: dict[str, Any]) -> None:
    """Sign a proposal, hand it in and print its id."""
    with signing(where) as connected:
        made = connected.propose_act(act, subject, terms, reason)
    click.echo(f"{made.id}  {made.act} {made.subject}: {made.state}")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return rows under their head, aligned."""
    lines = [tuple(map(str, row)) for row in (head, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)
    return "\n".join(padded)


def _optioned(command: _Command, options: Sequence[Callable[[_Command], _Command]]) -> _Command:
    return functools.reduce(lambda optioned, option: option(optioned), reversed(options), command)


def _ask(what: str) -> bytes:
    secret: str = click.prompt(what, hide_input=True, err=True)
    return secret.encode()
