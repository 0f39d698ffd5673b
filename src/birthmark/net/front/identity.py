# SPDX-License-Identifier: Apache-2.0
"""
`x-forwarded-client-cert` as Envoy writes it: `Hash=<SHA-256 of the leaf>;Chain="<PEM, percent-encoded>"`.

The header is believed on one kind of connection alone: one that the front opened (`front.worker`). Read strictly all
the same: one element with these two members, once each, and a hash that is the leaf's. Anything else means that front
and worker do not understand each other, or that somebody between them does.
"""

import binascii
import functools
import hashlib
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from birthmark.net.asgi import Peer
from birthmark.net.errors import IdentityRefused

HEADER: Final = b"x-forwarded-client-cert"
IDENTITY_MAX_BYTES: Final = 131_072
"""Room for nine certificates with the largest post-quantum signatures."""
CHAIN_MAX_CERTIFICATES: Final = 9
IDENTITIES_KEPT: Final = 256
"""Headers whose meaning is remembered: a kept-alive connection repeats its own with every request."""

_ELEMENT: Final = re.compile(rb'Hash=([0-9a-f]{64});Chain="((?:[A-Za-z0-9_.~-]|%[0-9A-F]{2})+)"')
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----\n((?:[A-Za-z0-9+/=]{1,64}\n)+)-----END CERTIFICATE-----\n"
)


@functools.lru_cache(IDENTITIES_KEPT)
def read_identity(header: bytes) -> Peer:
    """
    Return the TLS client that the header describes; its chain is what the client sent, the leaf first.

    Raises:
        IdentityRefused: any other form than Envoy's.

    """
    if len(header) > IDENTITY_MAX_BYTES:
        raise IdentityRefused(f"a client's identity of {len(header)} bytes; at most {IDENTITY_MAX_BYTES} are read")
    element = _ELEMENT.fullmatch(header)
    if element is None:
        raise IdentityRefused("the client's identity is not one element with Hash and Chain")
    chain = _chain(unquote_to_bytes(element[2]))
    if hashlib.sha256(chain[0]).hexdigest().encode() != element[1]:
        raise IdentityRefused("the client's identity names another certificate than it carries")
    return Peer(chain[0], chain)


def _chain(pem: bytes) -> tuple[bytes, ...]:
    found = list(_CERTIFICATE.finditer(pem))
    # All of the text must be certificates: what stands between them would not be seen.
    if b"".join(each[0] for each in found) != pem or not 1 <= len(found) <= CHAIN_MAX_CERTIFICATES:
        raise IdentityRefused(f"the client's chain is not 1 to {CHAIN_MAX_CERTIFICATES} certificates in PEM")
    try:
        return tuple(binascii.a2b_base64(each[1].replace(b"\n", b""), strict_mode=True) for each in found)
    except binascii.Error as error:
        raise IdentityRefused("a certificate of the client's chain is not base64") from error
