# SPDX-License-Identifier: Apache-2.0
"""
The outcome of an appraisal: findings with dotted ids, and never a bool.

Two doors: `appraise()` (evidence/appraisal.py) returns a Verdict to look at; `require()` returns the attested key or
raises AppraisalRefused.
"""

from dataclasses import dataclass, field
from typing import NoReturn

from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import BirthmarkError


class AppraisalRefused(BirthmarkError):
    """The evidence was appraised and is not accepted. `finding` is the first finding's id."""

    default_finding = "evidence.refused"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason against the evidence. `id` is dotted and stable, `detail` is for people."""

    id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chip:
    """The chip as its endorsed AK certificate names it."""

    maker: str
    model: str
    serial: str
    firmware: str
    certification: str


@dataclass(frozen=True, slots=True)
class AttestedKey:
    """A key that an endorsed chip has proven to hold."""

    spki: bytes
    nonce: bytes
    chip: Chip
    statement_type: ObjectIdentifier
    ak_fingerprint: str
    """SHA-256 of the attestation key's SubjectPublicKeyInfo, in hexadecimal (`AttestationKey.fingerprint`)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an appraisal found. Has no truth value: ask `require`."""

    findings: tuple[Finding, ...]
    steps: tuple[str, ...] = field(default=())
    """Ids of the checks that were passed, in order: what `birthmark verify` prints."""
    attested: AttestedKey | None = None

    def __bool__(self) -> NoReturn:
        """Refuse: a verdict that is ignored by a careless `if` would be trust by accident."""
        raise TypeError("a Verdict is not a bool; call require(verdict)")


def require(verdict: Verdict) -> AttestedKey:
    """
    Return the attested key of a verdict without findings.

    Raises:
        AppraisalRefused: there is a finding, or nothing was attested.

    """
    if verdict.findings:
        first = verdict.findings[0]
        raise AppraisalRefused(first.detail, finding=first.id)
    if verdict.attested is None:
        raise AppraisalRefused("nothing was attested", finding="evidence.missing")
    return verdict.attested
