# SPDX-License-Identifier: Apache-2.0
"""
What the issuing authority answers when it does not issue.

CAError
├── Refused     a demand is not met; answered with `status` (4xx) and audited
├── Pending     accepted, but somebody has to decide first; answered with 202, and to be repeated as it is
├── NotNow      the store or the issuing key does not work; answered with 503, and worth a repeat
└── LedgerRefused  a restored ledger is not the one to go on with (ca/upkeep/errors.py)
"""

from birthmark.core.errors import BirthmarkError


class CAError(BirthmarkError):
    """Root: the issuing authority did not do what was asked. `status` is the HTTP status that says so."""

    default_finding = "ca.failed"
    status = 500
    retry_after_s = 0
    """Seconds after which the same request may succeed; 0 where waiting does not help."""


class Refused(CAError):
    """A request that fails a demand."""

    default_finding = "ca.refused"

    def __init__(self, status: int, finding: str, reason: str, *, hint: str = "", retry_after_s: int = 0) -> None:
        super().__init__(reason, hint=hint, finding=finding)
        self.status = status
        self.retry_after_s = retry_after_s


class Pending(CAError):
    """A good request whose certificate is not ready (RFC 7030 §4.2.3): the same one, later, gets it."""

    default_finding = "ca.pending"
    status = 202

    def __init__(self, finding: str, reason: str, *, hint: str = "", retry_after_s: int) -> None:
        super().__init__(reason, hint=hint, finding=finding)
        self.retry_after_s = retry_after_s


class NotNow(CAError):
    """Nothing is wrong with the request; the same one may be sent again."""

    default_finding = "ca.not-now"
    status = 503

    def __init__(self, finding: str, reason: str, *, hint: str = "", retry_after_s: int) -> None:
        super().__init__(reason, hint=hint, finding=finding)
        self.retry_after_s = retry_after_s
