# SPDX-License-Identifier: Apache-2.0
"""What every edge of the authority needs of a request: who its TLS client is."""

from cryptography import x509
from starlette.requests import Request

from birthmark.ca.demands import MALFORMED, Client
from birthmark.ca.errors import Refused
from birthmark.net.asgi import peer


def client_of(request: Request) -> Client | None:
    """Return the TLS client. Refused: ca.1.certificate."""
    presented = peer(request.scope)
    if presented.leaf is None:
        return None
    try:
        leaf = x509.load_der_x509_certificate(presented.leaf)
        # The chain begins with the leaf again, which is no intermediate.
        chain = tuple(x509.load_der_x509_certificate(each) for each in presented.chain[1:])
    except ValueError as error:
        raise Refused(MALFORMED, "ca.1.certificate", "the TLS client's certificate cannot be read") from error
    return Client(leaf, chain, presented.bindings)
