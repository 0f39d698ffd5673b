# SPDX-License-Identifier: Apache-2.0
"""
A key that cannot leave its chip, as a pyca private key.

What builds on pyca (CSR, certificate, CMS) takes it like any other key; the chip signs, and refuses the rest.
"""

from typing import Any, NoReturn, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
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


class ChipPrivateKey(ec.EllipticCurvePrivateKey):
    """
    The key that a slot held when this object was made.

    Every signature is made in the chip, so `sign` raises ChipError where a software key could not fail. As the chip
    itself, it is for one caller at a time. A copy is the same key.
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

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the DER ECDSA signature over a digest. Raises ChipError when the chip refuses or is not there."""
        return self._chip.sign(self._slot, digest)

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

    def private_bytes(
        self,
        encoding: Encoding,
        format: PrivateFormat,  # noqa: A002 the name is pyca's
        encryption_algorithm: KeySerializationEncryption,
    ) -> bytes:
        """Refuse: the key never leaves the chip."""
        del encoding, format, encryption_algorithm
        self._refuse("the private key never leaves the chip")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        return self

    def _refuse(self, reason: str) -> NoReturn:
        raise ChipRefused(f"slot {self._slot}: {reason}", finding=KEY_STAYS)
