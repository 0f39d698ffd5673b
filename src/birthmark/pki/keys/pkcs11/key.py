# SPDX-License-Identifier: Apache-2.0
"""
A token's keys as pyca private keys, so that certificate, CRL and request builders take them as they are.

For ECDSA only the digest goes to the token, for Ed25519 the message.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn, Protocol, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat
from cryptography.utils import Buffer

from birthmark.pki.errors import KeyStoreError

_HASHES: Final[Mapping[str, Callable[[Buffer], "hashlib._Hash"]]] = MappingProxyType(
    {"sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
)


class Signer(Protocol):
    """What a key needs of its token. The signatures are raw, as PKCS#11 has them."""

    def sign(self, label: str, data: bytes) -> bytes:
        """Return one signature."""

    def sign_many(self, label: str, batch: Sequence[bytes]) -> list[bytes]:
        """Return the signature of each, in order."""


class _Kept:
    """What is refused for every key that stays in its token, and how it shows itself."""

    _label: str

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def private_bytes(self, encoding: Encoding, format: PrivateFormat, encryption_algorithm: object) -> NoReturn:  # noqa: A002, ARG002 pyca's signature
        """Refuse: the secret is in the token."""
        raise _stays()


class TokenKey(_Kept, ec.EllipticCurvePrivateKey):
    """An ECDSA key that stays in its token. All that needs the secret itself is refused."""

    def __init__(self, token: Signer, label: str, public: ec.EllipticCurvePublicKey) -> None:
        self._token = token
        self._label = label
        self._public = public

    def __repr__(self) -> str:
        return f"<TokenKey {self._label!r} {self.curve.name}>"

    @property
    def curve(self) -> ec.EllipticCurve:
        """The key's curve."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """Bits of the curve."""
        return self._public.key_size

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half."""
        return self._public

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Return the DER signature. The digest is made here, the signature in the token. Raises TokenFailed."""
        return der_signature(self._token.sign(self._label, _digest(data, signature_algorithm)))

    def sign_digests(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return the DER signature of each digest, all through one session. Raises TokenFailed: all or nothing."""
        return [der_signature(raw) for raw in self._token.sign_many(self._label, digests)]

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:  # noqa: ARG002 pyca's signature
        """Refuse: this key signs."""
        raise KeyStoreError("a key in the token signs and does nothing else", finding="key.usage")

    def private_numbers(self) -> NoReturn:
        """Refuse: the secret is in the token."""
        raise _stays()


class TokenEd25519Key(_Kept, ed25519.Ed25519PrivateKey):
    """An Ed25519 key that stays in its token. All that needs the secret itself is refused."""

    def __init__(self, token: Signer, label: str, public: ed25519.Ed25519PublicKey) -> None:
        self._token = token
        self._label = label
        self._public = public

    def __repr__(self) -> str:
        return f"<TokenEd25519Key {self._label!r}>"

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """Return the public half."""
        return self._public

    def sign(self, data: Buffer) -> bytes:
        """Return the signature. Raises TokenFailed."""
        return self._token.sign(self._label, bytes(data))

    def private_bytes_raw(self) -> NoReturn:
        """Refuse: the secret is in the token."""
        raise _stays()


def _digest(data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
    if not isinstance(signature_algorithm, ec.ECDSA):
        raise UnsupportedAlgorithm("keys in the token sign with ECDSA")
    algorithm = signature_algorithm.algorithm
    if isinstance(algorithm, utils.Prehashed):
        return bytes(data)
    digest = _HASHES.get(algorithm.name)
    if digest is None:
        raise UnsupportedAlgorithm(f"keys in the token do not sign over {algorithm.name}")
    return digest(data).digest()


def der_signature(raw: bytes) -> bytes:
    """Return the DER of r and s as PKCS#11 has them: side by side, each as long as the curve."""
    half = len(raw) // 2
    return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _stays() -> KeyStoreError:
    return KeyStoreError("a key does not leave its token", finding="key.usage")
