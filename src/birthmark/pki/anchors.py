# SPDX-License-Identifier: Apache-2.0
"""
Trust anchors of chip makers, imported from what the makers publish (RFC 5280 §6.1.1 d: a name, a key, its validity).

Two ways to name an anchor: a self-signed certificate in a bundle, as `pki.paths.read_trust` has it, or any CA
certificate in a file of which a person says that all in it are anchors. Here alone a certificate may be a little less
than DER (pki/rewriting.py); the finding `pki.anchor.non-canonical` says so. Why, and what that is worth:
docs/adr/0010-trust-anchors.md.
"""

import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, VerificationError

from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.ids import fingerprint
from birthmark.pki.algorithms import acceptable_certificate
from birthmark.pki.errors import PathError
from birthmark.pki.paths import PATH_MAX_INTERMEDIATES, Path, TrustAnchors
from birthmark.pki.reading import UNREADABLE, subject_text
from birthmark.pki.rewriting import Rewritten, renamed, rewritten

CERTIFICATES_MAX: Final = 1_024
"""Certificates in one file: seven times the intermediates of all TPM makers together."""
NON_CANONICAL: Final = "pki.anchor.non-canonical"
RESPELLED: Final = "pki.anchor.respelled"

# RFC 7468: what stands between the blocks is for people.
_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----\s(.*?)-----END CERTIFICATE-----", re.DOTALL)
_DER_BEGIN: Final = b"\x30"


@dataclass(frozen=True, slots=True)
class Anchor:
    """One imported anchor: name, key, validity and constraints, in the form of a certificate."""

    certificate: x509.Certificate
    """As the path verifier takes it. Rewritten, when the original is not canonical: then its signature is void."""
    fingerprint: str
    """SHA-256 of the original, as its maker publishes it."""
    deviations: tuple[str, ...] = ()
    respelled: bool = False
    """Whether the name is spelled as a CA under the anchor spells it, and not as the anchor itself does."""


@dataclass(frozen=True, slots=True)
class Notice:
    """Something about an anchor that a reviewer should know, and that does not stop it from being used."""

    finding: str
    detail: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """What a maker's file holds: anchors, and the CAs that are trusted through them alone."""

    anchors: tuple[Anchor, ...]
    intermediates: tuple[x509.Certificate, ...] = ()

    def notices(self) -> Iterator[Notice]:
        """Yield a notice for each anchor that is not what X.509 says."""
        for anchor in self.anchors:
            who = f"{subject_text(anchor.certificate)} ({anchor.fingerprint})"
            if anchor.respelled:
                yield Notice(RESPELLED, f"{who}: a CA under it writes this name in another string type")
            elif anchor.deviations:
                yield Notice(NON_CANONICAL, f"{who}: {'; '.join(anchor.deviations)}")


def read_anchors(content: bytes, where: str) -> Bundle:
    """
    Return every certificate of a PEM file, or the one of a DER file, as an anchor. `where` names the file.

    Self-signed or not makes no difference: who signed an anchor is not asked (RFC 5280 §6.1).

    Raises:
        ConfigError: there is none, or one that is not a CA certificate in X.509 v3, mended or not.
        PathError: `pki.path.algorithm`, one has a weak key or was signed over a weak hash.

    """
    return Bundle(tuple(_anchor(der, where) for der in _certificates(content, where)))


def read_bundle(content: bytes, where: str) -> Bundle:
    """
    Return a file whose self-signed certificates are anchors and whose others are intermediates, as `read_trust` does.

    Raises:
        ConfigError: as `read_anchors`; an intermediate that is not canonical.
        PathError: `pki.path.algorithm`.

    """
    anchors: list[Anchor] = []
    intermediates: list[x509.Certificate] = []
    for der in _certificates(content, where):
        anchor = _anchor(der, where)
        if _signed_itself(anchor.certificate, _mended(der, where)):
            anchors.append(anchor)
        elif anchor.deviations:
            raise _unusable(where, f"{subject_text(anchor.certificate)} is not canonical and not self-signed")
        else:
            intermediates.append(anchor.certificate)
    return Bundle(tuple(anchors), tuple(intermediates))


def joined(bundles: Iterable[Bundle], where: str) -> Bundle:
    """
    Return the bundles of one maker as one, each anchor once, and once more under each spelling of its name.

    `where` names their files.

    The verifier compares names byte for byte. RFC 5280 §7.1 compares what they say: a name in PrintableString is the
    same in UTF8String (ST's ECC root and four CAs under it). An anchor that an intermediate names in another spelling
    is therefore there in that spelling too, with the same key.
    """
    every = tuple(bundles)
    anchors = {anchor.fingerprint: anchor for bundle in every for anchor in bundle.anchors}
    intermediates = tuple(dict.fromkeys(certificate for bundle in every for certificate in bundle.intermediates))
    if not anchors:
        raise ConfigError(
            f"{where}: no self-signed root among {len(intermediates)} certificates",
            hint="name the PEM file with the root",
            finding="pki.trust",
        )
    # By their bytes: pyca's names are equal in every spelling.
    issuers = {certificate.issuer.public_bytes(): certificate.issuer for certificate in intermediates}
    respelled = {
        (anchor.fingerprint, spelling): _respelled(anchor, spelling)
        for spelling, issuer in issuers.items()
        for anchor in anchors.values()
        if anchor.certificate.subject == issuer and anchor.certificate.subject.public_bytes() != spelling
    }
    return Bundle((*anchors.values(), *respelled.values()), intermediates)


def lineage(authority: x509.Certificate, trust: TrustAnchors, at: datetime) -> Path:
    """
    Return the path from a CA certificate to its anchor: itself first, the anchor last. The purpose is not looked at.

    Raises:
        PathError: there is none that holds at this moment.

    """
    verifier = _LINEAGE.store(trust.store).time(at).build_client_verifier()
    try:
        path = tuple(verifier.verify(authority, list(trust.intermediates)).chain)
    except VerificationError as error:
        raise PathError(
            f"{subject_text(authority)} has no path to an anchor: {error}", finding="pki.path.unknown-issuer"
        ) from error
    for certificate in path:
        acceptable_certificate(certificate)
    return path


def _certificates(content: bytes, where: str) -> list[bytes]:
    found = [content] if content.startswith(_DER_BEGIN) else list(_blocks(content, where))
    if not 0 < len(found) <= CERTIFICATES_MAX:
        raise _unusable(where, f"{len(found)} readable certificates; 1 to {CERTIFICATES_MAX} are expected")
    return found


def _blocks(content: bytes, where: str) -> Iterator[bytes]:
    for match in _BLOCK.finditer(content):
        try:
            yield binascii.a2b_base64(b"".join(match[1].split()), strict_mode=True)
        except binascii.Error as error:
            raise _unusable(where, f"a PEM block is no base64: {error}") from error


def _anchor(der: bytes, where: str) -> Anchor:
    mended = _mended(der, where)
    try:
        certificate = x509.load_der_x509_certificate(mended.der)
        acceptable_certificate(certificate)
        authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        authority = False
    except UNREADABLE as error:
        raise _unusable(where, f"a certificate cannot be read: {error}") from error
    if not authority:
        raise _unusable(where, f"{subject_text(certificate)} is no CA")
    return Anchor(certificate, fingerprint(der), mended.deviations)


def _respelled(anchor: Anchor, name: bytes) -> Anchor:
    der = renamed(anchor.certificate.public_bytes(Encoding.DER), name)
    return replace(anchor, certificate=x509.load_der_x509_certificate(der), respelled=True)


def _mended(der: bytes, where: str) -> Rewritten:
    try:
        return rewritten(der)
    except DecodeError as error:
        raise _unusable(where, error.message) from error


def _unusable(where: str, problem: str) -> ConfigError:
    hint = "name a file with CA certificates in X.509 v3; docs/adr/0010-trust-anchors.md says what is mended"
    return ConfigError(f"{where}: {problem}", hint=hint, finding="pki.trust")


def _signed_itself(certificate: x509.Certificate, mended: Rewritten) -> bool:
    """Verify the signature over the bytes that were really signed."""
    if certificate.issuer != certificate.subject:
        return False
    if not mended.deviations:
        return _passes(partial(certificate.verify_directly_issued_by, certificate))
    key, how = certificate.public_key(), certificate.signature_algorithm_parameters
    match key, how:
        case ec.EllipticCurvePublicKey(), ec.ECDSA():
            return _passes(partial(key.verify, certificate.signature, mended.signed, how))
        case rsa.RSAPublicKey(), padding.PKCS1v15() if certificate.signature_hash_algorithm:
            algorithm = certificate.signature_hash_algorithm
            return _passes(partial(key.verify, certificate.signature, mended.signed, how, algorithm))
    return False


def _passes(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except (InvalidSignature, *UNREADABLE):
        return False
    return True


def _check_ca(_policy: Policy, certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError(f"{subject_text(certificate)} is no CA")


def _check_signs(_policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.key_cert_sign:
        raise ValueError(f"{subject_text(certificate)} may not sign certificates")


def _authorities() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.CRITICAL, _check_ca)
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_signs)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
        .may_be_present(x509.CertificatePolicies, Criticality.AGNOSTIC, None)
    )


_LINEAGE: Final = (
    PolicyBuilder()
    .max_chain_depth(PATH_MAX_INTERMEDIATES)
    .extension_policies(ee_policy=_authorities(), ca_policy=_authorities())
)
