# SPDX-License-Identifier: Apache-2.0
"""Proposals: what one person asks the CA to do, and another one decides."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import AS_JSON, REASON, office, signing, table, with_office

if TYPE_CHECKING:
    from birthmark.ca.admin.office import Office
    from birthmark.ca.admin.types import ProposalView
    from birthmark.core.proposals import ProposalDocument

FRONT = 16
"""The characters of an id that a list prints."""
_YES = click.option("--yes", is_flag=True, help="Sign without being asked; the proposal is verified all the same.")


@click.group()
def proposal() -> None:
    """Look at acts that need two persons, and decide on them."""


@click.command()
@click.argument("document", type=click.Path(path_type=Path))
@with_office
def propose(document: Path, **where: Any) -> None:
    """Hand in the signed proposal in the file DOCUMENT; print its id."""
    from birthmark.core.config import read_file

    token = read_file(document).decode("ascii", "replace").strip()
    with office(where) as connected:
        _say(connected.propose(token))


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@REASON
@_YES
@with_office
def approve(proposal_id: str, reason: str, *, yes: bool, **where: Any) -> None:
    """Verify a PROPOSAL, show it, and sign that it shall be done."""
    if yes and where["authority"] is None:
        raise click.UsageError("whoever is not asked says for which CA it is: --authority")
    with office(where) as connected:
        found = connected.proposal(proposal_id)
        click.echo(_text(found, connected.read(found)), err=True)
        if not yes:
            click.confirm("Sign that this shall be done?", abort=True, err=True)
        _say(connected.approve(found, reason))


@click.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@REASON
@with_office
def reject(proposal_id: str, reason: str, **where: Any) -> None:
    """Sign that a PROPOSAL shall not be done."""
    with signing(where) as connected:
        _say(connected.reject(connected.proposal(proposal_id), reason))


@proposal.command("list")
@AS_JSON
@with_office
def list_proposals(*, as_json: bool, **where: Any) -> None:
    """Print the latest proposals, the last one first."""
    import msgspec

    with office(where) as connected:
        found = connected.proposals().proposals
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    rows = [
        (each.id[:FRONT], each.state, each.act, each.subject, f"{each.proposed_at:%Y-%m-%d %H:%M}", each.proposed_by)
        for each in found
    ]
    click.echo(table(("proposal", "state", "act", "subject", "at (UTC)", "proposed by"), rows))


@proposal.command()
@click.argument("proposal_id", metavar="PROPOSAL")
@AS_JSON
@with_office
def show(proposal_id: str, *, as_json: bool, **where: Any) -> None:
    """
    Verify a PROPOSAL and print what was signed, and what became of it.

    PROPOSAL is its id, or the front of it as `list` prints it.
    """
    import msgspec

    with office(where) as connected:
        found = connected.proposal(_whole(connected, proposal_id))
        document = connected.read(found)
    click.echo(msgspec.json.encode(found).decode() if as_json else _text(found, document))


for _command in (propose, approve, reject):
    proposal.add_command(_command)


def _whole(connected: "Office", text: str) -> str:
    """Return the id that begins so, if there is one alone. To decide on a proposal takes its whole id."""
    known = connected.proposals().proposals if len(text) == FRONT else []
    found = [each.id for each in known if each.id.startswith(text)]
    return found[0] if len(found) == 1 else text


def _say(view: "ProposalView") -> None:
    click.echo(f"{view.id}  {view.act} {view.subject}: {view.state}")


def _text(view: "ProposalView", document: "ProposalDocument") -> str:
    terms = json.dumps(json.loads(bytes(document.terms)), indent=2)
    lines = [
        f"proposal     {view.id}",
        f"authority    {document.authority}",
        f"act          {document.act}",
        f"subject      {document.subject}",
        f"proposed by  {view.proposed_by}, {view.proposed_at.isoformat(timespec='seconds')}",
        f"reason       {document.reason}",
        f"terms        {terms.replace(chr(10), chr(10) + ' ' * 13)}",
        f"state        {view.state}",
    ]
    if view.ruling is not None:
        lines.append(f"decided by   {view.ruling.decided_by}: {view.ruling.reason}")
    return "\n".join(lines)
