# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca root`: how far a new root has come, and the proposal to retire the old one."""

import re
from pathlib import Path
from typing import Any, Final

import click

from birthmark.cli.ca_office import REASON, hand_in, with_office
from birthmark.cli.values import Value

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def _sha256(text: str) -> str:
    if _DIGEST.fullmatch(text.lower()) is None:
        raise ValueError(f"{text[:64]!r} is no SHA-256 in hexadecimal of a root certificate")
    return text.lower()


_ROOT = Value("sha256", _sha256)
_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml."
)
_OLD = click.argument("old", type=_ROOT)
_NEW = click.option("--successor", type=_ROOT, required=True, metavar="SHA256", help="The root that comes.")


@click.group()
def root() -> None:
    """Change the root that devices are under."""


@root.command(short_help="Print how far a new root has come.")
@_OLD
@_NEW
@_CONFIG
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def coverage(old: str, successor: str, config: Path, *, as_json: bool) -> None:
    """Print how many living devices have shown that they hold the successor of the root OLD (SHA-256)."""
    import json
    from dataclasses import asdict

    from birthmark.ca.wiring import open_roots

    with open_roots(config) as roots:
        reached = roots.coverage(old, successor)
    if as_json:
        click.echo(json.dumps(asdict(reached)))
        return
    click.echo(reached.text)
    click.echo(f"{reached.under_old} have a certificate under the old root; {reached.silent} have said nothing yet")
    for unit in reached.without:
        click.echo(f"without it   {unit}")


@root.command(short_help="Propose to retire the root OLD.")
@_OLD
@_NEW
@click.option("--threshold", type=click.IntRange(900, 1000), required=True, help="Thousandths of the living fleet.")
@REASON
@with_office
def retire(old: str, successor: str, threshold: int, reason: str, **where: Any) -> None:
    """Sign and hand in the proposal to retire the root OLD (SHA-256)."""
    from birthmark.ca.anchors import RETIRE, RootRetireTerms

    terms = RootRetireTerms(successor=successor, threshold_permille=threshold)
    hand_in(RETIRE, old, terms, reason, where)
