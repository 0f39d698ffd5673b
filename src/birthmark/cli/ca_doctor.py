# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca doctor`: whether a certificate could be issued now, and what to do when not."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import here, office, with_ca
from birthmark.cli.exits import Exit

if TYPE_CHECKING:
    from birthmark.ca.admin.ledger_types import HealthView

_COLOURS = {"ok": "green", "warning": "yellow", "failed": "red", "ended": "yellow"}


@click.command(short_help="Say whether a certificate could be issued now.")
@with_ca
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(*, as_json: bool, **where: Any) -> None:
    """
    Say whether a certificate could be issued now: each part that issuing needs is tried.

    With --config on the CA's own machine, beside the service; with --url over the wire, as an auditor or a security
    officer. Ends with 1 when something has failed, and says which profiles cannot issue.
    """
    config = here(where)
    found = _local(config) if config is not None else _remote(where)
    click.echo(_json(found) if as_json else _table(found))
    sys.exit(Exit.OK if found.sound else Exit.NOT_HELD)


def _local(config: Path) -> "HealthView":
    from birthmark.ca.admin.ledger_types import health_view
    from birthmark.ca.wiring import examine

    return health_view(examine(config))


def _remote(where: dict[str, Any]) -> "HealthView":
    with office(where) as connected:
        return connected.health()


def _json(found: "HealthView") -> str:
    import msgspec

    return msgspec.json.encode(found).decode()


def _table(found: "HealthView") -> str:
    rows: list[tuple[str, str, str, str]] = [(each.name, each.state, each.detail, each.hint) for each in found.checks]
    rows += [(f"profile {each.name}", each.state, each.detail, "") for each in found.profiles]
    width = max(len(name) for name, *_ in rows)
    lines = []
    for name, state, detail, hint in rows:
        shown = click.style(state.ljust(7), fg=_COLOURS[state], bold=state != "ok")
        lines.append(f"{name.ljust(width)}  {shown}  {detail}")
        if hint:
            lines.append(f"{' ' * width}  {' ' * 7}  -> {hint}")
    return "\n".join([*lines, _verdict(found)])


def _verdict(found: "HealthView") -> str:
    if found.ready:
        return "ready to issue" if found.sound else "ready to issue, but NOT all that should be"
    return "NOT ready to issue"
