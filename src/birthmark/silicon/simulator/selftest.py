# SPDX-License-Identifier: Apache-2.0
"""What the chip tries on itself before it takes its first command, as a certified one has to (FIPS 140-3, AS10)."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from birthmark.core.errors import ConfigError
from birthmark.silicon.simulator.keys import KeyType, new_key, open_key, sign_condensed

_DIGEST = hashlib.sha256(b"birthmark simulated chip self-test").digest()
_SCHEME = ec.ECDSA(Prehashed(hashes.SHA256()))


def self_test() -> None:
    """
    Make a key, sign with it and verify the signature; nothing of it is kept.

    Raises:
        ConfigError: this machine's cryptography does not work.

    """
    key = open_key(new_key(KeyType.P256))
    if not _verifies(key.public_key(), sign_condensed(key, _DIGEST) or b""):
        raise ConfigError("the chip's self-test failed: what it signs does not verify")


def _verifies(public: object, signature: bytes) -> bool:
    try:
        if isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, _DIGEST, _SCHEME)
            return True
    except InvalidSignature:
        pass
    return False
