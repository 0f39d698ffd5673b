# SPDX-License-Identifier: Apache-2.0
"""`birthmark line unit`: how a unit stands at the rigs, and what a lead decides about it."""

import json
from pathlib import Path

import click

from birthmark.cli.values import UNIT
from birthmark.core.work import NEVER, UnitWork

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The rig's rig.toml."
)
_UNIT = click.argument("unit_serial", metavar="UNIT", type=UNIT)
_BY = click.option("--by", required=True, metavar="NAME", help="Who decides.")
_REASON = click.option("--reason", required=True, metavar="TEXT", help="Why.")
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def unit() -> None:
    """Look at a unit's record at the rigs, and decide about it."""


@unit.command()
@_UNIT
@_CONFIG
@_AS_JSON
def show(unit_serial: str, config: Path, *, as_json: bool) -> None:
    """Print how a UNIT stands, and how it came to that."""
    from birthmark.line.wiring import open_units

    with open_units(config) as office:
        work, changes = office.show(unit_serial), office.history(unit_serial)
    if as_json:
        click.echo(json.dumps({**_members(work), "history": [_members(change.work) for change in changes]}))
        return
    if changes:
        click.echo("\n".join([_block(work), *(_line(change.work) for change in changes)]))
    else:
        click.echo(f"{work.unit}  {work.state.value}\n  no rig has had it in work")


@unit.command()
@_UNIT
@_CONFIG
@_BY
@_REASON
@_AS_JSON
def override(unit_serial: str, config: Path, by: str, reason: str, *, as_json: bool) -> None:
    """Let a UNIT out of quarantine."""
    from birthmark.line.wiring import open_units

    with open_units(config) as office:
        _tell(office.override(unit_serial, by, reason), as_json=as_json)


@unit.command()
@_UNIT
@_CONFIG
@_BY
@_REASON
@_AS_JSON
def rework(unit_serial: str, config: Path, by: str, reason: str, *, as_json: bool) -> None:
    """Let a UNIT that did not pass begin anew: its counts go to zero."""
    from birthmark.line.wiring import open_units

    with open_units(config) as office:
        _tell(office.rework(unit_serial, by, reason), as_json=as_json)


def _tell(work: UnitWork, *, as_json: bool) -> None:
    click.echo(json.dumps(_members(work)) if as_json else _block(work))


def _members(work: UnitWork) -> dict[str, object]:
    return {
        "unit": work.unit,
        "state": work.state.value,
        "rig": work.holder.rig,
        "run": work.holder.run,
        "changed_at": None if work.changed_at == NEVER else work.changed_at.isoformat(timespec="milliseconds"),
        "finding": work.finding,
        "chip_serial": work.chip_serial,
        "key_sha256": work.key_sha256,
        "failures": work.failures,
        "faults": work.faults,
        "interruptions": work.interruptions,
        "reworks": work.reworks,
        "by": work.by,
        "reason": work.reason,
    }


def _block(work: UnitWork) -> str:
    told = {name: value for name, value in _members(work).items() if name not in {"unit", "state"}}
    lines = (f"  {name:<14}{value}" for name, value in told.items() if value)
    return "\n".join((f"{work.unit}  {work.state.value}", *lines))


def _line(work: UnitWork) -> str:
    why = f"  {work.finding}" if work.finding else f"  {work.by}: {work.reason}" if work.by else ""
    at = work.changed_at.isoformat(timespec="seconds")
    return f"{at}  {work.state.value:<11}  {work.holder.rig:<8}{why}"
