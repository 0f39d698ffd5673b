# SPDX-License-Identifier: Apache-2.0
"""What a chip signs to prove possession: nothing else that it ever signs looks like this."""

import hashlib

CHALLENGE_BYTES = 32
_DOMAIN = b"birthmark possession v1\x00"


def possession_message(challenge: bytes, certificate_der: bytes) -> bytes:
    """
    Return the message that binds a fresh challenge to one certificate; it is signed with the key's own scheme.

    The domain prefix keeps it from being a CSR or a TLS transcript.
    """
    if len(challenge) != CHALLENGE_BYTES:
        raise ValueError(f"a challenge has {CHALLENGE_BYTES} bytes")
    return _DOMAIN + challenge + hashlib.sha256(certificate_der).digest()
