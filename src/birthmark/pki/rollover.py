# SPDX-License-Identifier: Apache-2.0
"""
Roll-over certificates: two roots that certify each other's key while the fleet changes from one to the other.

| RFC 4210 §4.4 | subject | signed by | for whom |
|---|---|---|---|
| old-with-new | the old root | the new root | who trusts the new root only and meets a chain of the old |
| new-with-old | the new root | the old root | who trusts the old root only and meets a chain of the new |

The two roots may have different names. RFC 7030 §4.1.3: `cacerts` serves both, together with the old root itself.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias

from cryptography import x509

from birthmark.pki import extensions
from birthmark.pki.algorithms import acceptable_certificate, signature_hash, verifying_key
from birthmark.pki.authorities import Authority, new_serial
from birthmark.pki.errors import PathError
from birthmark.pki.paths import issued_by
from birthmark.pki.reading import UNREADABLE, subject_text

Validity: TypeAlias = tuple[datetime, datetime]
"""First and last moment."""


def old_with_new_validity(old: Validity, new: Validity) -> Validity:
    """Return how long the old root is certified by the new one: all its life, but not beyond the new one's."""
    return old[0], min(old[1], new[1])


def new_with_old_validity(old: Validity, new: Validity) -> Validity:
    """Return how long the new root is certified by the old one: from its birth until either of them ends."""
    return new[0], min(old[1], new[1])


def make_rollover(issuer: Authority, subject: x509.Certificate, validity: Validity) -> x509.Certificate:
    """
    Return the certificate by which `issuer` vouches for the name and the key of another root.

    It says of itself what the root says: path length and key identifier are the root's own. Extensions that the root
    does not have are not invented, so that a path through this certificate may do what a path to the root may.

    Raises:
        AlgorithmRefused: the other root has a key of a type that we do not certify.
        x509.ExtensionNotFound: a root without basicConstraints, or without subjectKeyIdentifier.

    """
    constraints = subject.extensions.get_extension_for_class(x509.BasicConstraints).value
    identifier = subject.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject.subject)
        .issuer_name(issuer.certificate.subject)
        .public_key(verifying_key(subject.public_key()))
        .serial_number(new_serial())
        .not_valid_before(validity[0])
        .not_valid_after(validity[1])
        .add_extension(extensions.authority_key_identifier(issuer.certificate), critical=False)
        .add_extension(extensions.authority(constraints.path_length), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(identifier, critical=False)
    )
    return builder.sign(issuer.key, signature_hash(issuer.key.public_key()))


def joined(chain: Sequence[x509.Certificate], bridge: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """
    Return what a CA hands out while its root rolls over: its own chain, then the bridge to the other root, each once.

    The bridge is old-with-new, new-with-old, and the old root (RFC 7030 §4.1.3). Nothing strange gets in: each of its
    certificates is a CA's, signed by one of the chain or of the bridge, and the bridge holds on to the chain.

    Raises:
        PathError: `pki.path.malformed`, a certificate that is no part of such a bridge; `pki.path.algorithm`.

    """
    both = (*chain, *bridge)
    for certificate in bridge:
        acceptable_certificate(certificate)
        if not _is_ca(certificate):
            raise PathError(f"{subject_text(certificate)} is no CA")
        if not any(issued_by(certificate, issuer) for issuer in both):
            raise PathError(f"{subject_text(certificate)} is signed by nobody in the chain or in the bridge")
    if bridge and not any(issued_by(one, top) for one in bridge for top in chain):
        raise PathError("none of the roll-over certificates is signed by a root of the chain")
    return tuple(dict.fromkeys(both))


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *UNREADABLE):
        return False
