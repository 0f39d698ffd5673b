# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca unit`: what is said of one unit."""

from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import AS_JSON, REASON, hand_in, here, office, with_ca, with_office
from birthmark.cli.ca_order import entry_text
from birthmark.cli.values import UNIT

if TYPE_CHECKING:
    from birthmark.ca.admin.ledger_types import UnitFileView

_WHY = click.option("--reason", required=True, help="Why; goes into the audit trail.")
_UNIT = click.argument("unit_serial", metavar="UNIT", type=UNIT)
_ORDER = click.option("--order", "order_id", required=True, metavar="ORDER", help="In which the unit has its place.")


@click.group()
def unit() -> None:
    """Look at a unit, and say what became of it."""


@unit.command(short_help="Scrap a UNIT; its place stays taken.")
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


@unit.command(short_help="Propose to make a UNIT again with another chip.")
@click.argument("unit_serial", metavar="UNIT", type=UNIT)
@_ORDER
@REASON
@with_office
def rework(unit_serial: str, order_id: str, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to make a UNIT again, with another chip, in the place that it has."""
    from birthmark.ca.orders.acts import REWORK, ReworkTerms

    hand_in(REWORK, unit_serial, ReworkTerms(order=order_id), reason, where)


@unit.command()
@_UNIT
@with_ca
@AS_JSON
def show(unit_serial: str, *, as_json: bool, **where: Any) -> None:
    """Print how a UNIT stands, and its certificates."""
    import json

    told = _told(_shown(unit_serial, where))
    click.echo(json.dumps(told) if as_json else _text(told))


def _shown(unit_serial: str, where: dict[str, Any]) -> "UnitFileView":
    from birthmark.ca.admin.ledger_types import unit_file_view
    from birthmark.ca.wiring import open_ca
    from birthmark.core.clock import system_clock

    config = here(where)
    if config is None:
        with office(where) as connected:
            return connected.unit(unit_serial)
    with open_ca(config) as authority:
        return unit_file_view(authority.lifecycle.unit(unit_serial), system_clock())


def _told(unit: "UnitFileView") -> dict[str, Any]:
    return {
        "unit": unit.serial,
        "state": unit.state,
        "since": unit.since.isoformat(timespec="microseconds"),
        "reason": unit.reason,
        "order": unit.order,
        "chip_maker": unit.chip_maker,
        "chip_serial": unit.chip_serial,
        "certificates": unit.certificates,
    }


def _text(told: dict[str, Any]) -> str:
    certificates = [f"certificate   {serial}  {state}" for serial, state in told["certificates"].items()]
    return "\n".join(
        [*(f"{name:<12}  {value}" for name, value in told.items() if name != "certificates"), *certificates]
    )


def _says(name: str, text: str, short: str | None = None) -> None:
    """Add the command of something that one person may say of a unit."""

    @unit.command(name, help=text, short_help=short)
    @_UNIT
    @with_ca
    @_WHY
    def said(unit_serial: str, reason: str, **where: Any) -> None:
        click.echo(f"unit {unit_serial}: {_say(unit_serial, name, reason, where)}")


def _say(unit_serial: str, move: str, reason: str, where: dict[str, Any]) -> str:
    """Say it here or elsewhere; return the unit's state afterwards."""
    from birthmark.ca.life.lifecycle import ADMINISTRATOR
    from birthmark.ca.life.units import Move
    from birthmark.ca.wiring import open_ca

    config = here(where)
    if config is None:
        with office(where) as connected:
            return connected.move(unit_serial, Move(move), reason).state
    with open_ca(config) as authority:
        return authority.lifecycle.move(ADMINISTRATOR, unit_serial, Move(move), reason).state.value


_says("ship", "Say that a UNIT has left the plant.")
_says("suspend", "Make a UNIT dark; two persons can give it its life back (resume).", "Make a UNIT dark.")
_says(
    "return",
    "Say that a UNIT has come back: it is dark until two persons resume or replace it.",
    "Say that a UNIT has come back; it is dark.",
)
_says(
    "retire",
    "End a UNIT for good: its certificates are revoked, its chip is denied.",
    "End a UNIT and its chip for good.",
)


@unit.command(short_help="Propose to give a dark UNIT its life back.")
@_UNIT
@click.option("--since", required=True, help="Since when it is dark, as `unit show` says it.")
@REASON
@with_office
def resume(unit_serial: str, since: str, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to give a dark UNIT its life back."""
    from birthmark.ca.life.acts import RESUME, ResumeTerms

    hand_in(RESUME, unit_serial, ResumeTerms(since=since), reason, where)


@unit.command(short_help="Propose to give a UNIT another chip (RMA).")
@_UNIT
@click.option("--old-chip", type=(str, str), required=True, metavar="MAKER SERIAL", help="The chip that goes.")
@click.option("--new-chip", type=(str, str), required=True, metavar="MAKER SERIAL", help="The chip that comes.")
@REASON
@with_office
def replace(unit_serial: str, old_chip: tuple[str, str], new_chip: tuple[str, str], reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to give a UNIT another chip (RMA)."""
    from birthmark.ca.life.acts import REPLACE, ReplaceTerms

    (old_maker, old), (new_maker, new) = old_chip, new_chip
    terms = ReplaceTerms(old_maker=old_maker, old_chip=old, new_maker=new_maker, new_chip=new)
    hand_in(REPLACE, unit_serial, terms, reason, where)
