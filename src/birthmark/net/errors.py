# SPDX-License-Identifier: Apache-2.0
"""
What can go wrong on the network.

NetError
├── ListenFailed        server: the address cannot be listened on
├── BodyRefused         server: a request body that is too large, too slow or cut off; carries the HTTP status
├── FrontFailed         server: the TLS front or a worker behind it did not start, or has ended
├── FrontUntrusted      server: others than the front could reach a worker
├── IdentityRefused     server: the front says in an unknown way who the client is
├── Unreachable         client: no connection, or it broke before the whole answer was there
├── AnswerRefused       client: the answer is not HTTP, or larger than we read
└── TLSFailed           client: no TLS session
    ├── TLSRefused      the server refused us; the finding names its alert, e.g. tls.unknown-ca
    └── TLSUntrusted    we refused the server's certificate

TLS files that cannot be used (missing, not PEM, key of another certificate) are a core.errors.ConfigError.
"""

from birthmark.core.errors import BirthmarkError


class NetError(BirthmarkError):
    """Root: the network, or the peer behind it, failed us."""

    default_finding = "net.failed"


class ListenFailed(NetError):
    """The operating system does not let us listen on this address."""

    default_finding = "net.listen"


class BodyRefused(NetError):
    """A request body that is not read to its end. `status` is the HTTP status to answer with."""

    default_finding = "net.body"

    def __init__(self, status: int, finding: str, message: str) -> None:
        super().__init__(message, finding=finding)
        self.status = status


class FrontFailed(NetError):
    """The TLS front, or a worker behind it, did not start or has ended."""

    default_finding = "net.front.failed"


class FrontUntrusted(NetError):
    """A worker would believe identities from others than the front: it does not start."""

    default_finding = "net.front.untrusted"


class IdentityRefused(NetError):
    """What the front says of its client is not in the form that was agreed on."""

    default_finding = "net.front.identity"


class Unreachable(NetError):
    """Refused, timed out, reset or not resolved. Whether the server acted on the request is unknown."""

    default_finding = "net.unreachable"


class AnswerRefused(NetError):
    """The server's answer breaks HTTP or one of our limits."""

    default_finding = "net.answer"
    default_hint = "is that the right server?"


class TLSFailed(NetError):
    """The TLS handshake failed for a reason other than a certificate."""

    default_finding = "tls.failed"
    default_hint = "is that the right server, and does it speak TLS 1.2 or 1.3?"


class TLSRefused(TLSFailed):
    """The server ended TLS with an alert. With TLS 1.3 it may come only when the first answer is read."""

    default_finding = "tls.refused"


class TLSUntrusted(TLSFailed):
    """The server's certificate does not lead to one of the given anchors, or is not for this host, or not now."""

    default_finding = "tls.untrusted-server"
