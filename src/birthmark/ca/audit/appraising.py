# SPDX-License-Identifier: Apache-2.0
"""
The evidence of each certificate, appraised afresh: under the policy that the log says was in force, as of its issue.

The function is the one that the CA appraises with (`evidence.appraisal`), the policy that of the bundle.
What it finds must be what the log says that the CA found. Where the certificate carries the CA's signed result in place
of the evidence, the result is appraised, and the evidence too if it is in the bundle.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from cryptography import x509

from birthmark.ca.audit.case import Case, Entry, shortened
from birthmark.ca.audit.certificates import spki_of
from birthmark.ca.audit.findings import AuditFinding, Proven, Told, Unproven
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core.audit import FIRMWARE_MAX, POLICY_ACT, Grounds
from birthmark.core.errors import BirthmarkError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.bundle import read_bundle
from birthmark.evidence.ear import AttestationResult, ResultSigners, read_ear
from birthmark.evidence.eligibility import ineligible
from birthmark.evidence.endorsements import Endorsements, key_fingerprint, read_canonical
from birthmark.evidence.errors import EvidenceError
from birthmark.evidence.result import appraise_result
from birthmark.evidence.verdict import AttestedKey, Verdict
from birthmark.pki.algorithms import public_key_of, verifying_key
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.errors import PathError
from birthmark.pki.extensions import key_identifier
from birthmark.pki.paths import Purpose, validate_path
from birthmark.pki.reading import UNREADABLE

TOPIC: Final = "evidence"
POLICY_TOPIC: Final = "policy"
POLICY_CHANGE_MAX: Final = timedelta(minutes=15)
"""Workers that make room for others, one after the other, may go on under the policy of before for so long."""
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Subject:
    """One certificate to appraise: its entry, what the log says of it, itself, and the policy that was in force."""

    entry: Entry
    grounds: Grounds
    certificate: x509.Certificate
    policy: Endorsements

    @property
    def name(self) -> str:
        return f"{bundle.CERTIFICATE} {self.entry.row.certificate}"

    @property
    def at(self) -> datetime:
        return self.entry.row.at


def check_evidence(case: Case) -> Iterator[Told]:
    """Pass certificates whose evidence holds under the policy of then, and says what the log says it said."""
    policies: dict[str, Endorsements | AuditFinding] = {}
    for entry in case.issued:
        certificate = case.certificate(bundle.CERTIFICATE, entry.row.about)
        grounds = entry.row.grounds
        if certificate is None or grounds is None:
            continue
        yield from _check_in_force(case, entry, grounds)
        if grounds.policy not in policies:
            policies[grounds.policy] = _policy(case, grounds.policy)
        policy = policies[grounds.policy]
        if isinstance(policy, AuditFinding):
            yield policy
            continue
        yield from _check_subject(case, _Subject(entry, grounds, certificate, policy))
    yield Unproven(TOPIC, "that the nonces in the evidence were fresh: the CA alone knows them")


def _check_in_force(case: Case, entry: Entry, grounds: Grounds) -> Iterator[Told]:
    serial, policy = entry.row.certificate, shortened(grounds.policy)
    before = [each for each in case.threads.get(POLICY_ACT, ()) if each.number < entry.number]
    used = [number for number, each in enumerate(before) if each.row.about == grounds.policy]
    if not used:
        yield AuditFinding("audit.policy", f"{bundle.CERTIFICATE} {serial}", f"policy {policy} was not in force before")
        return
    replaced = next(iter(before[used[-1] + 1 :]), None)
    if replaced is None:
        yield Proven(POLICY_TOPIC, f"{serial} issued under {policy}…, in force since entry {before[used[-1]].number}")
        return
    late = entry.row.at - replaced.row.at
    told = (
        f"issued under {policy}…, {late.total_seconds():.0f} s after entry {replaced.number} had put another in force"
    )
    if late > POLICY_CHANGE_MAX:
        yield AuditFinding("audit.policy", f"{bundle.CERTIFICATE} {serial}", told)
    else:
        yield Proven(POLICY_TOPIC, f"{serial} {told}: while workers were replaced")


def _policy(case: Case, digest: str) -> Endorsements | AuditFinding:
    """Return the policy whose canonical form has this digest, with the content of the files that it names."""
    canonical = case.content(bundle.POLICY, digest)
    name = f"{bundle.POLICY} {shortened(digest)}"
    if canonical is None:
        return AuditFinding("audit.policy", name, "its text is not there")
    try:
        found = read_canonical(canonical, {each.sha256: each.content for each in case.held(bundle.POLICY_FILE)})
    except BirthmarkError as error:
        return AuditFinding("audit.policy", name, f"{error.finding}: {error.message}")
    if found.digest != digest:
        return AuditFinding("audit.policy", name, "its text is another one's")
    return found


def _check_subject(case: Case, subject: _Subject) -> Iterator[Told]:
    try:
        record, value = read_cmw_record(subject.certificate)
        spki = spki_of(subject.certificate)
    except (DecodeError, *UNREADABLE) as error:
        yield AuditFinding("audit.evidence", subject.name, str(error))
        return
    if record is Record.EVIDENCE:
        yield from _check_raw(case, subject, value, spki)
        return
    yield from _check_result(case, subject, value, spki)
    kept = case.content(bundle.EVIDENCE, subject.grounds.evidence)
    if kept is not None:
        yield from _check_raw(case, subject, kept, spki)
    else:
        told = "the chip's own evidence is not in the bundle: the CA's signed result is believed"
        yield Unproven(TOPIC, f"{subject.entry.row.certificate}: {told}")


# --- evidence --------------------------------------------------------------------------------------------------


def _check_raw(case: Case, subject: _Subject, evidence: bytes, spki: bytes) -> Iterator[Told]:
    if fingerprint(evidence) != subject.grounds.evidence:
        yield AuditFinding("audit.evidence.differs", subject.name, "the log was told of other evidence")
    verdict = appraise(evidence, spki, subject.policy, subject.at)
    yield from _check_verdict(subject, verdict)
    if verdict.attested is not None:
        yield from _check_root(case, subject, evidence)


def _check_verdict(subject: _Subject, verdict: Verdict) -> Iterator[Told]:
    attested = verdict.attested
    findings = list(verdict.findings)
    if attested is not None:
        findings += ineligible(attested, subject.grounds.profile, subject.policy, subject.at)
    for found in findings:
        yield AuditFinding("audit.evidence", subject.name, f"{found.id}: {found.detail}")
    if attested is None:
        return
    wrong = [(what, now, then) for what, now, then in _compared(subject, attested) if now != then]
    for what, now, then in wrong:
        detail = f"appraised again: {what} {now}; the log says {then or 'nothing'}"
        yield AuditFinding("audit.evidence.differs", subject.name, detail)
    if not findings and not wrong:
        chip = f"{attested.chip.model} {attested.chip.serial} by {attested.chip.maker}"
        yield Proven(
            TOPIC, f"{subject.entry.row.certificate}: its key was made in {chip} ({attested.chip.certification})"
        )


def _compared(subject: _Subject, attested: AttestedKey) -> Iterator[tuple[str, str, str]]:
    chip, grounds = attested.chip, subject.grounds
    yield "chip", chip.serial, subject.entry.row.chip_serial
    yield "maker", chip.maker, grounds.maker
    yield "model", chip.model, grounds.model
    yield "firmware", chip.firmware[:FIRMWARE_MAX], grounds.firmware
    yield "statement", attested.statement_type.dotted_string, grounds.statement
    yield "attestation key", attested.ak_fingerprint, grounds.ak


def _check_root(case: Case, subject: _Subject, evidence: bytes) -> Iterator[Told]:
    """Pass an AK under a root that the auditor trusts; the policy's word is taken where they were given none."""
    leaf, *others = read_bundle(evidence).certificates
    try:
        root = validate_path(leaf, others, subject.policy.trust, subject.at, Purpose.ATTESTATION_KEY)[-1]
    except PathError as error:
        yield AuditFinding("audit.evidence.root", subject.name, error.message)
        return
    who, sha256 = root.subject.rfc4514_string(), key_fingerprint(root)
    if case.given.chip_roots is None:
        yield Unproven(
            TOPIC, f"that {who} is the chip maker's root: give it (--chipmaker-root), key {shortened(sha256)}…"
        )
    elif sha256 not in case.given.chip_roots:
        yield AuditFinding(
            "audit.evidence.root", subject.name, f"the policy believes {who}, a root that you did not give"
        )
    else:
        yield Proven(TOPIC, f"{subject.entry.row.certificate}: attested under {who}, a root that you gave")


# --- results ---------------------------------------------------------------------------------------------------


def _check_result(case: Case, subject: _Subject, token: bytes, spki: bytes) -> Iterator[Told]:
    """Pass a result of the key that the log names, that says what the log says, under a policy of its time."""
    try:
        signers = _signers(case.content(bundle.RESULT_KEY, subject.grounds.result_key))
        result = read_ear(token, signers)
    except (EvidenceError, DecodeError) as error:
        yield AuditFinding("audit.evidence", subject.name, f"{error.finding}: {error.message}")
        return
    yield from _check_verdict(subject, appraise_result(token, spki, signers, subject.policy, subject.at))
    if result.evidence_sha256 != subject.grounds.evidence:
        yield AuditFinding("audit.evidence.differs", subject.name, "the result is about other evidence than the log")
    if result.policy_sha256 not in {subject.grounds.policy, *_in_force_since(case, subject.entry, result)}:
        detail = f"the result is of policy {shortened(result.policy_sha256)}, which was not in force then"
        yield AuditFinding("audit.policy", subject.name, detail)


def _in_force_since(case: Case, entry: Entry, result: AttestationResult) -> set[str]:
    """Return the policies that were in force from the second of the result until the entry of the certificate."""
    known = [each for each in case.threads.get(POLICY_ACT, ()) if each.number < entry.number]
    before = [each for each in known if each.row.at < result.issued_at + _SECOND][-1:]
    return {each.row.about for each in known if each in before or each.row.at >= result.issued_at}


def _signers(spki: bytes | None) -> ResultSigners:
    if spki is None:
        raise DecodeError("the key of the attestation result is not there", finding="evidence.result.signer")
    return _signers_of(spki)


@lru_cache(maxsize=8)
def _signers_of(spki: bytes) -> ResultSigners:
    try:
        key = verifying_key(public_key_of(spki))
    except (BirthmarkError, *UNREADABLE) as error:
        raise DecodeError(f"the key of the result cannot be read: {error}", finding="evidence.result.signer") from error
    return ResultSigners({key_identifier(key): key})
