# SPDX-License-Identifier: Apache-2.0
"""
Every number that the formats need, and where it comes from.

What is not registered yet carries its draft and revision, so that a published RFC changes this file alone.
"""

from typing import Final

from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses

# --- registered ------------------------------------------------------------------------------------------------

ID_KP_CMC_RA: Final = OID("1.3.6.1.5.5.7.3.28")
"""Extended key usage of an EST registration authority (RFC 6402 §2.10, RFC 7030 §3.7). A rig has it."""

ID_ON_HARDWARE_MODULE_NAME: Final = OID("1.3.6.1.5.5.7.8.4")
"""SAN otherName hardwareModuleName (RFC 4108 §5)."""

ID_PE_CMW: Final = OID("1.3.6.1.5.5.7.1.35")
"""Certificate extension with a Conceptual Message Wrapper (RFC 9999)."""

CMW_IND_EVIDENCE: Final = 4
CMW_IND_ATTESTATION_RESULTS: Final = 8
"""CMW indicator bits 2, "evidence", and 3, "attestation results" (RFC 9999)."""

TCG_AT_TPM_MANUFACTURER: Final = OID("2.23.133.2.1")
TCG_AT_TPM_MODEL: Final = OID("2.23.133.2.2")
TCG_AT_TPM_VERSION: Final = OID("2.23.133.2.3")
"""Directory attributes that name a TPM in the SAN of its AK certificate (TCG EK Credential Profile)."""

TCG_KP_AIK_CERTIFICATE: Final = OID("2.23.133.8.3")
"""Extended key usage of a TPM attestation key's certificate."""

TCG_HW_TYPE_TPM20: Final = OID("2.23.133.1.2")
"""hwType of a TPM 2.0 in hardwareModuleName (TCG TPM 2.0 Keys for Device Identity and Attestation)."""

# --- drafts ----------------------------------------------------------------------------------------------------

ID_AA_ATTESTATION: Final = OID("1.2.840.113549.1.9.16.2.59")
"""CSR attribute with the AttestationBundle. Early allocation; draft-ietf-lamps-csr-attestation-29."""

TCG_ATTEST_TPM_CERTIFY: Final = OID("2.23.133.20.1")
"""Statement type TcgAttestCertify. Left draft-ietf-lamps-csr-attestation at -21; no IETF text defines it today."""

PKIX_EVIDENCE_ARC: Final = "1.3.6.1.5.5.999"
"""
Stands for id-evidence (1.3.6.1.5.5.TBDMOD3) of draft-ietf-rats-pkix-key-attestation-07, which has no number yet.

999 is the placeholder of the draft repository's own sample: change it here, once, when IANA assigns.
"""

PKIX_EVIDENCE: Final = OID(f"{PKIX_EVIDENCE_ARC}.9")
"""Statement type of PKIX Evidence in an AttestationBundle; the draft leaves it open (project OID)."""

ID_KP_ATTESTATION_KEY: Final = OID(f"{PKIX_EVIDENCE_ARC}.8")
"""Extended key usage id-kp-attestationKey (id-kp TBDMOD2, same draft; project OID until assigned)."""

ELEMENT_TRANSACTION: Final = OID(f"{PKIX_EVIDENCE_ARC}.0.0")
ELEMENT_PLATFORM: Final = OID(f"{PKIX_EVIDENCE_ARC}.0.1")
ELEMENT_KEY: Final = OID(f"{PKIX_EVIDENCE_ARC}.0.2")

CLAIM_NONCE: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.0.0")
CLAIM_HWMODEL: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.1.2")
CLAIM_HWSERIAL: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.1.4")
CLAIM_SWVERSION: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.1.6")
CLAIM_DEBUGSTAT: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.1.7")
CLAIM_KEY_IDENTIFIER: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.0")
CLAIM_KEY_SPKI: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.1")
CLAIM_KEY_EXTRACTABLE: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.2")
CLAIM_KEY_SENSITIVE: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.3")
CLAIM_KEY_NEVER_EXTRACTABLE: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.4")
CLAIM_KEY_LOCAL: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.5")
CLAIM_KEY_PURPOSE: Final = OID(f"{PKIX_EVIDENCE_ARC}.1.2.7")
CAPABILITY_DECRYPT: Final = OID(f"{PKIX_EVIDENCE_ARC}.2.1")
CAPABILITY_SIGN: Final = OID(f"{PKIX_EVIDENCE_ARC}.2.4")
DEBUGSTAT_DISABLED: Final = 3
"""debugstat: disabled since manufacture and for good (the EAT dbgstat scale, RFC 9711 §4.2.9)."""

EST_NONCE_MEDIA_TYPE: Final = "application/est-attestation-freshness+json"
"""Nonce call of draft-ietf-lamps-attestation-freshness-08."""

EAR_PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
"""eat_profile of an EAT attestation result (draft-ietf-rats-ear-04 §3). Every revision of the draft has its own."""

EAR_MEDIA_TYPE: Final = f'application/eat+cwt; eat_profile="{EAR_PROFILE}"'
"""What the CMW record in id-pe-cmw carries when it is an EAR: a CWT (RFC 9782 §3.1, with the profile of the draft)."""

# --- project ---------------------------------------------------------------------------------------------------

ATTESTATION_BUNDLE_MEDIA_TYPE: Final = "application/vnd.birthmark.bundle+der"
"""What the CMW record in id-pe-cmw carries: the very AttestationBundle of the CSR. No registered type exists."""

CHIP_MODEL_ARC: Final = "1.3.6.1.4.1.58270.2"
"""hwType OIDs of the simulated chip models: `.1` optiga-trust-m, `.2` se050, `.3` slb9670, `.4` nextgen-pq."""

CRL_FEED_POSITION: Final = OID("1.3.6.1.4.1.58270.3.1")
"""CRL extension, never critical: INTEGER, the change of the CA's revocation feed up to which the list says them all."""

ID_KP_OFFICER: Final = OID("1.3.6.1.4.1.58270.4.1")
"""Extended key usage of a person who works on the CA. The subject's OU says in which role."""

RIG_ORDERS: Final = OID("1.3.6.1.4.1.58270.3.2")
"""Certificate extension, never critical: SEQUENCE { SEQUENCE OF UTF8String }, the orders that a rig is limited to."""
