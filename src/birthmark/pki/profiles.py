# SPDX-License-Identifier: Apache-2.0
"""
The device certificate: prepare, lint, sign once.

`prepare` decides every byte that will be signed; `lint` reads those bytes back and looks at what they say; `sign` takes
what was linted, once, lets the issuing key sign exactly these bytes, puts the certificate together around them, reads
it back and checks the signature. The types keep the order: only a LintedCertificate can be signed.

What each kind of certificate must be is in `profile_kinds`.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtensionOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_PE_CMW
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import (
    SigningKey,
    is_canonical_spki,
    key_algorithm,
    public_key_of,
    sign_data,
    verify_data,
    verifying_key,
)
from birthmark.pki.cmw import cmw_content
from birthmark.pki.errors import AlgorithmRefused, ProfileRefused
from birthmark.pki.profile_kinds import (
    DEFAULT_BACKDATE_S,
    DEFAULT_VALIDITY_DAYS,
    DEVICE,
    DEVICE_CERTIFICATE_MAX_BYTES,
    DEVICE_PRIVATE,
    IDEVID,
    KINDS,
    NO_WELL_DEFINED_END,
    PQ_CERTIFICATE_MAX_BYTES,
    SERIAL_BITS,
    AlgorithmPolicy,
    DeviceIdentity,
    DeviceProfile,
    Draft,
    PreparedCertificate,
    Press,
    ProfileKind,
)
from birthmark.pki.reading import UNREADABLE
from birthmark.pki.tbs import Blank, Variables, extension, read_tbs

__all__ = [
    "DEFAULT_BACKDATE_S",
    "DEFAULT_VALIDITY_DAYS",
    "DEVICE",
    "DEVICE_CERTIFICATE_MAX_BYTES",
    "DEVICE_PRIVATE",
    "IDEVID",
    "KINDS",
    "NO_WELL_DEFINED_END",
    "PQ_CERTIFICATE_MAX_BYTES",
    "SERIAL_BITS",
    "AlgorithmPolicy",
    "DeviceIdentity",
    "DeviceProfile",
    "LintedCertificate",
    "PreparedCertificate",
    "ProfileKind",
    "lint",
    "prepare",
    "sign",
    "sign_der",
]

_PRESSES_MAX = 16
"""How many kinds and issuers' common parts are kept. A CA has a few."""


class LintedCertificate:
    """A prepared certificate that the lint found no fault with. Good for one signature."""

    def __init__(self, prepared: PreparedCertificate) -> None:
        self.prepared = prepared
        self._unused = [prepared.tbs]

    def take(self) -> bytes:
        """Return the bytes that were linted, once. Raises ProfileRefused the second time."""
        try:
            return self._unused.pop()
        except IndexError:
            raise ProfileRefused("this certificate was signed already", finding="pki.profile.used") from None


def prepare(
    profile: DeviceProfile, identity: DeviceIdentity, issuer: x509.Certificate, at: datetime, serial: int
) -> PreparedCertificate:
    """
    Return the certificate that the profile makes of this identity. The same arguments give the same bytes.

    Raises:
        ProfileRefused: `pki.profile.algorithm` or `pki.profile.retired`: the key's type is not, or no longer, issued;
            `pki.profile.result`: no attestation result for a profile that publishes one; `pki.profile.issuer`: an
            issuer that we do not sign with; `pki.lint.encoding`: a value that X.509 has no room for.
        DecodeError: a public key or a serial that is malformed.

    """
    press = _press(profile.kind, issuer)
    policy = _issuable(profile, identity.spki, at)
    begin = at.astimezone(UTC).replace(microsecond=0)
    not_before, not_after = begin - timedelta(seconds=profile.backdate_s), profile.kind.end(profile, begin)
    variables = Variables(
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        subject=names.device_subject_der(identity.unit_serial, profile.product, profile.organization),
        spki=identity.spki,
        extensions=_extensions(profile.kind, identity, press),
    )
    try:
        tbs = press.blank.filled(variables)
    except ValueError as error:
        raise ProfileRefused(f"the certificate cannot be encoded: {error}", finding="pki.lint.encoding") from error
    limit = policy.certificate_max_bytes
    return PreparedCertificate(tbs, profile, identity, press, serial, not_before, not_after, limit)


def lint(prepared: PreparedCertificate) -> LintedCertificate:
    """
    Return the certificate as one that may be signed.

    Raises:
        ProfileRefused: `pki.lint.<rule>`, with what was found.

    """
    try:
        draft = Draft(read_tbs(prepared.tbs), prepared)
        for rule, fault_of in prepared.profile.kind.rules.items():
            fault = fault_of(draft)
            if fault:
                raise ProfileRefused(f"the certificate would have {fault}", finding=f"pki.lint.{rule}")
    except DecodeError as error:
        raise ProfileRefused(f"the certificate would be unreadable: {error}", finding="pki.lint.encoding") from error
    return LintedCertificate(prepared)


def sign(linted: LintedCertificate, issuer_key: SigningKey, issuer: x509.Certificate) -> x509.Certificate:
    """Return what `sign_der` does, as a certificate. Raises as it does."""
    return x509.load_der_x509_certificate(sign_der(linted, issuer_key, issuer))


def sign_der(linted: LintedCertificate, issuer_key: SigningKey, issuer: x509.Certificate) -> bytes:
    """
    Return the certificate in DER: the linted bytes, signed by the issuing key, read back, its signature verified.

    Raises:
        ProfileRefused: signed before (`pki.profile.used`), another issuer (`pki.profile.issuer`), or the key gave a
            wrong signature (`pki.profile.signature`). What the key itself raises passes through.

    """
    press = linted.prepared.press
    if press.issuer != issuer:
        raise ProfileRefused("the certificate was prepared for another issuer", finding="pki.profile.issuer")
    tbs = linted.take()
    signature = sign_data(issuer_key, tbs)
    whole = press.blank.closed(tbs, signature)
    try:
        certificate = x509.load_der_x509_certificate(whole)
        verify_data(press.key, certificate.signature, certificate.tbs_certificate_bytes)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ProfileRefused("the issuing key gave a wrong signature", finding="pki.profile.signature") from error
    return whole


@lru_cache(maxsize=_PRESSES_MAX)
def _press(kind: ProfileKind, issuer: x509.Certificate) -> Press:
    try:
        key = verifying_key(issuer.public_key())
        identifier = extensions.authority_key_identifier(issuer)
    except (AlgorithmRefused, x509.ExtensionNotFound, *UNREADABLE) as error:
        raise ProfileRefused(f"the issuer: {error}", finding="pki.profile.issuer") from error
    algorithm = key_algorithm(key)
    contents = {identifier.oid: identifier.public_bytes(), **kind.rights}
    constant = {oid: extension(kind.heads[oid], content) for oid, content in contents.items()}
    return Press(issuer, algorithm, key, Blank(issuer, algorithm), identifier.public_bytes(), constant)


def _issuable(profile: DeviceProfile, spki: bytes, at: datetime) -> AlgorithmPolicy:
    try:
        algorithm = key_algorithm(public_key_of(spki))
    except AlgorithmRefused as error:
        raise ProfileRefused(error.message, finding="pki.profile.algorithm") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DecodeError(f"not a public key: {error}", finding="pki.spki") from error
    if not is_canonical_spki(spki, algorithm):
        raise DecodeError(f"a key of type {algorithm.value} in another spelling than its one", finding="pki.spki")
    policy = next((entry for entry in profile.algorithms if entry.algorithm is algorithm), None)
    if policy is None:
        raise ProfileRefused(f"profile {profile.name} has no {algorithm.value}", finding="pki.profile.algorithm")
    if at.astimezone(UTC).date() > policy.last_issue:
        raise ProfileRefused(
            f"profile {profile.name} issued {algorithm.value} until {policy.last_issue}", finding="pki.profile.retired"
        )
    return policy


def _extensions(kind: ProfileKind, identity: DeviceIdentity, press: Press) -> list[bytes]:
    own = {
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: der.encode(extensions.key_identifier_of(identity.spki)),
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: names.device_san_der(identity.chip),
        ID_PE_CMW: cmw_content(kind.record, kind.carried(identity)),
    }
    return [extension(head, own[oid]) if oid in own else press.extensions[oid] for oid, head in kind.heads.items()]
