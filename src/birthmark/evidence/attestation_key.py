# SPDX-License-Identifier: Apache-2.0
"""The attestation key (AK) as its certificate shows it: the key, and the chip that it belongs to."""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from birthmark.core.errors import DecodeError
from birthmark.core.registry import TCG_AT_TPM_MODEL, TCG_HW_TYPE_TPM20
from birthmark.evidence.errors import AttestationKeyError, StatementSignatureError
from birthmark.pki.algorithms import VerifyingKey, verifying_key
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.names import read_hardware_module_name


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """An AK and the chip named in its certificate. Worth trust once the certificate's path is validated."""

    public_key: VerifyingKey
    fingerprint: str
    """
    SHA-256 of the AK's SubjectPublicKeyInfo, in hexadecimal: how a compromised AK is denied.

    Not of the certificate: whoever holds one can turn its ECDSA signature (r, s) into (r, n-s), which is as valid and
    has another fingerprint.
    """
    hw_type: ObjectIdentifier
    chip_serial: str
    tpm_model: str | None
    """The directory attribute tpmModel; None for a chip that is not a TPM."""

    def check_signature(self, signature: bytes, data: bytes, algorithm: hashes.HashAlgorithm | None) -> None:
        """
        Pass a signature over `data` that this key made: ECDSA in DER with a hash, Ed25519 or ML-DSA without one.

        Raises:
            StatementSignatureError: it did not, or it is a key for another kind of signature.

        """
        try:
            if isinstance(self.public_key, ec.EllipticCurvePublicKey) and algorithm is not None:
                self.public_key.verify(signature, data, ec.ECDSA(algorithm))
            elif not isinstance(self.public_key, ec.EllipticCurvePublicKey) and algorithm is None:
                self.public_key.verify(signature, data)
            else:
                raise StatementSignatureError("the attestation key makes no signatures of the kind that is named")
        except InvalidSignature:
            raise StatementSignatureError("the attestation key did not sign this statement") from None


def read_attestation_key(certificate: x509.Certificate) -> AttestationKey:
    """
    Return the AK and the chip of an AK certificate, without a look at who signed it.

    Raises:
        AttestationKeyError: another kind of key, or no chip named.

    """
    try:
        key = verifying_key(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm, AlgorithmRefused) as error:
        raise AttestationKeyError(f"the AK cannot be used: {error}", finding="evidence.ak.algorithm") from error
    try:
        module = read_hardware_module_name(certificate)
    except DecodeError as error:
        raise AttestationKeyError(f"the AK certificate does not name its chip: {error.message}") from error
    return AttestationKey(
        public_key=key,
        fingerprint=hashlib.sha256(canonical_spki(key)).hexdigest(),
        hw_type=module.hw_type,
        chip_serial=module.serial,
        tpm_model=_tpm_model(certificate) if module.hw_type == TCG_HW_TYPE_TPM20 else None,
    )


def canonical_spki(key: VerifyingKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo in its one right spelling (RFC 5480 §2, RFC 8410, RFC 9881)."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _tpm_model(certificate: x509.Certificate) -> str:
    # TCG EK Credential Profile §3.2.9: the TPM's manufacturer, model and version are a directoryName in the SAN.
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in san.get_values_for_type(x509.DirectoryName):
        for attribute in name.get_attributes_for_oid(TCG_AT_TPM_MODEL):
            return str(attribute.value)
    raise AttestationKeyError("the AK certificate of a TPM does not name its model")
