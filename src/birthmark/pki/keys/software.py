# SPDX-License-Identifier: Apache-2.0
"""
Keys in files: for laptops, tests, TLS servers and rigs. A production issuing key lives in a token (`pkcs11`).

Files are PKCS#8 in PEM, readable by their owner alone, and written whole or not at all.
"""

import os
import tempfile
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from birthmark.pki.algorithms import KeyAlgorithm, SigningKey, signing_key
from birthmark.pki.errors import AlgorithmRefused, KeyMissing, KeyStoreError, PassphraseRefused

PASSPHRASE_MIN_BYTES = 16
"""PBKDF2 runs the 2 048 rounds of OpenSSL's default here: a passphrase that a person thinks up would be too weak."""

KEY_FILE_MAX_BYTES = 16_384


def generate(algorithm: KeyAlgorithm) -> SigningKey:
    """Return a new key that lives in this process's memory."""
    match algorithm:
        case KeyAlgorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
        case KeyAlgorithm.MLDSA44:
            return mldsa.MLDSA44PrivateKey.generate()
        case KeyAlgorithm.MLDSA65:
            return mldsa.MLDSA65PrivateKey.generate()
        case KeyAlgorithm.MLDSA87:
            return mldsa.MLDSA87PrivateKey.generate()
    return ec.generate_private_key(algorithm.curve)


def save_encrypted(path: Path, key: SigningKey, passphrase: bytes) -> None:
    """
    Write the key, encrypted with AES-256-CBC under the passphrase (PBES2). Replaces a file that is there.

    Raises:
        PassphraseRefused: fewer than PASSPHRASE_MIN_BYTES.
        KeyStoreError: the file cannot be written.

    """
    if len(passphrase) < PASSPHRASE_MIN_BYTES:
        hint = f"generate one: openssl rand -hex {PASSPHRASE_MIN_BYTES}"
        raise PassphraseRefused(f"a passphrase of fewer than {PASSPHRASE_MIN_BYTES} bytes", hint=hint)
    _save(path, key, BestAvailableEncryption(passphrase))


def save_plain(path: Path, key: SigningKey) -> None:
    """Write the key without encryption, as TLS servers and rigs need it. Never for a key that signs certificates."""
    _save(path, key, NoEncryption())


def load_encrypted(path: Path, passphrase: bytes) -> SigningKey:
    """
    Return the key in an encrypted file.

    Raises:
        KeyMissing: there is no such file.
        PassphraseRefused: the passphrase does not open it.
        KeyStoreError: the file is not encrypted (`key.unencrypted`), damaged or not of a type that we use
            (`key.malformed`).

    """
    return _load(path, passphrase)


def load_plain(path: Path) -> SigningKey:
    """Return the key in a file without encryption. Raises as `load_encrypted` does."""
    return _load(path, None)


def _save(path: Path, key: SigningKey, encryption: KeySerializationEncryption) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        _write_whole(path, pem)
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}", hint="name a directory that can be written") from error


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside the target, flush to the disk, then rename: a power cut leaves the old file or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_directory(path.parent)


def _flush_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _load(path: Path, passphrase: bytes | None) -> SigningKey:
    pem = _read(path)
    encrypted = b"ENCRYPTED" in pem
    if encrypted is (passphrase is None):
        found = "encrypted; it wants a passphrase" if encrypted else "not encrypted"
        raise KeyStoreError(f"{path} is {found}", finding="key.passphrase" if encrypted else "key.unencrypted")
    try:
        key = load_pem_private_key(pem, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unreadable(path, encrypted=encrypted) from error
    try:
        return signing_key(key)
    except AlgorithmRefused as error:
        raise KeyStoreError(f"{path}: {error.message}", finding="key.malformed") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(KEY_FILE_MAX_BYTES)
    except FileNotFoundError as error:
        raise KeyMissing(f"there is no key file {path}") from error
    except OSError as error:
        raise KeyStoreError(f"{path}: {error.strerror}", hint="name a readable key file") from error


def _unreadable(path: Path, *, encrypted: bool) -> KeyStoreError:
    """A wrong passphrase and a damaged file look alike to the decryption; only the PEM frame tells them apart."""
    if encrypted:
        return PassphraseRefused(f"the passphrase does not open {path}", hint="or the file is damaged")
    return KeyStoreError(f"{path} is not a private key in PEM", finding="key.malformed")
