# SPDX-License-Identifier: Apache-2.0
"""
What the edge hands to the authority, and what it gets back: one job per request, judged as far as that needs no ledger.

Jobs that come together are settled together, in few transactions (`CA.settle`).
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from birthmark.ca.demands import Caller, Candidate
from birthmark.ca.errors import CAError, Pending, Refused
from birthmark.ca.trail import Trail
from birthmark.core.audit import AuditRow, Grounds
from birthmark.core.birth import BirthRecord
from birthmark.core.issuance import Issuance, Order
from birthmark.pki.profiles import LintedCertificate


@dataclass(frozen=True, slots=True)
class Draft:
    """
    An intent, and its certificate ready to be signed; or the demand 9 that it does not meet.

    `grounds` are what the log will say of it; None where nothing will be signed.
    """

    intent: Issuance
    linted: LintedCertificate | Refused
    grounds: Grounds | None = None


@dataclass(frozen=True, slots=True)
class EnrolJob:
    """A first request that met demands 1 to 5. The draft is good as long as the order is still `order`."""

    candidate: Candidate
    trail: Trail
    order: Order
    draft: Draft


@dataclass(frozen=True, slots=True)
class RenewJob:
    """A device's request for its next certificate that met demands 1 to 5."""

    candidate: Candidate
    trail: Trail
    current: Issuance
    result: bytes | None = field(default=None, repr=False)
    """The signed attestation result, where the certificate will carry one."""


@dataclass(frozen=True, slots=True)
class NonceJob:
    """A request for a fresh nonce for one unit."""

    caller: Caller
    unit_serial: str
    trail: Trail


@dataclass(frozen=True, slots=True)
class BirthJob:
    """A birth record that its rig has signed."""

    rig: Caller
    record: BirthRecord
    token: str = field(repr=False)
    trail: Trail


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """A request that was refused before it needed the ledger. Where it has a row, it is answered once that is kept."""

    refusal: Refused | Pending
    row: AuditRow | None


IssueJob: TypeAlias = EnrolJob | RenewJob
Job: TypeAlias = EnrolJob | RenewJob | NonceJob | BirthJob | RefusedJob
Outcome: TypeAlias = bytes | CAError
"""The certificate (DER), the nonce, nothing (b"") for a birth that was taken; or why not."""
