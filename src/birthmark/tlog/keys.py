# SPDX-License-Identifier: Apache-2.0
"""
Who signs a note: verifier keys and signers (C2SP signed-note).

Two signature types are spoken. Ed25519 (0x01) is the standard one. ECDSA (0x02) is for a key that lives in an HSM
without Ed25519: on P-256, over SHA-256, DER; its key id is the front of the SHA-256 of the SubjectPublicKeyInfo, as
C2SP and github.com/transparency-dev/formats have it.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from birthmark.core.errors import DecodeError
from birthmark.tlog.errors import NoteRefused, VerifierKeyRefused
from birthmark.tlog.text import decode_base64, encode_base64

KEY_ID_BYTES = 4
KEY_NAME_MAX_CHARACTERS = 255
VERIFIER_KEY_MAX_CHARACTERS = 1024

_ECDSA = ec.ECDSA(hashes.SHA256())
_SPACE_FREE = 0x20

NotePrivateKey: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey
NotePublicKey: TypeAlias = Ed25519PublicKey | ec.EllipticCurvePublicKey


class SignatureType(IntEnum):
    """The signature types of C2SP signed-note that are made and verified here."""

    ED25519 = 0x01
    ECDSA = 0x02


@dataclass(frozen=True)
class VerifierKey:
    """
    A signer's name and public key. Two of them with the same name and the same id are the same key, or an attack.

    Not slotted: the parsed key is kept.
    """

    name: str
    kind: SignatureType
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that stand before each signature of this key."""
        if self.kind is SignatureType.ECDSA:
            return sha256(self.public).digest()[:KEY_ID_BYTES]
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:KEY_ID_BYTES]

    @property
    def text(self) -> str:
        """The key as one line: name+id+base64. This is what an outsider is given."""
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    def verify(self, text: bytes, signature: bytes) -> None:
        """Pass when this key signed the text. Raises NoteRefused with the finding `tlog.note.signature`."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, text)
            else:
                self._key.verify(signature, text, _ECDSA)
        except InvalidSignature as error:
            told = f"the signature under the name {self.name} is not one of {self.text} on this text"
            raise NoteRefused(told, finding="tlog.note.signature") from error

    @cached_property
    def _key(self) -> NotePublicKey:
        if self.kind is SignatureType.ED25519:
            return Ed25519PublicKey.from_public_bytes(self.public)
        key = load_der_public_key(self.public)
        if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
            raise VerifierKeyRefused(f"the key of {self.name} is not one on P-256")
        return key


@dataclass(frozen=True, slots=True)
class Signer:
    """A name and the private key that signs under it; the key may live in an HSM."""

    name: str
    key: NotePrivateKey

    @property
    def verifier(self) -> VerifierKey:
        """What verifies the signatures of this signer. Raises VerifierKeyRefused, see `verifier_key`."""
        return verifier_key(self.name, self.key.public_key())

    def sign(self, text: bytes) -> bytes:
        """Return the signature, which was verified. Raises NoteRefused, and what the key raises when it cannot sign."""
        key = self.key
        signature = key.sign(text) if isinstance(key, Ed25519PrivateKey) else key.sign(text, _ECDSA)
        self.verifier.verify(text, signature)
        return signature


def verifier_key(name: str, key: NotePublicKey) -> VerifierKey:
    """Return the verifier key. Raises VerifierKeyRefused for a key of another kind and a name that no key may have."""
    if not name_allowed(name):
        raise VerifierKeyRefused(
            "a key's name has a space, a plus sign or a control character, or is empty or too long"
        )
    if isinstance(key, Ed25519PublicKey):
        return VerifierKey(name, SignatureType.ED25519, key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    if not isinstance(key.curve, ec.SECP256R1):
        raise VerifierKeyRefused(f"a key on {key.curve.name} signs no notes here")
    return VerifierKey(name, SignatureType.ECDSA, key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def read_verifier_key(text: str) -> VerifierKey:
    """
    Return the key that a line name+id+base64 gives.

    Raises:
        DecodeError: not such a line, or an id that is not that of the key.
        VerifierKeyRefused: a signature type that is not spoken here, or a key that is not of its type.

    """
    if len(text) > VERIFIER_KEY_MAX_CHARACTERS or text.count("+") < 2:  # noqa: PLR2004 three parts have two separators
        raise DecodeError("a verifier key is name+id+base64")
    name, _, encoded = text.split("+", 2)
    data = decode_base64(encoded, "the key in a verifier key")
    if not data or data[0] not in set(SignatureType):
        raise VerifierKeyRefused("the verifier key is of a signature type that is not spoken here")
    found = verifier_key(name, _public_key(SignatureType(data[0]), data[1:]))
    if found.text != text:
        raise DecodeError("the id in the verifier key is not that of its name and key, or not written in its one form")
    return found


def name_allowed(name: str) -> bool:
    """Say whether a key may have this name: no Unicode spaces, no plus, no control characters, not empty."""
    bad = any(each.isspace() or each == "+" or ord(each) < _SPACE_FREE for each in name)
    return 0 < len(name) <= KEY_NAME_MAX_CHARACTERS and not bad


def _public_key(kind: SignatureType, public: bytes) -> NotePublicKey:
    try:
        if kind is SignatureType.ED25519:
            return Ed25519PublicKey.from_public_bytes(public)
        key = load_der_public_key(public)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise VerifierKeyRefused("the key in the verifier key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise VerifierKeyRefused("the key in the verifier key is not of its type")
    return key
