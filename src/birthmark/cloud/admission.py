# SPDX-License-Identifier: Apache-2.0
"""
Admissions: a verdict that was reached once, and for how long it may be used again.

An admission holds for one certificate that nothing has revoked since, for its validity and at most ADMISSION_LIFETIME.
Outside of any of them the certificate is verified afresh. Refusals are never kept.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509

from birthmark.cloud.verification import Revocations
from birthmark.evidence.verdict import Verdict

ADMISSION_LIFETIME = timedelta(hours=1)
"""Bounds how late a change that no CRL announces (a model's withdrawal, an AK's end of validity) is noticed."""
ADMISSIONS_MAX = 100_000
"""About 100 MB; beyond, the admission that was made first is dropped and its device verified afresh."""


class Door(Enum):
    """How a certificate was let in: decided by its issuer."""

    ATTESTED = "attested"
    LEGACY = "legacy"


class Right(Enum):
    """What an admitted device may do."""

    TELEMETRY = "telemetry"
    COMMANDS = "commands"


RIGHTS = {Door.ATTESTED: (Right.TELEMETRY, Right.COMMANDS), Door.LEGACY: (Right.TELEMETRY,)}


@dataclass(frozen=True, slots=True)
class Revocable:
    """How a certificate is found among the revoked: its issuer's name and its serial."""

    issuer_name: x509.Name
    serial: int


@dataclass(frozen=True, slots=True)
class Admission:
    """One accepted certificate."""

    door: Door
    subject: str
    """The unit serial; at the legacy door the certificate's common name, which is shared by a whole SKU."""
    verdict: Verdict
    revocable: Revocable | None
    """None at the legacy door: no list speaks of its certificates."""
    holds_from: datetime
    holds_until: datetime

    @property
    def rights(self) -> tuple[Right, ...]:
        """What this device may do."""
        return RIGHTS[self.door]

    def holds(self, revocations: Revocations, at: datetime) -> bool:
        """Say whether the verdict may be used again; if not, the certificate has to be verified afresh."""
        if not self.holds_from <= at < self.holds_until:
            return False
        named = self.revocable
        return named is None or revocations.clear(named.issuer_name, named.serial, at)


class AdmissionCache:
    """Admissions by the SHA-256 of the certificate. One thread uses it."""

    def __init__(self, limit: int = ADMISSIONS_MAX) -> None:
        self._limit = limit
        self._held: OrderedDict[bytes, Admission] = OrderedDict()

    def find(self, fingerprint: bytes, revocations: Revocations, at: datetime) -> Admission | None:
        """Return an admission that still holds."""
        held = self._held.get(fingerprint)
        return held if held is not None and held.holds(revocations, at) else None

    def keep(self, fingerprint: bytes, admission: Admission) -> None:
        """Keep an admission; the oldest goes when there are too many."""
        self._held[fingerprint] = admission
        self._held.move_to_end(fingerprint)
        if len(self._held) > self._limit:
            self._held.popitem(last=False)

    def drop(self, fingerprint: bytes) -> None:
        """Forget the admission of a certificate."""
        self._held.pop(fingerprint, None)
