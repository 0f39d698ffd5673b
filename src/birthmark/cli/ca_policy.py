# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca policy`: the appraisal policy, before it is put in force."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.exits import Exit
from birthmark.cli.values import MOMENT

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.x509 import Certificate

    from birthmark.evidence.difference import PolicyDifference
    from birthmark.evidence.endorsements import ChipModel, Endorsements

_SHORT = 16


@click.group(short_help="Look at the appraisal policy.")
def policy() -> None:
    """Look at the appraisal policy: makers, models, deliveries, certifications, calendars."""


@policy.command(short_help="Say what a policy would change for the fleet.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def check(file: Path, config: Path, *, as_json: bool) -> None:
    """
    Say what the policy in FILE would change for the living fleet, against the one that ca.toml names.

    FILE is another endorsements.toml; what it names lies beside it. Nothing is changed. Ends with 1 when units would
    lose something.
    """
    from birthmark.ca.wiring import check_policy

    difference = check_policy(config, file)
    click.echo(json.dumps(_plain(difference)) if as_json else "\n".join(_lines(difference)))
    sys.exit(Exit.NOT_HELD if difference.losses else Exit.OK)


@policy.command(short_help="Print what a policy believes.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--at", type=MOMENT, metavar="TIME", help="RFC 3339; now, if not given.")
def show(file: Path, at: "datetime | None") -> None:
    """
    Print what the policy in FILE believes: anchors, which CA chains to which of them, models, profiles.

    Ends with 1 when a CA has no path to an anchor at this time.
    """
    from birthmark.core.clock import system_clock
    from birthmark.core.config import read_file
    from birthmark.evidence.endorsements import read_endorsements

    endorsements = read_endorsements(file, read_file)
    lost = 0
    click.echo(f"policy {endorsements.digest}")
    for notice in endorsements.notices:
        click.echo(f"note  {notice.finding}: {notice.detail}")
    for certificate, maker in endorsements.maker_of_root.items():
        click.echo(f"anchor  {maker}: {_name(certificate)}")
    for line, reached in _lineages(endorsements, at or system_clock()):
        click.echo(line)
        lost += not reached
    for model in endorsements.models:
        click.echo(f"model  {_model_text(model)}")
    for name, terms in endorsements.profiles.items():
        endings = ", ".join(f"{of}: {end.last_issue or 'never'}" for of, end in sorted(terms.schedule.endings.items()))
        click.echo(f"profile  {name}: last issue {endings or 'without end'}")
    sys.exit(Exit.NOT_HELD if lost else Exit.OK)


def _lineages(endorsements: "Endorsements", at: "datetime") -> "Iterator[tuple[str, bool]]":
    from birthmark.pki.anchors import lineage
    from birthmark.pki.errors import PathError

    for authority in endorsements.trust.intermediates:
        try:
            root = lineage(authority, endorsements.trust, at)[-1]
            yield f"ca  {_name(authority)} under {_name(root)}", True
        except PathError as error:
            yield f"{click.style('LOST', fg='red', bold=True)}  {error.message}", False


def _name(certificate: "Certificate") -> str:
    return certificate.subject.rfc4514_string()


def _model_text(model: "ChipModel") -> str:
    parts = [f"{model.id} of {model.maker}: {model.certification}", *(str(each) for each in model.certifications)]
    if model.withdrawn is not None:
        parts.append(f"withdrawn {model.withdrawn.isoformat()}")
    if model.deliveries is not None:
        parts.append(f"{len(frozenset().union(*model.deliveries))} chips delivered")
    return ", ".join(parts)


def _plain(difference: "PolicyDifference") -> dict[str, Any]:
    return {
        "old": difference.old,
        "new": difference.new,
        "units": difference.units,
        "changes": [
            {"kind": change.kind.value, "table": change.table, "name": change.name, "detail": change.detail}
            for change in difference.changes
        ],
        "effects": [
            {
                "outcome": effect.outcome.name.lower(),
                "finding": effect.finding,
                "subject": effect.subject,
                "units": effect.units,
                "examples": list(effect.examples),
            }
            for effect in difference.effects
        ],
        "notices": [{"finding": notice.finding, "detail": notice.detail} for notice in difference.notices],
    }


def _lines(difference: "PolicyDifference") -> Iterator[str]:
    yield f"policy {difference.old[:_SHORT]} -> {difference.new[:_SHORT]}, {difference.units} living units"
    for notice in difference.notices:
        yield f"note  {notice.finding}: {notice.detail}"
    for change in difference.changes:
        yield f"{change.kind.value}  {change.table} {change.name}" + (f": {change.detail}" if change.detail else "")
    for effect in difference.effects:
        colour = "red" if effect.outcome.is_loss else "green"
        outcome = click.style(effect.outcome.name.lower(), fg=colour, bold=True)
        examples = ", ".join(effect.examples) + (", ..." if effect.units > len(effect.examples) else "")
        yield f"{outcome}  {effect.units} units  {effect.finding}  {effect.subject}  ({examples})"
    for met in dict.fromkeys(effect.outcome for effect in difference.effects):
        yield f"{met.name.lower()}: {met.value}"
    if not difference.effects:
        yield "no living unit would notice"
