# SPDX-License-Identifier: Apache-2.0
"""The lab's issuing key, wherever it is kept: made once, and opened again by who plays its thief."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.pki.algorithms import KeyAlgorithm, SigningKey
from birthmark.pki.keys import software
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.ceremony import write_secret


@contextmanager
def new_issuing_key(directory: Path, *, hsm: bool) -> Iterator[SigningKey]:
    """
    Make the log's key and the issuing key, which is returned.

    In a token, or in software: encrypted at rest, the passphrase in a file of its own.
    """
    if hsm:
        softhsm.make_token(directory)
        with softhsm.opened(directory) as token:
            token.generate(softhsm.LOG_KEY, softhsm.ALGORITHM)
            yield token.generate(softhsm.KEY, softhsm.ALGORITHM)
        return
    key = ec.generate_private_key(ec.SECP256R1())
    passphrase = secrets.token_urlsafe(24).encode()
    write_secret(directory / "pki" / "issuing.passphrase", passphrase)
    software.save_encrypted(directory / "pki" / "issuing.key", key, passphrase)
    software.save_encrypted(directory / "pki" / "log.key", software.generate(KeyAlgorithm.ED25519), passphrase)
    yield key


@contextmanager
def issuing_key(directory: Path) -> Iterator[SigningKey]:
    """Lend the issuing key of a lab."""
    if (directory / "hsm").exists():
        with softhsm.opened(directory) as token:
            yield token.key(softhsm.KEY)
        return
    passphrase = (directory / "pki" / "issuing.passphrase").read_bytes()
    yield software.load_encrypted(directory / "pki" / "issuing.key", passphrase)
