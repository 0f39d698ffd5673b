# SPDX-License-Identifier: Apache-2.0
"""
Attestation statements as chips write them, and as liars would.

The encoder beside the decoders in `evidence`: written from the same texts (draft-ietf-rats-pkix-key-attestation-07,
draft-ietf-lamps-csr-attestation-29, TPM 2.0 Library Part 2) and sharing none of their code, so that a mistake in one
shows against the other. Keys are software keys.
"""

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import SignatureAlgorithmOID

from birthmark.core import registry
from birthmark.pki.algorithms import SigningKey, VerifyingKey, key_algorithm, sign_data

DENIED_FIRMWARE: Final = "0.0.0.1"
"""Firmware that every endorsement of the forge denies."""

TPM_KEY_ATTRIBUTES: Final = 0x0004_0072
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, sign: a device key as TPM2_Create makes it."""

_CURVES = MappingProxyType({"secp256r1": 0x0003, "secp384r1": 0x0004})
_LONG_FORM = 0x80
_SIGN_AND_DECRYPT = (registry.CAPABILITY_SIGN, registry.CAPABILITY_DECRYPT)

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class PKIXSays:
    """Every claim of a PKIX Evidence statement. The defaults are the truth about a good key."""

    nonce: bytes
    spki: bytes
    hw_model: bytes
    hw_serial: str
    firmware: str = "1.0.0"
    debugstat: int = registry.DEBUGSTAT_DISABLED
    key_identifier: str = "device-identity"
    extractable: bool = False
    sensitive: bool = True
    never_extractable: bool = True
    local: bool = True
    purpose: tuple[ObjectIdentifier, ...] = (registry.CAPABILITY_SIGN,)


@dataclass(frozen=True, slots=True)
class TPMSays:
    """Everything that a TPM2_Certify statement says. The defaults are the truth about a good key."""

    nonce: bytes
    public_key: ec.EllipticCurvePublicKey
    attributes: int = TPM_KEY_ATTRIBUTES
    firmware_version: int = 0x0007_0055_0011_CB00
    magic: int = 0xFF54_4347
    kind: int = 0x8017
    certified: ec.EllipticCurvePublicKey | None = None
    """The key whose name is signed, if it is another than the one shown."""


@dataclass(frozen=True, slots=True)
class Lie(Generic[S]):
    """A statement that its chip could sign and that must be refused: with this finding."""

    name: str
    finding: str
    told: Callable[[S], S]


PKIX_LIES: Final[tuple[Lie[PKIXSays], ...]] = (
    Lie("extractable", "evidence.key.extractable", lambda says: replace(says, extractable=True)),
    Lie("extractable once", "evidence.key.extractable", lambda says: replace(says, never_extractable=False)),
    Lie("not sensitive", "evidence.key.extractable", lambda says: replace(says, sensitive=False)),
    Lie("imported", "evidence.key.imported", lambda says: replace(says, local=False)),
    Lie("decrypts too", "evidence.key.purpose", lambda says: replace(says, purpose=_SIGN_AND_DECRYPT)),
    Lie("no purpose", "evidence.key.purpose", lambda says: replace(says, purpose=())),
    Lie("debug open", "evidence.chip.debug", lambda says: replace(says, debugstat=1)),
    Lie("another chip", "evidence.chip.mismatch", lambda says: replace(says, hw_serial="00000000000000FF")),
    Lie("another model", "evidence.chip.mismatch", lambda says: replace(says, hw_model=b"another-model")),
    Lie("denied firmware", "evidence.firmware.denied", lambda says: replace(says, firmware=DENIED_FIRMWARE)),
    Lie("another key", "evidence.key.mismatch", lambda says: replace(says, spki=_spki(_another_key()))),
    Lie("short nonce", "evidence.malformed", lambda says: replace(says, nonce=says.nonce[1:])),
    Lie("no nonce", "evidence.malformed", lambda says: replace(says, nonce=b"")),
)

TPM_LIES: Final[tuple[Lie[TPMSays], ...]] = (
    Lie("not fixedTPM", "evidence.key.extractable", lambda says: replace(says, attributes=0x0004_0070)),
    Lie("not fixedParent", "evidence.key.extractable", lambda says: replace(says, attributes=0x0004_0062)),
    Lie("imported", "evidence.key.imported", lambda says: replace(says, attributes=0x0004_0052)),
    Lie("restricted", "evidence.key.purpose", lambda says: replace(says, attributes=0x0005_0072)),
    Lie("decrypts too", "evidence.key.purpose", lambda says: replace(says, attributes=0x0006_0072)),
    Lie("signs nothing", "evidence.key.purpose", lambda says: replace(says, attributes=0x0000_0072)),
    Lie("not made by a TPM", "evidence.malformed", lambda says: replace(says, magic=0xFF54_4348)),
    Lie("a creation", "evidence.malformed", lambda says: replace(says, kind=0x801A)),
    Lie("denied firmware", "evidence.firmware.denied", lambda says: replace(says, firmware_version=1)),
    Lie("another key", "evidence.key.mismatch", lambda says: replace(says, public_key=_another_key())),
    Lie("another name", "evidence.key.mismatch", lambda says: replace(says, certified=_another_key())),
    Lie("no nonce", "evidence.malformed", lambda says: replace(says, nonce=b"")),
)


def pkix_statement(says: PKIXSays, ak: SigningKey) -> bytes:
    """Return the DER of PKIX Evidence with one signature by the AK, addressed by its keyId."""
    signed = pkix_tbs(says)
    signature, algorithm = _signed_by(ak, signed)
    key_id = hashlib.sha256(_spki(ak.public_key())).digest()
    block = tlv(0x30, tlv(0x30, tlv(0xA0, tlv(0x04, key_id))), tlv(0x30, oid(algorithm)), tlv(0x04, signature))
    return tlv(0x30, signed, tlv(0x30, block))


def _signed_by(ak: SigningKey, data: bytes) -> tuple[bytes, ObjectIdentifier]:
    # Any curve, so that one that is refused can be tried.
    if isinstance(ak, ec.EllipticCurvePrivateKey):
        return ak.sign(data, ec.ECDSA(hashes.SHA256())), SignatureAlgorithmOID.ECDSA_WITH_SHA256
    return sign_data(ak, data), key_algorithm(ak.public_key()).signature_oid


def pkix_tbs(says: PKIXSays) -> bytes:
    """Return the DER of TbsEvidence: what the AK signs."""
    transaction = [(registry.CLAIM_NONCE, tlv(0x04, says.nonce))]
    platform = [
        (registry.CLAIM_HWMODEL, tlv(0x04, says.hw_model)),
        (registry.CLAIM_HWSERIAL, tlv(0x0C, says.hw_serial.encode())),
        (registry.CLAIM_SWVERSION, tlv(0x0C, says.firmware.encode())),
        (registry.CLAIM_DEBUGSTAT, tlv(0x02, bytes([says.debugstat]))),
    ]
    key = [
        (registry.CLAIM_KEY_IDENTIFIER, tlv(0x0C, says.key_identifier.encode())),
        (registry.CLAIM_KEY_SPKI, tlv(0x04, says.spki)),
        (registry.CLAIM_KEY_EXTRACTABLE, _boolean(value=says.extractable)),
        (registry.CLAIM_KEY_SENSITIVE, _boolean(value=says.sensitive)),
        (registry.CLAIM_KEY_NEVER_EXTRACTABLE, _boolean(value=says.never_extractable)),
        (registry.CLAIM_KEY_LOCAL, _boolean(value=says.local)),
        (registry.CLAIM_KEY_PURPOSE, tlv(0x30, *map(oid, says.purpose))),
    ]
    elements = (
        element(registry.ELEMENT_TRANSACTION, transaction),
        element(registry.ELEMENT_PLATFORM, platform),
        element(registry.ELEMENT_KEY, key),
    )
    return tlv(0x30, tlv(0x02, b"\x01"), tlv(0x30, *elements))


def tpm_statement(says: TPMSays, ak: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the DER of TcgAttestCertify around bare TPM structures."""
    attest = tpms_attest(says)
    parts = (attest, tpmt_signature(attest, ak), tpmt_public(says.public_key, says.attributes))
    return tlv(0x30, *(tlv(0x04, part) for part in parts))


def tpms_attest(says: TPMSays) -> bytes:
    """Return the bare TPMS_ATTEST of TPM2_Certify (TPM 2.0 Library, Part 2, §10.12.8)."""
    signer = b"\x00\x0b" + bytes(32)
    clock_info = struct.pack(">QIIB", 1_000, 3, 0, 1)
    public = tpmt_public(says.certified or says.public_key, says.attributes)
    name = b"\x00\x0b" + hashlib.sha256(public).digest()
    head = struct.pack(">IH", says.magic, says.kind) + tpm2b(signer) + tpm2b(says.nonce) + clock_info
    return head + struct.pack(">Q", says.firmware_version) + tpm2b(name) + tpm2b(signer)


def tpmt_public(key: ec.EllipticCurvePublicKey, attributes: int) -> bytes:
    """Return the bare TPMT_PUBLIC of an ECC key with nameAlg SHA-256 and the scheme ECDSA/SHA-256 (§12.2.4)."""
    numbers, size = key.public_numbers(), key.key_size // 8
    head = struct.pack(">HHI", 0x0023, 0x000B, attributes) + tpm2b(b"")
    parameters = struct.pack(">HHHHH", 0x0010, 0x0018, 0x000B, _CURVES[key.curve.name], 0x0010)
    return head + parameters + tpm2b(numbers.x.to_bytes(size, "big")) + tpm2b(numbers.y.to_bytes(size, "big"))


def tpmt_signature(data: bytes, ak: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the TPMT_SIGNATURE, ECDSA with SHA-256, over the data (§11.3.4)."""
    size = ak.key_size // 8
    r, s = decode_dss_signature(ak.sign(data, ec.ECDSA(hashes.SHA256())))
    return struct.pack(">HH", 0x0018, 0x000B) + tpm2b(r.to_bytes(size, "big")) + tpm2b(s.to_bytes(size, "big"))


def bundle(statement_type: ObjectIdentifier, statement: bytes, certificates: Iterable[bytes]) -> bytes:
    """Return the DER of an AttestationBundle with one statement."""
    return tlv(0x30, tlv(0x30, tlv(0x30, oid(statement_type), statement)), tlv(0x30, *certificates))


def element(kind: ObjectIdentifier, claims: Iterable[tuple[ObjectIdentifier, bytes]]) -> bytes:
    """Return a ReportedElement of PKIX Evidence, with each claim's value already in DER."""
    return tlv(0x30, oid(kind), tlv(0x30, *(tlv(0x30, oid(claim), value) for claim, value in claims)))


def tlv(tag: int, *parts: bytes) -> bytes:
    """Return one DER value with the parts as its content."""
    content = b"".join(parts)
    if len(content) < _LONG_FORM:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(length)]) + length + content


def oid(value: ObjectIdentifier) -> bytes:
    """Return the DER of an OBJECT IDENTIFIER (X.690 §8.19)."""
    first, second, *rest = (int(arc) for arc in value.dotted_string.split("."))
    return tlv(0x06, *(_base128(arc) for arc in (40 * first + second, *rest)))


def tpm2b(content: bytes) -> bytes:
    """Return the content behind its 16-bit size."""
    return struct.pack(">H", len(content)) + content


def _base128(arc: int) -> bytes:
    groups = [arc & 0x7F]
    while arc := arc >> 7:
        groups.append(arc & 0x7F | 0x80)
    return bytes(reversed(groups))


def _boolean(*, value: bool) -> bytes:
    return tlv(0x01, b"\xff" if value else b"\x00")


def _spki(key: VerifyingKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _another_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()
