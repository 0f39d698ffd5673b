# SPDX-License-Identifier: Apache-2.0
"""
Where everything lies in the TPM, and what its keys look like.

Handles are within the ranges of the TCG's "Registry of Reserved TPM 2.0 Handles and Localities": persistent keys of
the owner 0x81000000-0x817FFFFF, NV indexes of the owner 0x01800000-0x01BFFFFF. An owner's TPM2_Clear destroys
what is his: SRK, device keys, device certificates. The AK's certificate is the platform's and survives; the AK is
re-made from its template, bit by bit the same.
"""

from dataclasses import dataclass
from typing import Final

from tpm2_pytss.constants import TPMA_OBJECT
from tpm2_pytss.types import TPM2B_PUBLIC

from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT

SRK_HANDLE: Final = 0x81000001
"""Storage root key, where TCG's provisioning guidance has it. One made by the operating system serves as well."""

AK_HANDLE: Final = 0x81080000
AK_CERTIFICATE_INDEX: Final = 0x01C90000
ACTIVE_SLOT_INDEX: Final = 0x01800B00
"""One byte: the position in SLOTS of the slot in use."""


@dataclass(frozen=True, slots=True)
class SlotPlace:
    """The persistent handle of a slot's key and the NV index of its certificate."""

    key: int
    certificate: int


SLOT_PLACES: Final = {
    SLOT_IDENTITY: SlotPlace(0x81080010, 0x01800B10),
    SLOT_NEXT: SlotPlace(0x81080011, 0x01800B11),
}

# noDA: no wrong password (there is none) can lock the device out of its identity.
_MADE_HERE_AND_STAYS: Final = (
    TPMA_OBJECT.FIXEDTPM
    | TPMA_OBJECT.FIXEDPARENT
    | TPMA_OBJECT.SENSITIVEDATAORIGIN
    | TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.NODA
)


def device_key() -> TPM2B_PUBLIC:
    """Return the template of a device's key: signs any digest, and nothing else."""
    return TPM2B_PUBLIC.parse("ecc256:ecdsa-sha256:null", _MADE_HERE_AND_STAYS | TPMA_OBJECT.SIGN_ENCRYPT)


def attestation_key() -> TPM2B_PUBLIC:
    """Return the template of the AK: restricted, so that it signs only what the TPM itself states."""
    attributes = _MADE_HERE_AND_STAYS | TPMA_OBJECT.SIGN_ENCRYPT | TPMA_OBJECT.RESTRICTED
    return TPM2B_PUBLIC.parse("ecc256:ecdsa-sha256:null", attributes)


def storage_root_key() -> TPM2B_PUBLIC:
    """Return the template of the SRK: wraps the device's keys."""
    attributes = _MADE_HERE_AND_STAYS | TPMA_OBJECT.DECRYPT | TPMA_OBJECT.RESTRICTED
    return TPM2B_PUBLIC.parse("ecc256:null:aes128cfb", attributes)
