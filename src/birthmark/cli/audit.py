# SPDX-License-Identifier: Apache-2.0
"""`birthmark audit`: what an auditor is given, and how it is verified without believing the CA."""

import json
import sys
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import credential
from birthmark.cli.exits import Exit
from birthmark.cli.values import shown

if TYPE_CHECKING:
    from birthmark.ca.audit.verifying import Verified
    from birthmark.tlog.keys import VerifierKey

FILE = click.Path(path_type=Path)
CONFIG = click.option("--config", type=FILE, required=True, metavar="FILE", help="The service's ca.toml.")
LOG_KEY = click.option(
    "--log-key", "log_keys", multiple=True, required=True, metavar="KEY", help="The log's verifier key: name+id+base64."
)


_HELP = """Make and verify what an auditor needs.

\b
At the CA:
  birthmark audit key --config ca.toml
  birthmark audit bundle BM-000001 --config ca.toml --out BM-000001.bundle
At the auditor's, offline:
  birthmark audit verify BM-000001.bundle --log-key KEY --trust root.pem
"""


@click.group(help=_HELP)
def audit() -> None:
    """Make and verify what an auditor needs."""


@audit.command(short_help="Print the log's verifier key.")
@CONFIG
def key(config: Path) -> None:
    """Print the log's verifier key, which auditors must get by another way than the log."""
    from birthmark.ca.audit.wiring import log_key

    click.echo(log_key(config))


@audit.command(short_help="Write everything about one unit to a file.")
@CONFIG
@click.argument("serial")
@click.option("--out", type=FILE, required=True, metavar="FILE", help="The bundle to write.")
def bundle(config: Path, serial: str, out: Path) -> None:
    """
    Write everything about one unit to a file that proves itself.

    SERIAL is that of the unit, or of one of its certificates. That the bundle was made is itself an entry of the log.
    """
    from birthmark.ca.audit.wiring import make_bundle
    from birthmark.core.files import PRIVATE_MODE, write_whole

    data = make_bundle(config, serial)
    write_whole(out, data, PRIVATE_MODE)  # it names persons
    click.echo(f"{out}: {len(data)} bytes")


@audit.command(short_help="Write an appraisal policy that was in force.")
@CONFIG
@click.argument("digest")
@click.option("--out", type=FILE, required=True, metavar="FOLDER", help="Where its files are written.")
def policy(config: Path, digest: str, out: Path) -> None:
    """Write the appraisal policy with this DIGEST, as it was when it was in force."""
    from birthmark.ca.audit.wiring import policy_texts
    from birthmark.core.files import write_whole

    for name, text in policy_texts(config, digest).items():
        target = out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, text)
        click.echo(str(target))


@audit.command()
@click.argument("file", type=FILE)
@LOG_KEY
@click.option("--trust", type=FILE, metavar="PEM", help="The customer's root: judge the chains too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(file: Path, log_keys: tuple[str, ...], trust: Path | None, *, as_json: bool) -> None:
    """
    Verify a bundle offline, and say what happened to the unit.

    Ends with 0 when everything holds, with 1 when an entry or an object is missing, altered or not the log's, with 3
    when the file is no bundle.
    """
    from birthmark.ca.audit.verifying import verify_audit_bundle
    from birthmark.core.config import read_file
    from birthmark.pki.paths import read_trust

    anchors = None if trust is None else read_trust(read_file(trust), str(trust))
    verified = verify_audit_bundle(file.read_bytes(), _keys(log_keys), anchors)
    if as_json:
        click.echo(json.dumps(_plain(verified)))
    else:
        _show(verified)
    sys.exit(Exit.OK)


@audit.command("verify-log", short_help="Verify every entry of the log.")
@click.option("--config", type=FILE, metavar="FILE", help="Read the ledger of this ca.toml.")
@click.option("--url", metavar="URL", help="Read the log of a serving CA over mutual TLS.")
@click.option("--trust", type=FILE, metavar="FILE", help="With --url: the trust anchors (PEM).")
@click.option("--certificate", type=FILE, metavar="FILE", help="With --url: yours, with its chain (PEM).")
@click.option("--key", metavar="KEY", help="With --url: an encrypted key file, or a pkcs11: URI.")
@click.option("--passphrase-file", type=FILE, metavar="FILE", help="Passphrase or PIN; otherwise you are asked.")
@LOG_KEY
@click.option("--since", type=FILE, multiple=True, metavar="CHECKPOINT", help="A checkpoint that was kept.")
@click.option("--keep", type=FILE, metavar="FILE", help="Write the log's checkpoint there, to be the next --since.")
def verify_log(
    config: Path | None,
    url: str | None,
    log_keys: tuple[str, ...],
    since: tuple[Path, ...],
    keep: Path | None,
    **where: Any,
) -> None:
    """
    Verify every entry of the log against its checkpoint, and against checkpoints that were kept elsewhere.

    A history that was rewritten, cut or replaced by an older copy is found by the checkpoint that was kept, whoever
    holds the log's key. Ends with 1 when the log is not what was signed for.
    """
    from rich.console import Console
    from rich.progress import Progress

    from birthmark.ca.admin.office import credential_context
    from birthmark.ca.audit.wiring import verify_database, verify_url
    from birthmark.core.config import read_file
    from birthmark.core.files import write_whole
    from birthmark.tlog.checkpoint import open_checkpoint

    if (config is None) == (url is None):
        raise click.UsageError("either --config or --url")
    missing = [name for name in ("trust", "certificate", "key") if where[name] is None]
    if url is not None and missing:
        raise click.UsageError(f"--url wants --{missing[0]}")
    keys = _keys(log_keys)
    kept = [open_checkpoint(each.read_bytes(), keys) for each in since]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("entries", total=None)

        def done(count: int) -> None:
            progress.update(task, completed=count)

        if config is not None:
            now, note = verify_database(config, keys, kept, done)
        elif url is not None:
            with credential(where) as lent:
                context = credential_context(read_file(where["trust"]), lent)
                now, note = verify_url(url, context, keys, kept, done)
    if keep is not None:
        write_whole(keep, note)
    click.echo(f"{now.origin}: {now.head.size} entries, root {now.head.root.hex()}, {len(kept)} kept checkpoints agree")


def _keys(texts: tuple[str, ...]) -> "list[VerifierKey]":
    from birthmark.tlog.keys import read_verifier_key

    return [read_verifier_key(text) for text in texts]


def _plain(verified: "Verified") -> dict[str, object]:
    return {
        "unit_serial": verified.unit_serial,
        "log": verified.log,
        "log_size": verified.log_size,
        "complete_until": verified.complete_until.isoformat(),
        "software": verified.manifest.software,
        "policies": list(verified.manifest.policies),
        "checks": list(verified.checks),
        "entries": [
            {
                "number": number,
                "at": row.at.isoformat(),
                "act": row.act,
                "who": row.who,
                "certificate": row.certificate,
                "chip": row.chip_serial,
                "order": row.order,
                "finding": row.finding,
                "detail": row.detail,
            }
            for number, row in verified.rows
        ],
    }


def _show(verified: "Verified") -> None:
    for told in verified.checks:
        click.echo(f"{click.style('ok', fg='green')}  {shown(told)}")
    click.echo(f"\nunit {verified.unit_serial}, times in UTC\n")
    width = max(len(row.act) for _, row in verified.rows)
    for number, row in verified.rows:
        when = row.at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
        click.echo(f"{number:>6}  {when}  {row.act.ljust(width)}  {shown(row.who)}")
        refused = f"REFUSED {row.finding}" if row.finding else ""
        for told in filter(None, (row.certificate, refused, row.detail)):
            click.echo(f"        {shown(told)}")
    click.echo(f"\ncomplete until {verified.complete_until.isoformat()}")
