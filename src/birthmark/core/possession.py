# SPDX-License-Identifier: Apache-2.0
"""The digest that a chip signs to prove possession: of nothing else that it ever signs."""

import hashlib

CHALLENGE_BYTES = 32
_DOMAIN = b"birthmark possession v1\x00"


def possession_digest(challenge: bytes, certificate_der: bytes) -> bytes:
    """
    Return the 32-byte SHA-256 digest that binds a fresh challenge to one certificate.

    The domain prefix keeps a challenge from being the digest of a CSR or of a TLS transcript.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise ValueError(f"a challenge has {CHALLENGE_BYTES} bytes")
    return hashlib.sha256(_DOMAIN + challenge + hashlib.sha256(certificate_der).digest()).digest()
