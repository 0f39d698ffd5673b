# SPDX-License-Identifier: Apache-2.0
"""
The chip's keys: how each type is made, kept and signed with.

What a chip is given to sign is what the host has condensed the data to, as far as the algorithm allows it: the digest
for ECDSA, the 64 bytes mu for ML-DSA (FIPS 204 §6.2, the external mu); Ed25519 needs the data itself, twice.
"""

from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from birthmark.core.errors import ConfigError

MU_BYTES = 64

_MLDSA: TypeAlias = mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey
ChipKey: TypeAlias = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | _MLDSA


class KeyType(IntEnum):
    """The algorithm byte (P2) of GENERATE."""

    P256 = 1
    P384 = 2
    ED25519 = 3
    MLDSA44 = 4
    MLDSA65 = 5
    MLDSA87 = 6


_MAKERS: Final[MappingProxyType[KeyType, Callable[[], ChipKey]]] = MappingProxyType(
    {
        KeyType.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
        KeyType.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
        KeyType.ED25519: ed25519.Ed25519PrivateKey.generate,
        KeyType.MLDSA44: mldsa.MLDSA44PrivateKey.generate,
        KeyType.MLDSA65: mldsa.MLDSA65PrivateKey.generate,
        KeyType.MLDSA87: mldsa.MLDSA87PrivateKey.generate,
    }
)
_HASHES: Final = MappingProxyType({256: hashes.SHA256(), 384: hashes.SHA384()})


def new_key(key_type: KeyType) -> bytes:
    """Return a new private key as PKCS#8 DER."""
    return _MAKERS[key_type]().private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def open_key(pkcs8: bytes) -> ChipKey:
    """Return the private key in a record. Raises ConfigError for a key that no chip makes."""
    key = load_der_private_key(pkcs8, None)
    if not isinstance(key, ChipKey):
        raise ConfigError("the chip's state file holds a key of another kind")
    return key


def type_of(key: ChipKey) -> KeyType:
    """Return the type of a key."""
    match key:
        case ec.EllipticCurvePrivateKey():
            return KeyType.P256 if key.key_size == ec.SECP256R1.key_size else KeyType.P384
        case ed25519.Ed25519PrivateKey():
            return KeyType.ED25519
        case mldsa.MLDSA44PrivateKey():
            return KeyType.MLDSA44
        case mldsa.MLDSA65PrivateKey():
            return KeyType.MLDSA65
    return KeyType.MLDSA87


def spki_of(key: ChipKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key."""
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign_condensed(key: ChipKey, data: bytes) -> bytes | None:
    """Return the signature over what the host has condensed its data to; None when that is too long or too short."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if len(data) * 8 != key.key_size:
            return None
        return key.sign(data, ec.ECDSA(Prehashed(_HASHES[key.key_size])))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data) if data else None
    return key.sign_mu(data) if len(data) == MU_BYTES else None
