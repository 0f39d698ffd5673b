# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong between an EST client and an EST server.

ESTError
├── ESTRefusal          server: this request gets a 4xx or 5xx, with a dotted id and a reason
├── NotLinked           server: the request's channel binding is not this session's
└── ESTClientError
    ├── ESTClientRefused    client: the server said no, or not yet
    └── ESTUnexpected       client: the server answered with something that is not the EST answer
"""

from collections.abc import Mapping
from types import MappingProxyType

from birthmark.core.errors import BirthmarkError


class ESTError(BirthmarkError):
    """Root: an EST exchange failed."""

    default_finding = "est.failed"


class ESTRefusal(ESTError):
    """A request that is answered with `status` (4xx or 5xx) and `headers`, names in lower case."""

    default_finding = "est.refused"

    def __init__(self, status: int, finding: str, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason, finding=finding)
        self.status = status
        self.reason = reason
        self.headers: Mapping[str, str] = MappingProxyType(dict(headers or {}))


class NotLinked(ESTError):
    """A challengePassword that is not a channel binding of the TLS session that the request came over."""

    default_finding = "est.not-linked"


class ESTClientError(ESTError):
    """Root of what a client meets."""


class ESTClientRefused(ESTClientError):
    """
    The server refused (4xx, 5xx) or asks to come again (202, 503).

    `finding` is the server's dotted id when it sent one, else "est.refused". `retry_after_s` is what the server asked
    to wait, or None when it did not say so in seconds.
    """

    default_finding = "est.refused"
    default_hint = "see the operator of the CA"

    def __init__(self, status: int, finding: str, reason: str, retry_after_s: int | None = None) -> None:
        super().__init__(f"the EST server answered {status}: {reason}", finding=finding)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


class ESTUnexpected(ESTClientError):
    """The status said success, but media type, encoding or content is not what the operation returns."""

    default_finding = "est.unexpected-answer"
    default_hint = "is ca_url the right server?"
