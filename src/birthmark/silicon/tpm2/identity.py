# SPDX-License-Identifier: Apache-2.0
"""
Who a TPM says it is.

Serial and model are those that its maker wrote into the AK certificate, since a TPM has no serial of its own that an
outsider could verify. The firmware is the TPM's own word, the same that stands in its evidence.
"""

from cryptography import x509

from birthmark.core.errors import DecodeError
from birthmark.core.registry import TCG_AT_TPM_MODEL
from birthmark.pki.names import read_hardware_module_name
from birthmark.silicon.errors import ChipError
from birthmark.silicon.port import ChipIdentity
from birthmark.silicon.tpm2.connection import (
    PT_FIRMWARE_VERSION_1,
    PT_FIRMWARE_VERSION_2,
    PT_MANUFACTURER,
    PT_VENDOR_STRINGS,
)
from birthmark.silicon.tpm2.structures import firmware_text, four_characters


def identity(ak_certificate: bytes, properties: dict[int, int]) -> ChipIdentity:
    """Return the identity of a TPM with this AK certificate. Raises ChipError when the certificate is unusable."""
    try:
        certificate = x509.load_der_x509_certificate(ak_certificate)
        serial = read_hardware_module_name(certificate).serial
        model = _certified_model(certificate) or _claimed_model(properties)
    except (DecodeError, ValueError) as error:
        raise ChipError(f"the TPM's AK certificate is not usable: {error}", finding="chip.malformed") from error
    firmware = properties[PT_FIRMWARE_VERSION_1] << 32 | properties[PT_FIRMWARE_VERSION_2]
    return ChipIdentity(model, serial, firmware_text(firmware), (ak_certificate,))


def _certified_model(certificate: x509.Certificate) -> str | None:
    """Return the tpmModel in the SAN, as the TCG EK Credential Profile has it, or None."""
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in san.get_values_for_type(x509.DirectoryName):
        for attribute in name.get_attributes_for_oid(TCG_AT_TPM_MODEL):
            return str(attribute.value)
    return None


def _claimed_model(properties: dict[int, int]) -> str:
    vendor = "".join(four_characters(properties[tag]) for tag in PT_VENDOR_STRINGS)
    return f"{four_characters(properties[PT_MANUFACTURER])}:{vendor.strip()}"
