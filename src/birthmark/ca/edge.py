# SPDX-License-Identifier: Apache-2.0
"""What every edge of the authority needs: who the TLS client of a request is, and how a request is refused."""

import functools

from cryptography import x509
from starlette.requests import Request

from birthmark.ca.demands import MALFORMED, Client
from birthmark.ca.errors import CAError, Pending, Refused
from birthmark.core.errors import BirthmarkError
from birthmark.est import server
from birthmark.est.errors import ESTRefusal
from birthmark.est.server import ESTAnswer
from birthmark.net.asgi import Scope, peer
from birthmark.net.errors import BodyRefused

CHAINS_KEPT = 256
"""Chains that are kept in their parsed form: a client comes with the same one again and again."""


def client_of(request: Request) -> Client | None:
    """Return the TLS client. Refused: ca.1.certificate."""
    return client_in(request.scope)


def client_in(scope: Scope) -> Client | None:
    """Return the TLS client. Refused: ca.1.certificate."""
    presented = peer(scope)
    if presented.leaf is None:
        return None
    try:
        # The chain begins with the leaf again, which is no intermediate.
        leaf, *chain = _parsed((presented.leaf, *presented.chain[1:]))
    except ValueError as error:
        raise Refused(MALFORMED, "ca.1.certificate", "the TLS client's certificate cannot be read") from error
    return Client(leaf, tuple(chain), presented.bindings)


def refusal(error: BirthmarkError) -> ESTAnswer:
    """Return the answer that says so."""
    match error:
        case Pending():
            return server.pending_answer(error, error.retry_after_s)
        case CAError():
            return server.refusal_answer(error.status, error, error.retry_after_s or None)
        case ESTRefusal() | BodyRefused():
            return server.refusal_answer(error.status, error)
    return server.refusal_answer(500, error)


@functools.lru_cache(CHAINS_KEPT)
def _parsed(chain: tuple[bytes, ...]) -> tuple[x509.Certificate, ...]:
    return tuple(map(x509.load_der_x509_certificate, chain))
