# SPDX-License-Identifier: Apache-2.0
"""TPM structures to and from the forms of the rest of the world. TPM 2.0 Library, Part 2, §§11.3 and 12.2."""

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.core import der
from birthmark.core.reader import ByteReader

_ALG_NULL = 0x0010
_ALG_ECDSA = 0x0018
_ALG_ECC = 0x0023
_CURVE_P256 = 0x0003


@der.sequence
class TcgAttestCertify:
    """Statement type 2.23.133.20.1. All three are bare structures, without the size of a TPM2B."""

    attest: bytes
    """TPMS_ATTEST."""
    signature: bytes
    """TPMT_SIGNATURE, by the AK over the bytes of `attest`."""
    public: bytes
    """TPMT_PUBLIC of the certified key."""


def spki_of(public_area: bytes) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a TPMT_PUBLIC. Raises DecodeError unless it is a P-256 signing key."""
    with ByteReader(public_area, "TPMT_PUBLIC") as reader:
        kind = reader.u16()
        reader.u16()  # nameAlg
        reader.u32()  # objectAttributes
        reader.sized16()  # authPolicy
        symmetric, scheme, _hash, curve, kdf = (reader.u16() for _ in range(5))
        if (kind, symmetric, scheme, curve, kdf) != (_ALG_ECC, _ALG_NULL, _ALG_ECDSA, _CURVE_P256, _ALG_NULL):
            raise reader.error("not an ECDSA key on P-256")
        x, y = (int.from_bytes(reader.sized16(), "big") for _ in range(2))
    public_key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def der_signature(signature: bytes) -> bytes:
    """Return the DER ECDSA-Sig-Value of a TPMT_SIGNATURE. Raises DecodeError unless it is ECDSA."""
    with ByteReader(signature, "TPMT_SIGNATURE") as reader:
        if reader.u16() != _ALG_ECDSA:
            raise reader.error("the signature is not ECDSA")
        reader.u16()  # hash
        r, s = (int.from_bytes(reader.sized16(), "big") for _ in range(2))
    return encode_dss_signature(r, s)


def four_characters(value: int) -> str:
    """Return the text in a TPM property such as TPM_PT_MANUFACTURER, without its padding."""
    return value.to_bytes(4, "big").rstrip(b"\x00").decode("ascii", "replace")


def firmware_text(version: int) -> str:
    """Return TPMS_ATTEST.firmwareVersion (64 bits) as makers write it: four 16-bit numbers, "7.85.17.51968"."""
    return ".".join(str(version >> shift & 0xFFFF) for shift in (48, 32, 16, 0))
