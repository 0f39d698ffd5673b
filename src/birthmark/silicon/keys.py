# SPDX-License-Identifier: Apache-2.0
"""
A key that cannot leave its chip, as a pyca private key.

What builds on pyca (CSR, certificate, CMS) takes it like any other key; the chip signs, and refuses the rest. The host
condenses what is signed as far as the algorithm allows: to a digest for ECDSA, to mu for ML-DSA; with Ed25519 the chip
gets all of it.
"""

from typing import Any, Generic, NoReturn, Self, TypeAlias, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import Hash
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    KeySerializationEncryption,
    PrivateFormat,
    load_der_public_key,
)
from cryptography.utils import Buffer

from birthmark.silicon.errors import ChipError, ChipRefused
from birthmark.silicon.port import SecureElement

KEY_STAYS = "chip.key-stays"

_MLDSAPublicKey = TypeVar("_MLDSAPublicKey", mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)


class _KeyInChip:
    """What the keys of all types have in common: the chip signs, for one caller at a time. A copy is the same key."""

    _chip: SecureElement
    _slot: str

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the chip's signature over condensed data. Raises ChipError when the chip refuses or is not there."""
        return self._chip.sign(self._slot, digest)

    def private_bytes(
        self,
        encoding: Encoding,
        format: PrivateFormat,  # noqa: A002 the name is pyca's
        encryption_algorithm: KeySerializationEncryption,
    ) -> bytes:
        """Refuse: the key never leaves the chip."""
        del encoding, format, encryption_algorithm
        self._refuse("the private key never leaves the chip")

    def private_bytes_raw(self) -> bytes:
        """Refuse: the key never leaves the chip."""
        self._refuse("the private key never leaves the chip")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        return self

    def _refuse(self, reason: str) -> NoReturn:
        raise ChipRefused(f"slot {self._slot}: {reason}", finding=KEY_STAYS)


class ChipPrivateKey(_KeyInChip, ec.EllipticCurvePrivateKey):
    """
    The elliptic-curve key that a slot held when this object was made.

    Every signature is made in the chip, so `sign` raises ChipError where a software key could not fail.
    """

    def __init__(self, chip: SecureElement, slot: str, spki: bytes | None = None) -> None:
        """
        Take the key in the slot; `spki` is its public half (DER) if the caller has read it already.

        Raises:
            ChipError: the public half cannot be read, or is of another kind.

        """
        public_key = load_der_public_key(chip.public_key(slot) if spki is None else spki)
        if not isinstance(public_key, ec.EllipticCurvePublicKey):
            raise ChipError(f"the key in slot {slot} is not an elliptic-curve key", finding="chip.algorithm")
        self._chip = chip
        self._slot = slot
        self._public_key = public_key

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return the public half, read from the chip once."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """The curve that the key is on."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """The size of the key in bits."""
        return self._public_key.key_size

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """
        Return the DER ECDSA signature over `data`, hashed here and signed in the chip.

        Raises:
            UnsupportedAlgorithm: the hash is not as long as the key, or the nonce shall be deterministic (RFC 6979):
                a chip has its own random numbers.
            ChipError: the chip refuses or is not there.

        """
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            raise UnsupportedAlgorithm("the chip makes ECDSA signatures with its own random numbers only")
        algorithm = signature_algorithm.algorithm
        if algorithm.digest_size * 8 != self.key_size:
            raise UnsupportedAlgorithm(
                f"the chip signs digests of {self.key_size} bits, not of {algorithm.digest_size * 8}"
            )
        if isinstance(algorithm, Prehashed):
            return self.sign_digest(bytes(data))
        digest = Hash(algorithm)
        digest.update(data)
        return self.sign_digest(digest.finalize())

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> bytes:
        """Refuse: a device identity signs and does nothing else."""
        del algorithm, peer_public_key
        self._refuse("a device identity signs only; it agrees on no key")

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        """Refuse: the key never leaves the chip."""
        self._refuse("the private key never leaves the chip")


class ChipEd25519Key(_KeyInChip, ed25519.Ed25519PrivateKey):
    """An Ed25519 key in a slot. The data goes to the chip whole, and must fit its command."""

    def __init__(self, chip: SecureElement, slot: str, public_key: ed25519.Ed25519PublicKey) -> None:
        self._chip, self._slot, self._public_key = chip, slot, public_key

    def public_key(self) -> ed25519.Ed25519PublicKey:
        """Return the public half."""
        return self._public_key

    def sign(self, data: Buffer) -> bytes:
        """Return the signature over `data`. Raises ChipError: refused, not there, or too long for the chip."""
        return self.sign_digest(bytes(data))


class _MLDSAInChip(_KeyInChip, Generic[_MLDSAPublicKey]):
    """An ML-DSA key in a slot: mu is made here (FIPS 204 §6.2), the signature in the chip."""

    def __init__(self, chip: SecureElement, slot: str, public_key: _MLDSAPublicKey) -> None:
        self._chip = chip
        self._slot = slot
        self._public_key: _MLDSAPublicKey = public_key

    def public_key(self) -> _MLDSAPublicKey:
        """Return the public half."""
        return self._public_key

    def sign(self, data: Buffer, context: Buffer | None = None) -> bytes:
        """Return the signature over `data` under the context. Raises ChipError."""
        hasher = mldsa.MLDSAMuHasher(self._public_key, context)
        hasher.update(data)
        return self.sign_digest(hasher.finalize())

    def sign_mu(self, mu: Buffer) -> bytes:
        """Return the signature over mu, 64 bytes that another has made. Raises ChipError."""
        return self.sign_digest(bytes(mu))


class ChipMLDSA44Key(_MLDSAInChip[mldsa.MLDSA44PublicKey], mldsa.MLDSA44PrivateKey):
    """An ML-DSA-44 key in a slot."""


class ChipMLDSA65Key(_MLDSAInChip[mldsa.MLDSA65PublicKey], mldsa.MLDSA65PrivateKey):
    """An ML-DSA-65 key in a slot."""


class ChipMLDSA87Key(_MLDSAInChip[mldsa.MLDSA87PublicKey], mldsa.MLDSA87PrivateKey):
    """An ML-DSA-87 key in a slot."""


ChipKey: TypeAlias = ChipPrivateKey | ChipEd25519Key | ChipMLDSA44Key | ChipMLDSA65Key | ChipMLDSA87Key
"""A key in a chip, of any type that a device may have."""


def chip_key(chip: SecureElement, slot: str, spki: bytes | None = None) -> ChipKey:
    """
    Return the key in a slot as a pyca key of its type; `spki` is its public half (DER) if it is known already.

    Raises:
        ChipError: the public half cannot be read, or is of a type that no device has (`chip.algorithm`).

    """
    der = chip.public_key(slot) if spki is None else spki
    try:
        public_key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ChipError(f"the key in slot {slot} cannot be read: {error}", finding="chip.algorithm") from error
    match public_key:
        case ec.EllipticCurvePublicKey():
            return ChipPrivateKey(chip, slot, der)
        case ed25519.Ed25519PublicKey():
            return ChipEd25519Key(chip, slot, public_key)
        case mldsa.MLDSA44PublicKey():
            return ChipMLDSA44Key(chip, slot, public_key)
        case mldsa.MLDSA65PublicKey():
            return ChipMLDSA65Key(chip, slot, public_key)
        case mldsa.MLDSA87PublicKey():
            return ChipMLDSA87Key(chip, slot, public_key)
    raise ChipError(f"the key in slot {slot} is of a type that no device has", finding="chip.algorithm")
