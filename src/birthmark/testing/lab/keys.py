# SPDX-License-Identifier: Apache-2.0
"""The lab's issuing key, wherever its ceremony has put it: opened again by who plays its thief."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.keys import software
from birthmark.testing.lab import softhsm


@contextmanager
def issuing_key(directory: Path) -> Iterator[SigningKey]:
    """Lend the issuing key of a lab."""
    if (directory / "hsm").exists():
        with softhsm.opened(directory) as token:
            yield token.key(softhsm.KEY)
        return
    passphrase = read_secret(directory / "pki" / "issuing.passphrase")
    yield software.load_encrypted(directory / "pki" / "issuing.key", passphrase)
