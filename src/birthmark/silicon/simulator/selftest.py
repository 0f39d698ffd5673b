# SPDX-License-Identifier: Apache-2.0
"""What the chip tries on itself before it takes its first command, as a certified one has to (FIPS 140-3, AS10)."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from birthmark.core.errors import ConfigError
from birthmark.silicon.simulator.memory import new_key, open_key

_DIGEST = hashlib.sha256(b"birthmark simulated chip self-test").digest()
_SCHEME = ec.ECDSA(Prehashed(hashes.SHA256()))


def self_test() -> None:
    """
    Make a key, sign with it and verify the signature; nothing of it is kept.

    Raises:
        ConfigError: this machine's cryptography does not work.

    """
    key = open_key(new_key(ec.SECP256R1()))
    try:
        key.public_key().verify(key.sign(_DIGEST, _SCHEME), _DIGEST, _SCHEME)
    except InvalidSignature as error:
        raise ConfigError("the chip's self-test failed: what it signs does not verify") from error
