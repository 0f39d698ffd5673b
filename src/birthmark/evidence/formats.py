# SPDX-License-Identifier: Apache-2.0
"""Who reads which statement type. A new evidence format is one file beside this one, and one line here."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final

from cryptography.x509 import ObjectIdentifier

from birthmark.core.registry import PKIX_EVIDENCE, TCG_ATTEST_TPM_CERTIFY
from birthmark.evidence import pkix, tpm
from birthmark.evidence.attestation_key import AttestationKey
from birthmark.evidence.claims import KeyClaims

FORMATS: Final = MappingProxyType[ObjectIdentifier, Callable[[bytes, AttestationKey], KeyClaims]](
    {TCG_ATTEST_TPM_CERTIFY: tpm.verify, PKIX_EVIDENCE: pkix.verify}
)
"""Each verifier raises DecodeError or EvidenceError and nothing else."""
