# SPDX-License-Identifier: Apache-2.0
"""`birthmark line outbox`: what a rig has still to tell, to whom, and what was refused."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from birthmark.cli.values import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from birthmark.core.delivery import Aside, Backlog, Parcel

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rig's rig.toml."
)
_DESTINATION = click.argument("destination", metavar="DESTINATION")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def outbox() -> None:
    """Look at a rig's outbox, and decide about what is in it."""


@outbox.command("list")
@_CONFIG
@_AS_JSON
def list_command(config: Path, *, as_json: bool) -> None:
    """Print how every destination stands, and what is parked."""
    from birthmark.line.wiring import opened_outbox

    with opened_outbox(config) as office:
        standings, parked = office.standings(), office.parked()
    if as_json:
        members = {"destinations": [asdict(each) for each in standings], "parked": [_aside(each) for each in parked]}
        click.echo(json.dumps(members))
        return
    _print_standings(standings)
    if parked:
        _print_parked(parked)


@outbox.command()
@click.argument("sequence", type=click.IntRange(min=1), metavar="NUMBER")
@_CONFIG
@_AS_JSON
def show(sequence: int, config: Path, *, as_json: bool) -> None:
    """Print the event with this NUMBER, and how it stands at each destination."""
    from birthmark.line.wiring import opened_outbox

    with opened_outbox(config) as office:
        parcel, states = office.show(sequence)
    if as_json:
        click.echo(json.dumps({"event": _readable(parcel), "destinations": dict(states)}))
        return
    click.echo(json.dumps(_readable(parcel), indent=2))
    for destination, state in states:
        click.echo(f"{destination:<14}{shown(state)}")


@outbox.command()
@_DESTINATION
@click.argument("sequence", type=click.IntRange(min=1), metavar="[NUMBER]", required=False)
@_CONFIG
@_AS_JSON
def retry(destination: str, sequence: int | None, config: Path, *, as_json: bool) -> None:
    """Let what is parked for a DESTINATION, or event NUMBER alone, be offered again by the rig or `line deliver`."""
    from birthmark.line.wiring import opened_outbox

    with opened_outbox(config) as office:
        count = office.retry(destination, sequence)
    click.echo(json.dumps({"retried": count}) if as_json else f"{count} will be offered to {destination} again")


@outbox.command()
@_DESTINATION
@click.argument("sequence", type=click.IntRange(min=1), metavar="NUMBER")
@_CONFIG
@click.option("--by", required=True, metavar="NAME", help="Who decides.")
@click.option("--reason", required=True, metavar="TEXT", help="Why.")
def park(destination: str, sequence: int, config: Path, by: str, reason: str) -> None:
    """Put event NUMBER aside, which waits for a DESTINATION, so that what is behind it goes."""
    from birthmark.line.wiring import opened_outbox

    with opened_outbox(config) as office:
        office.park(destination, sequence, by, reason)
    click.echo(f"event {sequence} is parked for {destination}")


@outbox.command()
@_DESTINATION
@_CONFIG
def forget(destination: str, config: Path) -> None:
    """Give up a DESTINATION that rig.toml names no more, with all that waits for it or is parked."""
    from birthmark.line.wiring import opened_outbox

    with opened_outbox(config) as office:
        office.forget(destination)
    click.echo(f"{destination} is forgotten")


def _aside(aside: "Aside") -> dict[str, object]:
    parcel = aside.parcel
    return {
        "destination": parcel.destination,
        "sequence": parcel.sequence,
        "idempotency_key": parcel.key,
        "unit": parcel.unit,
        "attempts": parcel.attempts,
        "reason": aside.reason,
        "at": aside.at,
    }


def _readable(parcel: "Parcel") -> object:
    """Return the event's JSON; its text where the copy on the disk is damaged."""
    text = parcel.body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return {"damaged": text}


def _print_standings(standings: "Sequence[Backlog]") -> None:
    rows = []
    for each in standings:
        said = each.reason if each.configured else "not in rig.toml any more"
        until = f" (not before {each.pause_until[:19]})" if each.pause_until else ""
        counts = (str(each.waiting), each.oldest_at[:19], str(each.parked), str(each.attempts))
        rows.append((each.destination, *counts, shown(said) + until))
    _print_table(("destination", "waiting", "since", "parked", "tries", "said last"), rows)


def _print_parked(parked: "Sequence[Aside]") -> None:
    rows = []
    for each in parked:
        parcel = each.parcel
        cells = (parcel.unit, each.at[:19], str(parcel.attempts), shown(each.reason))
        rows.append((str(parcel.sequence), parcel.destination, *cells))
    click.echo("\nparked")
    _print_table(("event", "destination", "unit", "since", "tries", "why"), rows)


def _print_table(titles: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> None:
    from birthmark.cli.tables import table_lines, terminal_width

    for line in table_lines(titles, rows, numbers=("waiting", "parked", "tries", "event"), width=terminal_width()):
        click.echo(line)
