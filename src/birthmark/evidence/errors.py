# SPDX-License-Identifier: Apache-2.0
"""
What stands against evidence that could be read.

EvidenceError
├── StatementSignatureError    the attestation key did not sign this statement
├── ResultSignatureError       no verifier that is believed signed this attestation result
└── AttestationKeyError        the AK certificate holds no key, or names no chip, that we can use

Beside them: `core.errors.DecodeError` for bytes that cannot be read, `verdict.AppraisalRefused` for the outcome.
"""

from birthmark.core.errors import BirthmarkError


class EvidenceError(BirthmarkError):
    """Root: the evidence is readable and refused. `appraise` turns it into the finding of the same id."""

    default_finding = "evidence.refused"


class StatementSignatureError(EvidenceError):
    """The signature on the statement does not verify under the attestation key."""

    default_finding = "evidence.signature"


class ResultSignatureError(EvidenceError):
    """The attestation result is signed by a stranger, or not by the verifier that it names."""

    default_finding = "evidence.result.signature"


class AttestationKeyError(EvidenceError):
    """The AK certificate carries a key of another kind, or does not say which chip it belongs to."""

    default_finding = "evidence.ak.path"
