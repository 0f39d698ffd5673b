# SPDX-License-Identifier: Apache-2.0
"""
Judging an audit bundle offline, as an outsider: with the log's verifier key and the chip makers' roots.

Everything is looked at, and each piece that does not hold is a finding of its own that names it. What is proven and
what is not stands in the judgement itself, and in docs/reference/audit.md.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from birthmark.ca.audit.appraising import check_evidence
from birthmark.ca.audit.case import Case, Entry, Given
from birthmark.ca.audit.certificates import check_births, check_certificates
from birthmark.ca.audit.findings import AuditFinding, Judgement, Proven, Told, Unproven
from birthmark.ca.audit.history import check_history, opened, read_entries
from birthmark.ca.audit.life import lives
from birthmark.ca.audit.objects import check_objects
from birthmark.ca.audit.orders import check_orders
from birthmark.ca.audit.persons import check_persons
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core.audit import TRUST_ACT
from birthmark.tlog.bundle import decode_bundle
from birthmark.tlog.keys import VerifierKey

_CHECKS: Final = (check_objects, check_persons, check_orders, check_certificates, check_births, check_evidence)
NOTHING_GIVEN: Final = Given()


def judge_audit_bundle(data: bytes, keys: Sequence[VerifierKey], given: Given = NOTHING_GIVEN) -> Judgement:
    """
    Return what there is to say of a bundle.

    Raises:
        DecodeError: audit.bundle, decode.malformed: not a bundle, or not in its one form.

    """
    told, manifest, proven = bundle.decode_bundle(data)
    proofs = decode_bundle(proven)
    checkpoint = opened(proofs, keys)
    if isinstance(checkpoint, AuditFinding):
        # Who signed for the entries is unknown: nothing that they say is worth looking at.
        return _judged(Case(manifest, (), given, ""), 0, [checkpoint])
    read = tuple(read_entries(proofs, checkpoint))
    case = Case(manifest, tuple(each for each in read if isinstance(each, Entry)), given, checkpoint.origin)
    found: list[Told] = [each for each in read if isinstance(each, AuditFinding)]
    size = checkpoint.head.size
    found.append(Proven("history", f"{len(case.entries)} entries are in the log {checkpoint.origin} of {size}"))
    found += check_history(case, told)
    for check in _CHECKS:
        found += check(case)
    found += _trust(case)
    return _judged(case, size, found)


def _judged(case: Case, size: int, told: Sequence[Told]) -> Judgement:
    about = {each.number for each in case.threads[case.unit_thread]}
    findings = tuple(dict.fromkeys(each for each in told if isinstance(each, AuditFinding)))
    # Of a bundle with a finding nothing is proven: what is missing may be what would contradict it.
    proven = () if findings else tuple(dict.fromkeys(each for each in told if isinstance(each, Proven)))
    return Judgement(
        unit_serial=case.manifest.unit_serial,
        log=case.authority,
        log_size=size,
        complete_until=case.manifest.made_at,
        manifest=case.manifest,
        rows=tuple((each.number, each.row) for each in case.entries if each.number in about),
        others=tuple((each.number, each.row) for each in case.entries if each.number not in about),
        lives=tuple(lives(case)),
        findings=findings,
        proven=proven,
        unproven=tuple(dict.fromkeys(each for each in told if isinstance(each, Unproven))),
    )


def _trust(case: Case) -> Iterator[Told]:
    """Say by whose word CAs were believed."""
    first = next(iter(case.threads.get(TRUST_ACT, ())), None)
    if first is not None and first.number > case.first_needed:
        yield Unproven("trust", f"which CAs were believed before entry {first.number}: the log says so from then on")
    if case.given.trust is None:
        count = sum(1 for _ in case.held(bundle.AUTHORITY))
        yield Unproven("trust", f"that the {count} CAs which the log says were believed are the customer's (--trust)")
    else:
        yield Proven("trust", "certificates, rigs and persons chain to the root that you gave")
