# SPDX-License-Identifier: Apache-2.0
"""
A request that is linked to its TLS session (RFC 7030 §3.5): base64 of a channel binding in its challengePassword.

RFC 7030 knows tls-unique alone; TLS 1.3 has none, and RFC 9266 puts tls-exporter in its place, as RFC 9148 §3 does for
EST over CoAP. Whoever can sign a request with the binding of a session holds the key and takes part in the session.
"""

import base64
from collections.abc import Mapping

from birthmark.est.errors import NotLinked


def challenge_of(binding: bytes) -> str:
    """Return the challengePassword for a channel binding."""
    return base64.b64encode(binding).decode("ascii")


def require_linked(challenge: str, bindings: Mapping[str, bytes]) -> str:
    """
    Return the name of the channel binding that the challengePassword holds.

    Raises:
        NotLinked: it holds none of this session's, or the session has none that we know.

    """
    for name, binding in bindings.items():
        if challenge == challenge_of(binding):
            return name
    if not bindings:
        raise NotLinked("the request is linked to a TLS session by its challengePassword, and this one has no binding")
    raise NotLinked("the request is linked to another TLS session", hint="sign it anew with this session's binding")
