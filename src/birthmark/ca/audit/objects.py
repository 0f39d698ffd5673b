# SPDX-License-Identifier: Apache-2.0
"""
The objects of a bundle: each is what its digest says, all that the log names are there, and nothing else is.

Every object is committed to by an entry of the log from the time when it came into the world: by its digest in the
entry, or by its digest in an object that an entry names. That the manifest lists it says nothing.
"""

from collections.abc import Iterator
from typing import TypeAlias

from birthmark.ca.audit.case import BIRTH, PROPOSE, RULINGS, Case, shortened
from birthmark.ca.audit.findings import AuditFinding, Proven, Told
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.ca.transparency.trust_log import read_trust_document
from birthmark.core.audit import CONFIGURATION_ACT, TRUST_ACT
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.evidence.endorsements import files_of_canonical

TOPIC = "objects"
_Key: TypeAlias = tuple[str, str, str]
"""Kind, what it is of, SHA-256."""


def check_objects(case: Case) -> Iterator[Told]:
    """Yield what is wrong with the set of objects, piece by piece."""
    seen: set[_Key] = set()
    wanted = {key for found in (_wanted(case), _wanted_by_objects(case)) for key in found}
    allowed = wanted | set(_allowed(case))
    for each in case.manifest.objects:
        key = (each.kind, each.of, each.sha256)
        if fingerprint(each.content) != each.sha256:
            yield AuditFinding("audit.object.digest", each.name, "its content is not what its digest says")
        if key not in allowed:
            yield AuditFinding("audit.object.foreign", each.name, "no entry of the log names it")
        if key in seen:
            yield AuditFinding("audit.object.foreign", each.name, "it is there twice")
        seen.add(key)
    for kind, of, sha256 in sorted(wanted - seen):
        detail = f"the log names one with the digest {shortened(sha256)}…"
        yield AuditFinding("audit.object.missing", f"{kind} {of or shortened(sha256)}", detail)
    yield Proven(TOPIC, f"{len(case.manifest.objects)} objects: those that the log names, byte by byte, and no others")


def _wanted(case: Case) -> Iterator[_Key]:
    for each in case.issued:
        yield bundle.CERTIFICATE, each.row.certificate, each.row.about
        grounds = each.row.grounds
        if grounds is not None:
            yield bundle.POLICY, "", grounds.policy
            yield bundle.AUTHORITY, "", grounds.issuer
            if grounds.result_key:
                yield bundle.RESULT_KEY, "", grounds.result_key
    for each in case.acts(BIRTH):
        yield bundle.BIRTH_RECORD, each.row.certificate, each.row.about
        yield bundle.RIG, "", each.row.fingerprint
    for each in case.acts(PROPOSE, *RULINGS):
        kind = bundle.PROPOSAL if each.row.act == PROPOSE else bundle.RULING
        yield kind, each.row.unit_serial or each.row.order, each.row.about
        yield bundle.OFFICER, "", each.row.fingerprint
    for each in case.threads.get(TRUST_ACT, ()):
        yield bundle.TRUST, "", each.row.about
    for each in case.threads.get(CONFIGURATION_ACT, ()):
        yield bundle.CONFIGURATION, "", each.row.about


def _wanted_by_objects(case: Case) -> Iterator[_Key]:
    """Yield what objects name that the log names. One that cannot be read names nothing; it is a finding elsewhere."""
    for each in case.held(bundle.POLICY):
        try:
            yield from ((bundle.POLICY_FILE, "", sha256) for sha256 in files_of_canonical(each.content).values())
        except DecodeError:
            continue
    for each in case.held(bundle.TRUST):
        try:
            document = read_trust_document(each.content)
        except DecodeError:
            continue
        yield from ((bundle.AUTHORITY, "", sha256) for sha256 in (*document.anchors, *document.intermediates))


def _allowed(case: Case) -> Iterator[_Key]:
    """Yield what may be there on request: the evidence that a certificate does not carry."""
    for each in case.issued:
        grounds = each.row.grounds
        if grounds is not None and grounds.result_key:
            yield bundle.EVIDENCE, each.row.certificate, grounds.evidence
