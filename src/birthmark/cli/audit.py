# SPDX-License-Identifier: Apache-2.0
"""`birthmark audit`: what an auditor is given, and how it is verified without believing the CA."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from birthmark.cli.ca_office import credential, here, office, with_ca
from birthmark.cli.exits import Exit

if TYPE_CHECKING:
    from birthmark.ca.audit.case import Given
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
  birthmark audit verify BM-000001.bundle --log-key KEY --chipmaker-root makers.pem
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
@click.argument("serial")
@with_ca
@click.option("--reason", default="", help="Why; it goes into the log. --url demands one.")
@click.option("--evidence", is_flag=True, help="With --url: also evidence that certificates do not carry.")
@click.option("--out", type=FILE, required=True, metavar="FILE", help="The bundle to write.")
def bundle(serial: str, out: Path, reason: str, *, evidence: bool, **where: Any) -> None:
    """
    Write everything about one unit to a file that proves itself.

    SERIAL is that of the unit, or of one of its certificates. That the bundle was made is itself an entry of the log.
    --evidence is for auditors and security officers: a device-private certificate keeps its chip's evidence at the CA.
    """
    from birthmark.core.files import PRIVATE_MODE, write_whole

    config = here(where)
    if config is not None and evidence:
        raise click.UsageError("--evidence wants --url: who reads it is in the log")
    if config is None and not reason:
        raise click.UsageError("--url wants --reason")
    data = _made(config, serial, reason) if config is not None else _fetched(where, serial, reason, evidence=evidence)
    write_whole(out, data, PRIVATE_MODE)  # it names persons
    click.echo(f"{out}: {len(data)} bytes")


def _made(config: Path, serial: str, reason: str) -> bytes:
    from birthmark.ca.audit.wiring import make_bundle

    return make_bundle(config, serial, reason)


def _fetched(where: dict[str, Any], serial: str, reason: str, *, evidence: bool) -> bytes:
    with office(where) as connected:
        return connected.bundle(serial, reason, evidence=evidence)


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


@audit.command(short_help="Print a configuration that was in force.")
@CONFIG
@click.argument("digest")
def configuration(config: Path, digest: str) -> None:
    """Print the configuration with this DIGEST: what of ca.toml decided what was signed, as it was in force."""
    from birthmark.ca.audit.wiring import configuration_text

    click.echo(configuration_text(config, digest), nl=False)


@audit.command()
@click.argument("file", type=FILE)
@LOG_KEY
@click.option("--chipmaker-root", type=FILE, multiple=True, metavar="PEM", help="Chip makers' roots: all in it count.")
@click.option("--trust", type=FILE, metavar="PEM", help="The customer's root; the log's word, if not given.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def verify(
    file: Path, log_keys: tuple[str, ...], chipmaker_root: tuple[Path, ...], trust: Path | None, *, as_json: bool
) -> None:
    """
    Judge a bundle offline.

    What was issued, on whose order, under which policy, with which evidence, and what became of it. Each piece that
    does not hold is a finding that names it. Ends with 0 when everything holds (VERIFIED), with 1 when there is a
    finding (NOT VERIFIED), with 3 when the file is no bundle.
    """
    from birthmark.ca.audit.verifying import judge_audit_bundle
    from birthmark.ca.transparency.bundle_format import read_bundle_file
    from birthmark.cli.audit_view import plain, show

    judged = judge_audit_bundle(read_bundle_file(file), _keys(log_keys), _given(trust, chipmaker_root))
    if as_json:
        click.echo(json.dumps(plain(judged)))
    else:
        show(judged)
    sys.exit(Exit.NOT_HELD if judged.findings else Exit.OK)


def _given(trust: Path | None, roots: tuple[Path, ...]) -> "Given":
    from birthmark.ca.audit.case import Given
    from birthmark.core.config import read_file
    from birthmark.evidence.endorsements import key_fingerprint
    from birthmark.pki.anchors import read_anchors
    from birthmark.pki.paths import read_trust

    anchors = [each for path in roots for each in read_anchors(read_file(path), str(path)).anchors]
    return Given(
        None if trust is None else read_trust(read_file(trust), str(trust)),
        frozenset(key_fingerprint(each.certificate) for each in anchors) if roots else None,
    )


@audit.command("verify-log", short_help="Verify every entry of the log.")
@with_ca
@LOG_KEY
@click.option("--since", type=FILE, multiple=True, metavar="CHECKPOINT", help="A checkpoint that was kept.")
@click.option("--keep", type=FILE, metavar="FILE", help="Write the log's checkpoint there, to be the next --since.")
def verify_log(log_keys: tuple[str, ...], since: tuple[Path, ...], keep: Path | None, **where: Any) -> None:
    """
    Verify every entry of the log against its checkpoint, and against checkpoints that were kept elsewhere.

    A history that was rewritten, cut or replaced by an older copy is found by the checkpoint that was kept, whoever
    holds the log's key. Ends with 1 when the log is not what was signed for.
    """
    from rich.console import Console
    from rich.progress import Progress

    from birthmark.ca.admin.office import credential_context
    from birthmark.ca.audit.errors import AuditRefused
    from birthmark.ca.audit.wiring import verify_database, verify_url
    from birthmark.core.config import read_file
    from birthmark.core.files import write_whole
    from birthmark.tlog.checkpoint import open_checkpoint

    config = here(where)
    keys = _keys(log_keys)
    kept = [open_checkpoint(each.read_bytes(), keys) for each in since]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("entries", total=None)

        def done(count: int) -> None:
            progress.update(task, completed=count)

        if config is not None:
            now, note = verify_database(config, keys, kept, done)
        else:
            with credential(where) as lent:
                context = credential_context(read_file(where["trust"]), lent)
                now, note = verify_url(where["url"], context, keys, kept, done)
    if where["authority"] not in (None, now.origin):
        raise AuditRefused(f"{now.origin} is another log than {where['authority']}", finding="audit.log.origin")
    if keep is not None:
        write_whole(keep, note)
    click.echo(f"{now.origin}: {now.head.size} entries, root {now.head.root.hex()}, {len(kept)} kept checkpoints agree")


def _keys(texts: tuple[str, ...]) -> "list[VerifierKey]":
    from birthmark.tlog.keys import read_verifier_key

    return [read_verifier_key(text) for text in texts]
