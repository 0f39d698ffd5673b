# SPDX-License-Identifier: Apache-2.0
"""
A key for oneself, on one's own machine, and the request that the operations CA certifies it by.

This is the only place that makes such a key; it is never sent anywhere. A key in a smart card or a token is better:
then the request comes from the card's own program.
"""

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from birthmark.core.files import write_whole
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.csr import build_csr
from birthmark.pki.errors import KeyExists
from birthmark.pki.keys import software


def make_key(path: Path, request: Path, name: str, passphrase: bytes | None) -> None:
    """
    Write a new P-256 key, encrypted under the passphrase, and a request (PEM) for the name.

    Without a passphrase the file is readable by its owner alone: for a rig or a server, whose program starts alone.

    Raises:
        KeyExists: something is at the key's path. PassphraseRefused: too short. KeyStoreError, OSError.

    """
    if path.exists():
        raise KeyExists(f"{path} is there already", hint="keys are never overwritten; name another file")
    key = software.generate(KeyAlgorithm.P256)
    der = build_csr(key, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), None)
    if passphrase is None:
        software.save_plain(path, key)
    else:
        software.save_encrypted(path, key, passphrase)
    write_whole(request, x509.load_der_x509_csr(der).public_bytes(Encoding.PEM))
