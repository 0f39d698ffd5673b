# SPDX-License-Identifier: Apache-2.0
"""The X.509 extensions that our certificates share, each built in one place."""

import hashlib
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.core import der
from birthmark.pki.algorithms import VerifyingKey

KEY_IDENTIFIER_BYTES = 20
_IDENTIFIERS_MAX = 256
"""How many are kept: what writes a certificate and what looks at it ask for the same one."""

END_ENTITY = x509.BasicConstraints(ca=False, path_length=None)


@der.sequence
class _SubjectPublicKeyInfo:
    algorithm: der.TLV
    key: der.BitString


def key_identifier(key: VerifyingKey) -> bytes:
    """Return the leftmost 160 bits of the SHA-256 of the public key (RFC 7093 §2, method 1): no SHA-1."""
    return key_identifier_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@lru_cache(maxsize=_IDENTIFIERS_MAX)
def key_identifier_of(spki: bytes) -> bytes:
    """Return the key identifier of a DER SubjectPublicKeyInfo: the hash covers the content of its BIT STRING."""
    content = der.decode(_SubjectPublicKeyInfo, spki, "a SubjectPublicKeyInfo").key.as_bytes()
    return hashlib.sha256(content).digest()[:KEY_IDENTIFIER_BYTES]


def subject_key_identifier(key: VerifyingKey) -> x509.SubjectKeyIdentifier:
    """Return the extension that names this certificate's key."""
    return x509.SubjectKeyIdentifier(key_identifier(key))


def authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Return the extension that names the issuer's key by the issuer's own subject key identifier."""
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def authority(path_length: int | None) -> x509.BasicConstraints:
    """Return the basic constraints of a CA with at most `path_length` CAs below it; None for no limit."""
    return x509.BasicConstraints(ca=True, path_length=path_length)


def _key_usage(*, signs_data: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


SIGNS_DATA = _key_usage(signs_data=True)
"""Key usage of every end entity: digitalSignature and nothing else."""

SIGNS_CERTIFICATES = _key_usage(signs_certificates=True)
"""Key usage of every CA: keyCertSign and cRLSign."""
