# SPDX-License-Identifier: Apache-2.0
"""A plan as people read it at the table, and the digest as they read it aloud."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from birthmark.ca.ceremony.acts import place_text
from birthmark.ca.ceremony.file import FileKey
from birthmark.ca.ceremony.plan import (
    Plan,
    PlannedCertificate,
    PlannedKey,
    PresentCertificate,
    bare_keys,
    digest,
    public_key_file,
)
from birthmark.ca.ceremony.rules import REHEARSAL, Problem, remarks
from birthmark.ca.ceremony.run import Outcome
from birthmark.ca.ceremony.transcript import Proven, RunRecord, sha256_of

GROUP: Final = 8
"""Hexadecimal digits that are read in one breath."""


def aloud(sha256: str) -> str:
    """Return a digest in groups."""
    return " ".join(sha256[start : start + GROUP] for start in range(0, len(sha256), GROUP))


def plan_text(plan: Plan, problems: Sequence[Problem]) -> str:
    """Return the whole plan, what a reviewer should know of it, what stands in its way, and its SHA-256."""
    sections = {
        _kind(plan): _head(plan),
        "PARTICIPANTS": _columns([(person.name, person.role.value) for person in plan.participants]),
        "TOKENS": _columns(
            [(token.label, f"module {token.module}", f"PIN in {token.pin_file}") for token in plan.tokens]
        ),
        "ALREADY PRESENT": [line for present in plan.present for line in _present(present)],
        "KEYS": [line for key in plan.keys for line in _key(key)],
        "CERTIFICATES": [line for certificate in plan.certificates for line in _certificate(certificate)],
        "OTHER FILES": _others(plan),
        "REMARKS": remarks(plan),
        "PROBLEMS": [f"{problem.id}: {problem.text}" for problem in problems] or ["none found"],
        "SHA-256 OF THE PLAN": [aloud(digest(plan))],
    }
    return "\n\n".join(_section(title, lines) for title, lines in sections.items() if lines)


def proven_text(proven: Proven) -> str:
    """Return what a transcript proves: who was there, what was made when, and the roots to compare."""
    transcript = proven.transcript
    made = [(_moment(record.done), record.act) for record in transcript.acts]
    sections = {
        f"{_kind(transcript.plan)} of {transcript.plan.title!r}": _columns(
            [
                ("plan", aloud(transcript.plan_sha256)),
                *(("begun", f"{_moment(run.at)} with {_software(run)}") for run in transcript.runs),
                ("finished", _moment(transcript.finished)),
            ]
        ),
        "PARTICIPANTS": _columns([(person.name, person.role.value) for person in transcript.plan.participants]),
        "ACTS": _columns(made),
        "SIGNED BY (compare the SHA-256 with the one on paper)": _roots(proven),
    }
    return "\n\n".join(_section(title, lines) for title, lines in sections.items() if lines)


def outcome_text(outcome: Outcome) -> str:
    """Return where the transcript is, and the digests that participants write down."""
    said = "had ended before; nothing was done" if outcome.already else "has ended"
    rows = [(aloud(sha256), subject) for subject, sha256 in outcome.roots.items()]
    rows.append((aloud(outcome.transcript_sha256), str(outcome.transcript)))
    return "\n".join([f"{_kind(outcome.plan)}: it {said}. Write down the SHA-256 of each:", *_columns(rows)])


def _roots(proven: Proven) -> list[str]:
    return _columns([(aloud(sha256_of(one)), one.subject.rfc4514_string()) for one in proven.signers])


def _software(run: RunRecord) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(run.software.items()))


def _kind(plan: Plan) -> str:
    return REHEARSAL if plan.rehearsal else "CEREMONY"


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _head(plan: Plan) -> list[str]:
    rows = [("title", plan.title), ("organization", plan.organization), ("begins", _moment(plan.begins))]
    return _columns([*rows, ("folder", plan.folder)])


def _present(present: PresentCertificate) -> Iterator[str]:
    yield f"{present.id}  {present.subject}"
    yield f"    {_life(present)}, in {present.file}"
    yield f"    SHA-256 {present.sha256}"


def _key(key: PlannedKey) -> Iterator[str]:
    yield f"{key.id}  {key.algorithm.value}  {key.use}  {'used' if key.present else 'made'} in {place_text(key.place)}"
    if not key.present:
        yield f"    {', '.join(key.attributes)}"
    if isinstance(key.place, FileKey):
        yield f"    passphrase in {' and '.join(key.place.passphrase_files)}"


def _certificate(certificate: PlannedCertificate) -> Iterator[str]:
    signer = "itself" if certificate.issuer == certificate.id else certificate.issuer
    yield f"{certificate.id}  {certificate.profile}  {certificate.subject}"
    yield f"    key of {certificate.key}, signed by {signer}, {_life(certificate)}"
    yield f"    {', '.join(certificate.extensions)}"
    yield f"    written to {certificate.file}"


def _others(plan: Plan) -> list[str]:
    bare = [(f"{plan.folder}/{public_key_file(key)}", f"the public key of {key}") for key in bare_keys(plan)]
    copies = [(f"{plan.folder}/{one.id}.pem", f"a copy of {one.file}") for one in plan.present]
    return _columns([*bare, *copies, *((one.file, ", ".join(one.certificates)) for one in plan.bundles)])


def _life(certificate: PlannedCertificate | PresentCertificate) -> str:
    return f"{_moment(certificate.not_before)} to {_moment(certificate.not_after)}"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
