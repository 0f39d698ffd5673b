# SPDX-License-Identifier: Apache-2.0
"""
Attestation results in place of evidence: made of a verdict by the CA, appraised by whoever finds one in a certificate.

Both ways lead to the same Verdict. What an appraisal of evidence proves by itself, a result only says; so its signer is
believed in place of the chip's maker, and what has changed since it was made is asked again: model, chip, attestation
key and firmware under the endorsements of today. A CA for attestation keys that was denied since cannot be asked for,
since a result does not name it: the issuing CA revokes those certificates.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import DecodeError
from birthmark.evidence.ear import AttestationResult, ResultSigners, VerifierID, read_ear
from birthmark.evidence.endorsements import ChipModel, Endorsements
from birthmark.evidence.errors import EvidenceError
from birthmark.evidence.firmware import read_version
from birthmark.evidence.verdict import AttestedKey, Chip, Finding, Verdict

CLOCKS_MAY_DIFFER: Final = timedelta(minutes=5)


def result_of(
    attested: AttestedKey, bundle: bytes, endorsements: Endorsements, verifier: VerifierID, at: datetime
) -> AttestationResult:
    """Return what there is to say of a key that was appraised under these endorsements at `at` (aware)."""
    return AttestationResult(
        key_sha256=_sha256(attested.spki),
        evidence_sha256=_sha256(bundle),
        nonce=attested.nonce,
        maker=attested.chip.maker,
        model=attested.chip.model,
        chip_serial=attested.chip.serial,
        firmware=attested.chip.firmware,
        certification=attested.chip.certification,
        statement_type=attested.statement_type.dotted_string,
        ak_sha256=attested.ak_fingerprint,
        policy_sha256=endorsements.digest,
        verifier=verifier,
        issued_at=at.astimezone(UTC).replace(microsecond=0),
    )


def appraise_result(
    token: bytes, spki: bytes, signers: ResultSigners, endorsements: Endorsements, at: datetime
) -> Verdict:
    """
    Return the verdict on a result as grounds for trust in the key `spki` (canonical DER), at the moment `at` (aware).

    Never raises on what a peer may send. The findings are those of `appraise`, and of the result itself:
    evidence.result.malformed | signer | signature | status | future
    """
    passed: list[str] = []
    try:
        result = read_ear(token, signers)
        statement_type = _oid(result.statement_type)
        passed.append("evidence.result")
        model = _model(result, endorsements, at)
        passed.append("evidence.model")
    except (DecodeError, EvidenceError) as error:
        return Verdict((Finding(error.finding, error.message),), tuple(passed))
    findings = (*_about_the_time(result, at), *_about_the_chip(result, model, endorsements), *_about(result, spki))
    if findings:
        return Verdict(findings, tuple(passed))
    chip = Chip(result.maker, model.id, result.chip_serial, result.firmware, model.certification)
    attested = AttestedKey(spki, result.nonce, chip, statement_type, result.ak_sha256)
    return Verdict((), (*passed, "evidence.chip", "evidence.key"), attested)


def _model(result: AttestationResult, endorsements: Endorsements, at: datetime) -> ChipModel:
    found = (each for each in endorsements.models if (each.maker, each.id) == (result.maker, result.model))
    model = next(found, None)
    if model is None:
        raise EvidenceError(f"no model {result.model} of {result.maker} is endorsed", finding="evidence.model.unknown")
    if model.is_withdrawn(at):
        raise EvidenceError(f"the endorsement of {model.id} was withdrawn", finding="evidence.model.withdrawn")
    if model.has_lost_its_certifications():
        raise EvidenceError(f"every certification of {model.id} is revoked", finding="evidence.certification.revoked")
    return model


def _about_the_time(result: AttestationResult, at: datetime) -> Iterator[Finding]:
    if result.issued_at > at + CLOCKS_MAY_DIFFER:
        yield Finding("evidence.result.future", f"the attestation result is of {result.issued_at.isoformat()}")


def _about_the_chip(result: AttestationResult, model: ChipModel, endorsements: Endorsements) -> Iterator[Finding]:
    if result.ak_sha256 in endorsements.denied_aks:
        yield Finding("evidence.ak.denied", f"attestation key {result.ak_sha256} is denied")
    if (model.maker, result.chip_serial) in endorsements.denied_chips:
        yield Finding("evidence.chip.denied", f"chip {result.chip_serial} of {model.maker} is denied")
    if not model.is_delivered(result.chip_serial):
        yield Finding("evidence.chip.undelivered", f"chip {result.chip_serial} is on no delivery manifest")
    if result.firmware in model.denied_firmware:
        yield Finding("evidence.firmware.denied", f"firmware {result.firmware} of {model.id} is denied")
    version = read_version(result.firmware)
    if model.minimum_firmware is not None and (version is None or version < model.minimum_firmware):
        yield Finding("evidence.firmware.minimum", f"firmware {result.firmware} of {model.id} is too old")


def _about(result: AttestationResult, spki: bytes) -> Iterator[Finding]:
    if result.key_sha256 != _sha256(spki):
        yield Finding("evidence.key.mismatch", "the attestation result is about another key")


def _oid(text: str) -> ObjectIdentifier:
    try:
        return ObjectIdentifier(text)
    except ValueError as error:
        raise DecodeError(f"{text[:80]!r} is no object identifier", finding="evidence.result.malformed") from error


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
