# SPDX-License-Identifier: Apache-2.0
"""The lab's issuing key, wherever it is kept: made once, and opened again by who plays its thief."""

import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.pki.keys import software
from birthmark.pki.keys.pkcs11 import Token
from birthmark.testing.lab import softhsm
from birthmark.testing.lab.ceremony import write_secret


def make_issuing_key(directory: Path, *, hsm: bool) -> ec.EllipticCurvePrivateKey:
    """Make the issuing key in a token, or in software: encrypted at rest, the passphrase in a file of its own."""
    if hsm:
        return softhsm.make_token(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    passphrase = secrets.token_urlsafe(24).encode()
    write_secret(directory / "pki" / "issuing.passphrase", passphrase)
    software.save_encrypted(directory / "pki" / "issuing.key", key, passphrase)
    return key


def issuing_key(directory: Path) -> ec.EllipticCurvePrivateKey:
    """Return the issuing key of a lab."""
    if (directory / "hsm").exists():
        os.environ.update(softhsm.environment(directory))
        pin = (directory / "hsm" / "pin").read_bytes()
        return Token.open(softhsm.MODULE, softhsm.TOKEN, pin).key(softhsm.KEY)
    return software.load_encrypted(
        directory / "pki" / "issuing.key", (directory / "pki" / "issuing.passphrase").read_bytes()
    )
