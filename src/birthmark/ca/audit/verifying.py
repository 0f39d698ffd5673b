# SPDX-License-Identifier: Apache-2.0
"""
Verifying an audit bundle offline, as an outsider: with the log's verifier key and, for the chains, the customer's root.

What is proven: every entry is in the log; no entry about the unit is missing between its first one and the making of
the bundle; every object is the one that the log, or a signature, commits to. What cannot be proven from one bundle:
that the log shows everybody the same history. Against that stand checkpoints that auditors keep (`verify-log`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from birthmark.ca.audit import bundle
from birthmark.ca.audit.bundle import AuditObject, Manifest
from birthmark.ca.audit.documents import ISSUING, demand_chains, demand_documents
from birthmark.ca.audit.errors import AuditRefused
from birthmark.ca.transparency.policy_log import IN_FORCE
from birthmark.core.audit import AuditRow, decode_row, link
from birthmark.core.ids import fingerprint
from birthmark.pki.paths import TrustAnchors
from birthmark.tlog.bundle import VerifiedBundle, verify_bundle
from birthmark.tlog.keys import VerifierKey

_SIGNATURE_MARK = "\n\n"


@dataclass(frozen=True, slots=True)
class Verified:
    """What an outsider now knows. `rows` are the log's entries about the unit with their numbers, oldest first."""

    unit_serial: str
    log: str
    log_size: int
    rows: tuple[tuple[int, AuditRow], ...]
    policies: tuple[tuple[int, AuditRow], ...]
    manifest: Manifest
    checks: tuple[str, ...]

    @property
    def complete_until(self) -> datetime:
        """When the bundle was made: nothing that the log had about the unit until then is missing."""
        return self.rows[-1][1].at

    def objects(self, kind: str) -> Iterator[AuditObject]:
        """Yield the objects of this kind."""
        return (each for each in self.manifest.objects if each.kind == kind)


def verify_audit_bundle(data: bytes, keys: Sequence[VerifierKey], trust: TrustAnchors | None = None) -> Verified:
    """
    Return what a bundle proves. Without `trust` the chains of certificates and signers are not judged.

    Raises:
        DecodeError: audit.bundle, audit.row: not a bundle, or not in its one form.
        NoteRefused, CheckpointRefused, ProofRefused: tlog.*: it is not of this log, or an entry is not in it.
        AuditRefused: audit.*: an entry or an object is missing, altered, or one too many.

    """
    told, manifest, proofs = bundle.decode_bundle(data)
    proven = _one_signature(verify_bundle(proofs, keys), proofs)
    rows = tuple((each.index, decode_row(each.entry)) for each in proven.entries)
    about = tuple(each for each in rows if each[1].unit_serial == manifest.unit_serial)
    others = tuple(each for each in rows if each not in about)
    _demand_whole(proven, manifest.unit_serial)
    _demand_manifest(told, manifest, about)
    _demand_policies(manifest, others)
    told_of = [row for _, row in about]
    _demand_objects(manifest, told_of)
    checks = [
        f"{len(proven.entries)} entries are in the log {proven.checkpoint.origin} of {proven.checkpoint.head.size}",
        f"none of the {len(about)} entries about the unit is missing up to {about[-1][1].at.isoformat()}",
        f"{len(manifest.objects)} objects are those that the log commits to",
        *demand_documents(manifest, told_of, proven.checkpoint.origin),
        *([] if trust is None else demand_chains(manifest, told_of, trust)),
    ]
    head = proven.checkpoint.head
    return Verified(manifest.unit_serial, proven.checkpoint.origin, head.size, about, others, manifest, tuple(checks))


def _one_signature(proven: VerifiedBundle, proofs: bytes) -> VerifiedBundle:
    """A signature of somebody unknown says nothing and would not be verified: none is let in."""
    if proofs.decode().rpartition(_SIGNATURE_MARK)[2].count("\n") != 1:
        raise AuditRefused("the checkpoint carries more than the log's signature", finding="audit.signature")
    return proven


def _demand_whole(proven: VerifiedBundle, unit_serial: str) -> None:
    """Pass entries about the unit of which each is linked to the one before it, from the first one on."""
    before = ""
    for each in proven.entries:
        row = decode_row(each.entry)
        if row.unit_serial != unit_serial:
            continue
        if row.previous != before:
            told = f"entry {each.index} follows {row.previous or 'nothing'}, the bundle has {before or 'nothing'} there"
            raise AuditRefused(f"an entry about unit {unit_serial} is missing: {told}", finding="audit.missing")
        before = link(each.index, each.entry)


def _demand_manifest(told: bytes, manifest: Manifest, about: Sequence[tuple[int, AuditRow]]) -> None:
    if not about or about[-1][1].act != bundle.BUNDLE_ACT:
        raise AuditRefused("the entry of the making of the bundle is missing", finding="audit.missing")
    last = about[-1][1]
    if last.about != fingerprint(told) or last.at != manifest.made_at or last.finding:
        raise AuditRefused("the manifest is not the one that the log commits to", finding="audit.manifest")


def _demand_policies(manifest: Manifest, others: Sequence[tuple[int, AuditRow]]) -> None:
    foreign = [number for number, row in others if row.act != IN_FORCE]
    if foreign or tuple(row.about for _, row in others) != manifest.policies:
        raise AuditRefused("the policies are not those of the log's entries", finding="audit.policy")


def _demand_objects(manifest: Manifest, rows: Sequence[AuditRow]) -> None:
    """Pass objects with their digests, all that the entries name among them, under the serials that those name."""
    for each in manifest.objects:
        if each.kind not in bundle.KINDS or fingerprint(each.content) != each.sha256:
            raise AuditRefused(f"the {each.kind} {each.of} is not what it says", finding="audit.object.digest")
    granted = [row for row in rows if not row.finding]
    issued = {(row.certificate, row.about) for row in granted if row.act in ISSUING and row.about}
    births = {(row.certificate, row.about) for row in granted if row.act == "birth" and row.about}
    for kind, wanted in ((bundle.CERTIFICATE, issued), (bundle.BIRTH_RECORD, births)):
        held = {(each.of, each.sha256) for each in manifest.objects if each.kind == kind}
        if held != wanted:
            what = "is missing" if wanted - held else "is in no entry of the log"
            raise AuditRefused(f"a {kind} {what}", finding="audit.object.missing")
