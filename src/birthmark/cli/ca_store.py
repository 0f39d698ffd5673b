# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca store`: the database that the ledger is kept in."""

import json
from pathlib import Path

import click

CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml."
)


@click.group()
def store() -> None:
    """Keep the ledger's database: schema, copies, restoring."""


@store.command()
@CONFIG
def migrate(config: Path) -> None:
    """Bring a PostgreSQL database's schema up to date."""
    from birthmark.ca.wiring import migrate as run

    for step in run(config):
        click.echo(step)


@store.command(short_help="Say where the ledger is, and how long its log is.")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(config: Path, *, as_json: bool) -> None:
    """Say where the ledger is, whether its schema is this program's, and how long its log is."""
    from birthmark.ca.upkeep.wiring import status as look

    found = look(config)
    signed_for = None if found.checkpoint is None else int(found.checkpoint.split("\n")[1])
    said = {
        "kind": found.store.kind,
        "schema": found.store.version,
        "schema_wanted": found.store.wanted,
        "bytes": found.store.size_bytes,
        "entries": found.entries,
        "checkpoint_entries": signed_for,
    }
    click.echo(json.dumps(said) if as_json else "\n".join(f"{name}: {value}" for name, value in said.items()))


@store.command(short_help="Write a copy of the ledger to the new FILE.")
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
def backup(config: Path, file: Path) -> None:
    """
    Write a copy of the ledger to the new FILE; the CA may go on working.

    The copy is one consistent state. It holds no key. It holds the names of operators: keep it accordingly.
    """
    from birthmark.ca.upkeep.wiring import backup as write

    write(config, file)
    click.echo(f"backup {file}")


@store.command()
@CONFIG
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Hold every entry of the log to its signed checkpoint.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A checkpoint that was kept elsewhere: refuse an older or another ledger. Implies --verify.",
)
def restore(config: Path, file: Path, checkpoint: Path | None, *, verify: bool) -> None:
    """
    Make the ledger of the copy in FILE, where no ledger is yet.

    What does not verify is taken away again.
    """
    from birthmark.ca.upkeep import wiring

    if not verify and checkpoint is None:
        wiring.restore(config, file)
        click.echo(f"restored {file}, not verified")
        return
    found = wiring.restore_verified(config, file, checkpoint)
    click.echo(f"restored {file}: {found.entries} entries, {found.signed_for} of them signed for")
