# SPDX-License-Identifier: Apache-2.0
"""
Certification paths (RFC 5280 §6): is this certificate good, for this purpose, at this moment, under these anchors?

The verifier of pyca/cryptography decides. It is asked with policies of our own, because its defaults are those of web
servers: they want DNS names in the SAN, and without them (`permit_all`) they no longer look at the purpose. When it
says no, the path is walked once more to tell the caller which of the few usual reasons it was.

Two signatures per path are most of its price, and the upper one is the same for every device. So an intermediate that
we were given together with its anchor is remembered once its own path was verified, and leaves directly under it
need one signature. What is remembered holds for one purpose; times are checked anew on every call.

It verifies ML-DSA, and refuses an Ed25519 key that issues. Such a path, and no other, is judged here by the same rules
(`_validate_walked`, docs/adr/0011-ed25519-paths.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, PublicKeyAlgorithmOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from birthmark.core.errors import ConfigError
from birthmark.core.ids import fingerprint
from birthmark.core.registry import ID_KP_ATTESTATION_KEY, ID_KP_CMC_RA, ID_KP_OFFICER, TCG_KP_AIK_CERTIFICATE
from birthmark.pki.algorithms import acceptable_certificate
from birthmark.pki.errors import PathError
from birthmark.pki.reading import UNREADABLE, subject_text

PATH_MAX_INTERMEDIATES = 3
PRESENTED_MAX_CERTIFICATES = 8

# What `_validate_walked` reads, or may pass over though it is critical: names in the SAN are their readers' business.
_LOOKED_AT = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    }
)

Path: TypeAlias = tuple[x509.Certificate, ...]


class Purpose(Enum):
    """What the certificate is used for. The value holds alternatives: the EKUs of one of them must all be there."""

    CLIENT = (frozenset({ExtendedKeyUsageOID.CLIENT_AUTH}),)
    SERVER = (frozenset({ExtendedKeyUsageOID.SERVER_AUTH}),)
    RIG = (frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ID_KP_CMC_RA}),)
    OFFICER = (frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ID_KP_OFFICER}),)
    """A person: a CA that lists usages and not this one, such as that of rigs, makes none."""
    ATTESTATION_KEY = (frozenset({ID_KP_ATTESTATION_KEY}), frozenset({TCG_KP_AIK_CERTIFICATE}))
    IDEVID = (frozenset[OID](),)
    """An initial device identity (IEEE 802.1AR): it lists no usage at all."""


@dataclass(frozen=True, slots=True)
class _Proven:
    """Intermediates whose path to an anchor was verified for one purpose, each with that path, itself first."""

    paths: dict[x509.Certificate, Path]
    store: Store
    verifiers: dict[datetime, ClientVerifier] = field(default_factory=dict)
    """The verifier of one second, ready made. Certificates know no shorter times (RFC 5280 §4.1.2.5)."""

    def verifier(self, purpose: Purpose, at: datetime) -> ClientVerifier:
        """Return a verifier that takes these intermediates for anchors."""
        second = at.replace(microsecond=0)
        found = self.verifiers.get(second)
        if found is None:
            found = _POLICIES[purpose].store(self.store).time(second).build_client_verifier()
            self.verifiers.clear()
            self.verifiers[second] = found
        return found


def nobody_is_denied(_leaf: x509.Certificate) -> str | None:
    """Return None: no leaf is denied beside those with denied keys."""
    return None


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """
    The roots that we trust, and the intermediates that we know but trust only through the roots.

    Raises:
        PathError: `pki.path.algorithm`, one of them is weak; `pki.path.unknown-issuer`, there is no anchor at all.

    """

    certs: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    denied_keys: frozenset[str] = frozenset()
    """Keys of leaves that are not trusted whoever certified them: SHA-256 of the SubjectPublicKeyInfo, hexadecimal."""
    why_denied: Callable[[x509.Certificate], str | None] = field(default=nobody_is_denied, repr=False, compare=False)
    """Returns what of a leaf is not trusted any more ("its key"), or None. What it raises, `validate_path` raises."""
    store: Store = field(init=False, repr=False, compare=False)
    """The anchors in the verifier's own form, made once."""
    proven: dict[Purpose, _Proven] = field(init=False, repr=False, compare=False, default_factory=dict)
    """What `validate_path` remembers of `intermediates`. Never of what a peer presents."""

    def __post_init__(self) -> None:
        """Refuse weak certificates once and for all, and prepare the verifier's store."""
        for certificate in (*self.certs, *self.intermediates):
            acceptable_certificate(certificate)
        if not self.certs:
            raise PathError("there is no trust anchor", finding="pki.path.unknown-issuer")
        object.__setattr__(self, "store", Store(list(self.certs)))


def read_trust(pem: bytes, where: str) -> TrustAnchors:
    """
    Return the trust in a PEM file: certificates that signed themselves are anchors, all others intermediates.

    Raises:
        ConfigError: no PEM certificates, or no self-signed one among them. `where` names the file.
        PathError: `pki.path.algorithm`, a certificate is too weak to be in there.

    """
    certificates = read_certificates(pem, where)
    anchors: list[x509.Certificate] = []
    intermediates: list[x509.Certificate] = []
    for certificate in certificates:
        acceptable_certificate(certificate)
        (anchors if issued_by(certificate, certificate) else intermediates).append(certificate)
    if not anchors:
        raise ConfigError(
            f"{where}: no self-signed root among {len(certificates)} certificates",
            hint="name the PEM file with the root",
            finding="pki.trust",
        )
    return TrustAnchors(tuple(anchors), tuple(intermediates))


def read_certificates(pem: bytes, where: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in a PEM file. Raises ConfigError when there is none; `where` names the file."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE as error:
        raise ConfigError(f"{where}: no readable PEM certificate", hint="name a PEM file with certificates") from error


def validate_path(
    leaf: x509.Certificate,
    extra_intermediates: Sequence[x509.Certificate],
    trust: TrustAnchors,
    at: datetime,
    purpose: Purpose,
) -> Path:
    """
    Return the path from the leaf to an anchor. `extra_intermediates` are what the peer sent along.

    Guaranteed for each certificate on the path: signature, validity at `at`, acceptable algorithms, no unknown critical
    extension; for the leaf: not a CA, may sign data, has the extended key usage of the purpose.

    Raises:
        PathError: `pki.path.algorithm`, `.unknown-issuer`, `.expired`, `.not-yet-valid`, `.purpose`, `.malformed`,
            `.denied`;
            `pki.anchor.expired` and `pki.anchor.not-yet-valid` when the fault is the trust anchor's.

    """
    if len(extra_intermediates) > PRESENTED_MAX_CERTIFICATES:
        raise PathError(
            f"{len(extra_intermediates)} certificates beside the leaf; at most {PRESENTED_MAX_CERTIFICATES}"
        )
    known = [*extra_intermediates, *trust.intermediates]
    _check_signature_whole(leaf)
    _check_denied(leaf, trust)
    try:
        acceptable_certificate(leaf)
        return _through_proven(leaf, trust, at, purpose) or _through_all(leaf, known, trust, at, purpose)
    except VerificationError as error:
        path = _walked(leaf, known, trust)
        if any(map(_is_ed25519, path[1:])):
            return _validate_walked(path, trust, at, purpose)
        raise _explained(path, trust, at, purpose, error) from error
    except UNREADABLE as error:
        raise PathError(f"a certificate on the path cannot be read: {error}") from error


def _check_signature_whole(leaf: x509.Certificate) -> None:
    """
    Refuse a signature that is said to end within a byte.

    Where its last bits are zeros OpenSSL takes it, and the same certificate has a second SHA-256: one that no register
    of certificates and no list of denied ones knows.
    """
    encoded = leaf.public_bytes(Encoding.DER)
    # The signature is the last thing in a certificate; the byte before it counts the unused bits (X.690 §8.6.2.2).
    if encoded[-len(leaf.signature) - 1]:
        raise PathError(f"{subject_text(leaf)}: a signature of all but some bits")


def _check_denied(leaf: x509.Certificate, trust: TrustAnchors) -> None:
    """Refuse a denied leaf. Keys are denied, not certificates: one ECDSA certificate can have two digests."""
    try:
        denied = "its key" if trust.denied_keys and key_digest(leaf) in trust.denied_keys else trust.why_denied(leaf)
    except UNREADABLE as error:
        raise PathError(f"a certificate on the path cannot be read: {error}") from error
    if denied is not None:
        raise PathError(f"{subject_text(leaf)}: {denied} is denied", finding="pki.path.denied")


def key_digest(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate's SubjectPublicKeyInfo. Raises what `pki.reading.UNREADABLE` lists."""
    return fingerprint(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _through_proven(leaf: x509.Certificate, trust: TrustAnchors, at: datetime, purpose: Purpose) -> Path | None:
    """Return the path if a proven intermediate issued the leaf and all above it is valid at this time."""
    proven = trust.proven.get(purpose)
    if proven is None:
        return None
    try:
        path = proven.verifier(purpose, at).verify(leaf, []).chain
    except VerificationError:
        return None
    above = proven.paths[path[-1]]
    if len(path) == 1 or not all(c.not_valid_before_utc <= at <= c.not_valid_after_utc for c in above):
        return None
    return (leaf, *above)


def _through_all(
    leaf: x509.Certificate, known: list[x509.Certificate], trust: TrustAnchors, at: datetime, purpose: Purpose
) -> Path:
    verifier = _POLICIES[purpose].store(trust.store).time(at).build_client_verifier()
    path = tuple(verifier.verify(leaf, known).chain)
    for certificate in path[1:]:
        acceptable_certificate(certificate)
    _remember(path[1:], trust, purpose)
    return path


def _remember(above: Path, trust: TrustAnchors, purpose: Purpose) -> None:
    """Remember a verified path above a leaf. Name constraints judge the leaf, so a path with any is not remembered."""
    if not above or above[0] not in trust.intermediates or any(map(_constrains_names, above)):
        return
    earlier = trust.proven.get(purpose)
    paths = {**(earlier.paths if earlier else {}), above[0]: above}
    trust.proven[purpose] = _Proven(paths, Store(list(paths)))


def _constrains_names(certificate: x509.Certificate) -> bool:
    return any(extension.oid == ExtensionOID.NAME_CONSTRAINTS for extension in certificate.extensions)


def _check_purpose(certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None, purpose: Purpose) -> None:
    present = frozenset[OID]() if usage is None else frozenset(usage)
    if purpose is Purpose.IDEVID and usage is not None:
        raise ValueError(f"{subject_text(certificate)} lists extended key usages: it is no IDevID")
    if not any(wanted <= present for wanted in purpose.value):
        raise ValueError(f"{subject_text(certificate)} has no extended key usage for {purpose.name.lower()}")


def _check_ca_purpose(usage: x509.ExtendedKeyUsage | None, purpose: Purpose) -> None:
    """A CA that lists usages hands down no others."""
    if usage is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage:
        return
    if not any(wanted <= frozenset(usage) for wanted in purpose.value):
        raise ValueError(f"a CA on the path is not for {purpose.name.lower()}")


def _check_signs_data(certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.digital_signature:
        raise ValueError(f"{subject_text(certificate)} may not sign data")


def _check_no_ca(certificate: x509.Certificate, constraints: x509.BasicConstraints | None) -> None:
    if constraints is not None and constraints.ca:
        raise ValueError(f"{subject_text(certificate)} is a CA")


def _check_ca(certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError(f"{subject_text(certificate)} is no CA")


def _check_signs_certificates(certificate: x509.Certificate, usage: x509.KeyUsage) -> None:
    if not usage.key_cert_sign:
        raise ValueError(f"{subject_text(certificate)} may not sign certificates")


def _leaf_policy(purpose: Purpose) -> ExtensionPolicy:
    def check(_policy: Policy, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
        _check_purpose(certificate, usage, purpose)

    return (
        ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, check)
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, lambda _, *asked: _check_signs_data(*asked))
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, lambda _, *asked: _check_no_ca(*asked))
    )


def _ca_policy(purpose: Purpose) -> ExtensionPolicy:
    def check(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
        _check_ca_purpose(usage, purpose)

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.CRITICAL, lambda _, *asked: _check_ca(*asked))
        .require_present(x509.KeyUsage, Criticality.AGNOSTIC, lambda _, *asked: _check_signs_certificates(*asked))
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, check)
        # We ask for no policy, so certificate policies decide nothing (RFC 5280 §6.1.1 c), critical or not. A CA that
        # demands one says so in policyConstraints, which is critical, unknown here, and so refused.
        .may_be_present(x509.CertificatePolicies, Criticality.AGNOSTIC, None)
    )


def _policy_builder(purpose: Purpose) -> PolicyBuilder:
    builder = PolicyBuilder().max_chain_depth(PATH_MAX_INTERMEDIATES)
    return builder.extension_policies(ee_policy=_leaf_policy(purpose), ca_policy=_ca_policy(purpose))


_POLICIES = {purpose: _policy_builder(purpose) for purpose in Purpose}


def _explained(path: Path, trust: TrustAnchors, at: datetime, purpose: Purpose, error: VerificationError) -> PathError:
    """Return the refusal with the reason that a person can act on. Runs only after the verifier has refused."""
    try:
        _check_usual(path, trust, at, purpose)
    except PathError as reason:
        return reason
    except UNREADABLE as reason:
        return PathError(f"a certificate on the path cannot be read: {reason}")
    return PathError(f"no valid path: {error}")


def _check_usual(path: Path, trust: TrustAnchors, at: datetime, purpose: Purpose) -> None:
    for certificate in path:
        acceptable_certificate(certificate)
    _check_anchored(path, trust)
    _check_times(path, at)
    _check_leaf_purpose(path[0], purpose)


def _is_ed25519(certificate: x509.Certificate) -> bool:
    return certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.ED25519


def _validate_walked(path: Path, trust: TrustAnchors, at: datetime, purpose: Purpose) -> Path:
    """
    Return a path whose names and signatures `_walked` has verified, after the rest of RFC 5280 §6.1 that applies.

    Narrower than the RFC: name constraints are refused, since nothing here could judge them, and so is every critical
    extension beyond the few that are looked at. A path length counts every CA below, self-issued ones too.
    """
    _check_usual(path, trust, at, purpose)
    leaf, *authorities = path
    if len(authorities) > PATH_MAX_INTERMEDIATES + 1:
        raise PathError(f"more than {PATH_MAX_INTERMEDIATES} CAs between leaf and anchor")
    try:
        _check_understood(leaf)
        _check_leaf(leaf)
        for below, authority in enumerate(authorities):
            _check_understood(authority)
            _check_authority(authority, below, purpose)
    except x509.ExtensionNotFound as error:
        raise PathError(f"a certificate on the path lacks an extension: {error}") from error
    except UNREADABLE as error:
        raise PathError(f"no valid path: {error}") from error
    return path


def _check_understood(certificate: x509.Certificate) -> None:
    if certificate.version is not x509.Version.v3:
        raise ValueError(f"{subject_text(certificate)} is not of version 3")
    for extension in certificate.extensions:
        unknown = extension.critical and extension.oid not in _LOOKED_AT
        if unknown or extension.oid == ExtensionOID.NAME_CONSTRAINTS:
            raise ValueError(f"{subject_text(certificate)}: {extension.oid.dotted_string} cannot be judged here")


def _check_leaf(leaf: x509.Certificate) -> None:
    _check_signs_data(leaf, leaf.extensions.get_extension_for_class(x509.KeyUsage).value)
    for extension in leaf.extensions:
        if isinstance(extension.value, x509.BasicConstraints):
            _check_no_ca(leaf, extension.value)


def _check_authority(authority: x509.Certificate, below: int, purpose: Purpose) -> None:
    """Pass a CA with so many CAs below it on the path."""
    constraints = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    if not constraints.critical:
        raise ValueError(f"{subject_text(authority)}: its basic constraints are not critical")
    _check_ca(authority, constraints.value)
    if constraints.value.path_length is not None and constraints.value.path_length < below:
        raise ValueError(f"{subject_text(authority)} may have {constraints.value.path_length} CAs below it")
    _check_signs_certificates(authority, authority.extensions.get_extension_for_class(x509.KeyUsage).value)
    for extension in authority.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            _check_ca_purpose(extension.value, purpose)


def _walked(leaf: x509.Certificate, known: Sequence[x509.Certificate], trust: TrustAnchors) -> Path:
    """Follow issuers upwards by name and signature alone, as far as they are known."""
    path = [leaf]
    while path[-1] not in trust.certs and len(path) <= PATH_MAX_INTERMEDIATES + 1:
        issuers = (c for c in (*trust.certs, *known) if c not in path and issued_by(path[-1], c))
        above = next(issuers, None)
        if above is None:
            break
        path.append(above)
    return tuple(path)


def _check_anchored(path: Path, trust: TrustAnchors) -> None:
    if path[-1] not in trust.certs:
        last = path[-1]
        raise PathError(
            f"{subject_text(last)} was issued by {last.issuer.rfc4514_string()!r}, which is not trusted here",
            hint="compare the trust anchors with the chain that was presented",
            finding="pki.path.unknown-issuer",
        )


def _check_times(path: Path, at: datetime) -> None:
    *below, anchor = path
    for certificate in below:
        _check_time(certificate, at, "pki.path")
    _check_time(anchor, at, "pki.anchor")


def _check_time(certificate: x509.Certificate, at: datetime, family: str) -> None:
    if at > certificate.not_valid_after_utc:
        end = certificate.not_valid_after_utc.isoformat()
        raise PathError(f"{subject_text(certificate)} expired at {end}", finding=f"{family}.expired")
    if at < certificate.not_valid_before_utc:
        start = certificate.not_valid_before_utc.isoformat()
        raise PathError(f"{subject_text(certificate)} is valid from {start} only", finding=f"{family}.not-yet-valid")


def _check_leaf_purpose(leaf: x509.Certificate, purpose: Purpose) -> None:
    try:
        listed = (e.value for e in leaf.extensions if isinstance(e.value, x509.ExtendedKeyUsage))
        _check_purpose(leaf, next(listed, None), purpose)
    except UNREADABLE as error:
        raise PathError(str(error), finding="pki.path.purpose") from error


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether the issuer's name and signature are on the certificate. That alone is no path."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *UNREADABLE):
        return False
    return True
