# SPDX-License-Identifier: Apache-2.0
"""
Whether a key signs: a signature that is good for nothing else.

What is signed begins with a zero byte. Everything else that keys of an authority sign begins otherwise: certificates,
revocation lists and OCSP answers with the SEQUENCE tag 0x30 (X.690), checkpoints and JWS with text. So no signature of
a probe can ever be put under one of them.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from birthmark.pki.algorithms import SigningKey, sign_data, verify_data
from birthmark.pki.errors import KeyStoreError

PROBE_PREFIX: Final = b"\x00birthmark health probe v1\x00"
PROBE_RANDOM_BYTES: Final = 32


def probe(key: SigningKey) -> None:
    """
    Pass a key that signs now, and rightly.

    Raises:
        KeyStoreError: it cannot sign, or signs with another key than its public half says (key.probe).

    """
    challenge = PROBE_PREFIX + secrets.token_bytes(PROBE_RANDOM_BYTES)
    try:
        verify_data(key.public_key(), sign_data(key, challenge), challenge)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError) as error:
        raise KeyStoreError("the key signs wrongly", hint="do not go on with it", finding="key.probe") from error
