# SPDX-License-Identifier: Apache-2.0
"""`birthmark verify`: what the cloud decides about a certificate, offline, from files, step by step."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from birthmark.cli.exits import Exit
from birthmark.cli.values import MOMENT

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from birthmark.evidence.ear import ResultSigners
    from birthmark.evidence.endorsements import Endorsements
    from birthmark.evidence.verdict import Verdict

FILE = click.Path(path_type=Path)


@click.command()
@click.argument("certificate", type=FILE)
@click.option("--chipmaker-root", type=FILE, required=True, metavar="PEM", help="The chip maker's root and CAs.")
@click.option("--root", type=FILE, required=True, metavar="PEM", help="The customer's root and issuing CA.")
@click.option("--at", type=MOMENT, metavar="TIME", help="RFC 3339; now, if not given.")
@click.option("--endorsements", type=FILE, metavar="TOML", help="Endorsed models; the simulated ones, if not given.")
@click.option(
    "--result-signers", type=FILE, metavar="PEM", help="Verifiers whose results are believed in place of evidence."
)
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
def verify(
    certificate: Path,
    chipmaker_root: Path,
    root: Path,
    at: datetime | None,
    *,
    as_json: bool,
    **believed: Path | None,
) -> None:
    """
    Verify the device CERTIFICATE (PEM or DER) as the cloud would.

    PEM files may hold several certificates: those that signed themselves are the anchors, the others help to build the
    path. Revocation is not looked at: that needs the CA's list.
    """
    from birthmark.cloud.verification import Believed
    from birthmark.cloud.verification import verify as appraise_device
    from birthmark.core.clock import system_clock
    from birthmark.core.config import read_file
    from birthmark.pki.paths import read_trust

    leaf, *chain = _certificates(certificate)
    verdict = appraise_device(
        leaf,
        chain,
        read_trust(read_file(root), str(root)),
        Believed(_endorsements(believed["endorsements"], chipmaker_root), _signers(believed["result_signers"])),
        None,
        at or system_clock(),
    )
    click.echo(_json(verdict) if as_json else _text(verdict))
    sys.exit(Exit.NOT_HELD if verdict.findings else Exit.OK)


def _certificates(path: Path) -> "list[Certificate]":
    from cryptography import x509

    from birthmark.core.config import read_file
    from birthmark.core.errors import DecodeError
    from birthmark.pki.reading import UNREADABLE

    content = read_file(path)
    try:
        if content.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except UNREADABLE as error:
        raise DecodeError(f"{path} is no certificate", hint="give a device certificate as PEM or DER") from error


def _signers(file: Path | None) -> "ResultSigners":
    from birthmark.core.config import read_file
    from birthmark.evidence.ear import NO_SIGNERS, read_signers

    return NO_SIGNERS if file is None else read_signers(read_file(file), str(file))


def _endorsements(file: Path | None, chipmaker_root: Path) -> "Endorsements":
    import msgspec

    from birthmark.core.config import load, parse, read_file
    from birthmark.evidence.endorsements import EndorsementsFile, build
    from birthmark.testing.lab.files import endorsements_toml

    read = (
        parse(EndorsementsFile, endorsements_toml(), "simulated models")
        if file is None
        else load(EndorsementsFile, file)
    )
    # One file stands for all makers, and an error names it. The manifests that the policy names lie beside it.
    trust = str(chipmaker_root)
    makers = tuple(msgspec.structs.replace(maker, trust=trust, anchors=None) for maker in read.maker)
    manifests = {entry.file: read_file((file or chipmaker_root).parent / entry.file) for entry in read.delivery}
    return build(msgspec.structs.replace(read, maker=makers), {trust: read_file(chipmaker_root), **manifests})


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
