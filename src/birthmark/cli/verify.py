# SPDX-License-Identifier: Apache-2.0
"""`birthmark verify`: what the cloud decides about a certificate, offline, from files, step by step."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from birthmark.cli.exits import Exit

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from birthmark.evidence.endorsements import Endorsements
    from birthmark.evidence.verdict import Verdict

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("certificate", type=FILE)
@click.option("--chipmaker-root", type=FILE, required=True, metavar="PEM", help="The chip maker's root and CAs.")
@click.option("--root", type=FILE, required=True, metavar="PEM", help="The customer's root and issuing CA.")
@click.option("--at", metavar="TIME", help="RFC 3339; now, if not given.")
@click.option("--endorsements", type=FILE, metavar="TOML", help="Endorsed models; the simulated ones, if not given.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
def verify(
    certificate: Path, chipmaker_root: Path, root: Path, at: str | None, endorsements: Path | None, *, as_json: bool
) -> None:
    """
    Verify the device CERTIFICATE (PEM or DER) as the cloud would.

    PEM files may hold several certificates: those that signed themselves are the anchors, the others help to build the
    path. Revocation is not looked at: that needs the CA's list.
    """
    from birthmark.cloud.verification import verify as appraise_device
    from birthmark.pki.paths import read_trust

    leaf, *chain = _certificates(certificate)
    verdict = appraise_device(
        leaf,
        chain,
        read_trust(root.read_bytes(), str(root)),
        _endorsements(endorsements, chipmaker_root),
        None,
        _moment(at),
    )
    click.echo(_json(verdict) if as_json else _text(verdict))
    sys.exit(Exit.NOT_HELD if verdict.findings else Exit.OK)


def _certificates(path: Path) -> "list[Certificate]":
    from cryptography import x509

    from birthmark.core.errors import DecodeError

    content = path.read_bytes()
    try:
        if content.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except ValueError as error:
        raise DecodeError(f"{path} is no certificate", hint="give a device certificate as PEM or DER") from error


def _endorsements(file: Path | None, chipmaker_root: Path) -> "Endorsements":
    from birthmark.core.config import parse
    from birthmark.evidence.endorsements import EndorsementsFile, build
    from birthmark.testing.lab.files import endorsements_toml

    text = endorsements_toml() if file is None else file.read_text()
    read = parse(EndorsementsFile, text, str(file or "the simulated models"))
    pem = chipmaker_root.read_bytes()
    return build(read, {maker.trust: pem for maker in read.maker})


def _moment(text: str | None) -> datetime:
    from birthmark.core.clock import system_clock

    if text is None:
        return system_clock()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"--at {text!r} is not a time like 2026-11-23T12:00:00Z") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _json(verdict: "Verdict") -> str:
    chip = verdict.attested.chip if verdict.attested else None
    return json.dumps(
        {
            "accepted": not verdict.findings,
            "steps": list(verdict.steps),
            "findings": [{"id": finding.id, "detail": finding.detail} for finding in verdict.findings],
            "chip": chip and {"maker": chip.maker, "model": chip.model, "serial": chip.serial},
        }
    )


def _text(verdict: "Verdict") -> str:
    lines = [f"{click.style('ok', fg='green')}  {step}" for step in verdict.steps]
    lines += [f"{click.style('NO', fg='red', bold=True)}  {found.id}: {found.detail}" for found in verdict.findings]
    if verdict.attested is not None:
        chip = verdict.attested.chip
        lines.append(f"the key lives in {chip.model} {chip.serial} by {chip.maker} ({chip.certification})")
    return "\n".join(lines)
