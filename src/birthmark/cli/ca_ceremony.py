# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca ceremony`: the roots, CAs and signers of a plant, made from one reviewed file."""

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from birthmark.cli.exits import Exit
from birthmark.cli.values import Value

if TYPE_CHECKING:
    from birthmark.ca.ceremony.run import Outcome

FILE = click.argument("file", type=click.Path(path_type=Path))
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _digest(text: str) -> str:
    joined = "".join(text.split()).lower()
    if _DIGEST.fullmatch(joined) is None:
        raise ValueError("a SHA-256 has 64 hexadecimal digits; spaces are passed over")
    return joined


DIGEST = Value("sha256", _digest)


@click.group(short_help="Plan, rehearse, hold and verify key ceremonies.")
def ceremony() -> None:
    """Plan, rehearse and hold a key ceremony, and verify its transcript."""


@ceremony.command(short_help="Print what FILE would make, and every problem.")
@FILE
@click.option("--json", "as_json", is_flag=True, help="The plan itself: its SHA-256 is taken over these bytes.")
def plan(file: Path, *, as_json: bool) -> None:
    """Print what the ceremony in FILE would make, and every problem; touch nothing."""
    from birthmark.ca.ceremony.plan import canonical
    from birthmark.ca.ceremony.problems import find_problems
    from birthmark.ca.ceremony.reviewed import read_plan
    from birthmark.ca.ceremony.view import plan_text
    from birthmark.core.clock import system_clock

    planned = read_plan(file)
    problems = find_problems(planned, file.parent, system_clock())
    click.echo(canonical(planned).decode() if as_json else plan_text(planned, problems), nl=not as_json)
    sys.exit(Exit.NOT_HELD if problems else Exit.OK)


@ceremony.command(short_help="Hold the ceremony in FILE, or go on with it.")
@FILE
@click.option("--plan-sha256", type=DIGEST, required=True, help="The SHA-256 of the plan that was reviewed.")
def run(file: Path, plan_sha256: str) -> None:
    """Hold the ceremony in FILE, or go on with it after an interruption."""
    from birthmark.ca.ceremony.reviewed import run_reviewed
    from birthmark.ca.ceremony.software import versions
    from birthmark.core.clock import system_clock

    _report(run_reviewed(file, plan_sha256, system_clock, versions(), click.echo))


@ceremony.command(short_help="Do all of it with throw-away software keys.")
@FILE
@click.option(
    "--dir", "directory", type=click.Path(path_type=Path), metavar="DIR", help="Keep everything in this new directory."
)
def rehearse(file: Path, directory: Path | None) -> None:
    """Do the ceremony in FILE with throw-away software keys and names that say REHEARSAL."""
    from birthmark.ca.ceremony.rehearsal import rehearse as play
    from birthmark.ca.ceremony.software import versions
    from birthmark.core.clock import system_clock

    def say(act: str) -> None:
        click.echo(f"REHEARSAL  {act}")

    if directory is not None:
        _report(play(file, directory, system_clock, versions(), say))
        return
    with tempfile.TemporaryDirectory(prefix="birthmark-rehearsal-") as temporary:
        _report(play(file, Path(temporary) / "rehearsal", system_clock, versions(), say))
    click.echo("REHEARSAL  everything was thrown away; --dir DIR keeps it")


@ceremony.command()
@click.argument("transcript", type=click.Path(path_type=Path))
@click.option("--plan-sha256", type=DIGEST, help="The SHA-256 that was read aloud.")
@click.option(
    "--root",
    "roots",
    type=DIGEST,
    multiple=True,
    help="The SHA-256 of a root that must have signed. May be given several times.",
)
def verify(transcript: Path, plan_sha256: str | None, roots: tuple[str, ...]) -> None:
    """Verify a TRANSCRIPT against the certificates in its folder."""
    from birthmark.ca.ceremony.transcript import require_known, verify_transcript
    from birthmark.ca.ceremony.view import proven_text

    proven = verify_transcript(transcript)
    require_known(proven, plan_sha256, roots)
    click.echo(proven_text(proven))


def _report(outcome: "Outcome") -> None:
    from birthmark.ca.ceremony.view import outcome_text

    click.echo(outcome_text(outcome))
