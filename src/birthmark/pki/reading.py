# SPDX-License-Identifier: Apache-2.0
"""
What to expect of pyca/cryptography when it reads what a stranger sent.

It parses the frame first and the rest when a property is asked for, so a malformed certificate may be refused late.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""All that the parsers and the properties of certificates, requests and revocation lists raise for malformed ones."""


def subject_text(certificate: x509.Certificate) -> str:
    """Return how messages refer to a certificate. Never raises: the subject may be what is malformed."""
    try:
        return f"certificate {certificate.subject.rfc4514_string()!r}"
    except UNREADABLE:
        return "a certificate with an unreadable subject"
