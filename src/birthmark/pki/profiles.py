# SPDX-License-Identifier: Apache-2.0
"""
The device certificate: prepare, lint, sign once.

`prepare` decides every byte that will be signed; `lint` looks at the finished encoding, signed by a throwaway key;
`sign` takes what was linted, once, and checks that the issuing key signed those very bytes. The types keep the order:
only a LintedCertificate can be signed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_PE_CMW
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import KeyAlgorithm, SigningKey, key_algorithm, signature_hash
from birthmark.pki.cmw import cmw_extension, read_cmw
from birthmark.pki.errors import AlgorithmRefused, ProfileRefused
from birthmark.pki.names import HardwareModule

DEVICE_CERTIFICATE_MAX_BYTES = 1728
"""The smallest certificate object among the chips that we support: OPTIGA Trust M."""

DEFAULT_VALIDITY_DAYS = 5 * 365
DEFAULT_BACKDATE_S = 3600
SERIAL_BITS = 127

# The longest DER of an ECDSA signature: two integers with a sign byte each. The shorter ones come by chance.
_SIGNATURE_MAX_BYTES = {KeyAlgorithm.P256: 72, KeyAlgorithm.P384: 104}

# Every extension of a device certificate, and whether it is critical. There are no others.
_EXTENSIONS = {
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
    ExtensionOID.BASIC_CONSTRAINTS: True,
    ExtensionOID.KEY_USAGE: True,
    ExtensionOID.EXTENDED_KEY_USAGE: False,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
    ID_PE_CMW: False,
}


@dataclass(frozen=True, slots=True)
class AlgorithmPolicy:
    """A key type and the last day on which a certificate for it may be issued."""

    algorithm: KeyAlgorithm
    last_issue: date


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """Policy data: what every device certificate of a product line has in common."""

    name: str
    organization: str
    product: str
    algorithms: tuple[AlgorithmPolicy, ...]
    validity_days: int = DEFAULT_VALIDITY_DAYS
    backdate_s: int = DEFAULT_BACKDATE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """What one device certificate is about. Appraising it is done before, elsewhere; `bundle` is carried unchanged."""

    spki: bytes
    unit_serial: str
    chip: HardwareModule
    bundle: bytes


@dataclass(frozen=True, slots=True)
class PreparedCertificate:
    """A certificate with everything but its signature."""

    builder: x509.CertificateBuilder
    profile: DeviceProfile
    identity: DeviceIdentity
    issuer: x509.Certificate
    serial: int
    not_before: datetime
    not_after: datetime


class LintedCertificate:
    """A prepared certificate that the lint found no fault with. Good for one signature."""

    def __init__(self, prepared: PreparedCertificate, tbs: bytes) -> None:
        self.prepared = prepared
        self._unused = [tbs]

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
        ProfileRefused: `pki.profile.algorithm` or `pki.profile.retired`: the key's type is not, or no longer, issued.
        DecodeError: a public key or a serial that is malformed.

    """
    key = _issuable_key(profile, identity.spki, at)
    begin = at.astimezone(UTC).replace(microsecond=0)
    not_before, not_after = begin - timedelta(seconds=profile.backdate_s), begin + timedelta(days=profile.validity_days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(names.device_subject(identity.unit_serial, profile.product, profile.organization))
        .issuer_name(issuer.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )
    builder = _extended(builder, key, identity, issuer)
    return PreparedCertificate(builder, profile, identity, issuer, serial, not_before, not_after)


def lint(prepared: PreparedCertificate) -> LintedCertificate:
    """
    Return the certificate as one that may be signed.

    Raises:
        ProfileRefused: `pki.lint.<rule>`, with what was found.

    """
    algorithm = _issuer_algorithm(prepared.issuer)
    throwaway = ec.generate_private_key(algorithm.curve)
    try:
        draft = prepared.builder.sign(throwaway, signature_hash(throwaway.public_key()))
    except ValueError as error:
        raise ProfileRefused(f"the certificate cannot be encoded: {error}", finding="pki.lint.encoding") from error
    for rule, check in LINT_RULES.items():
        fault = check(draft, prepared)
        if fault:
            raise ProfileRefused(f"the certificate would have {fault}", finding=f"pki.lint.{rule}")
    return LintedCertificate(prepared, draft.tbs_certificate_bytes)


def sign(linted: LintedCertificate, issuer_key: SigningKey, issuer: x509.Certificate) -> x509.Certificate:
    """
    Return the certificate, signed by the issuing key, after its signature and its bytes were checked.

    Raises:
        ProfileRefused: signed before (`pki.profile.used`), another issuer (`pki.profile.issuer`), or the key gave a
            wrong signature (`pki.profile.signature`). What the key itself raises passes through.

    """
    if linted.prepared.issuer != issuer:
        raise ProfileRefused("the certificate was prepared for another issuer", finding="pki.profile.issuer")
    tbs = linted.take()
    certificate = linted.prepared.builder.sign(issuer_key, signature_hash(issuer_key.public_key()))
    if certificate.tbs_certificate_bytes != tbs:
        raise ProfileRefused("what was signed is not what was linted", finding="pki.profile.issuer")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature) as error:
        raise ProfileRefused("the issuing key gave a wrong signature", finding="pki.profile.signature") from error
    return certificate


def _issuable_key(profile: DeviceProfile, spki: bytes, at: datetime) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(spki)
        algorithm = key_algorithm(key)
    except AlgorithmRefused as error:
        raise ProfileRefused(error.message, finding="pki.profile.algorithm") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DecodeError(f"not a public key: {error}", finding="pki.spki") from error
    policy = next((entry for entry in profile.algorithms if entry.algorithm is algorithm), None)
    if policy is None or not isinstance(key, ec.EllipticCurvePublicKey):
        raise ProfileRefused(f"profile {profile.name} has no {algorithm.value}", finding="pki.profile.algorithm")
    if at.astimezone(UTC).date() > policy.last_issue:
        raise ProfileRefused(
            f"profile {profile.name} issued {algorithm.value} until {policy.last_issue}", finding="pki.profile.retired"
        )
    return key


def _extended(
    builder: x509.CertificateBuilder,
    key: ec.EllipticCurvePublicKey,
    identity: DeviceIdentity,
    issuer: x509.Certificate,
) -> x509.CertificateBuilder:
    san = x509.SubjectAlternativeName([names.hardware_module_name(identity.chip.hw_type, identity.chip.serial)])
    contents: tuple[x509.ExtensionType, ...] = (
        extensions.authority_key_identifier(issuer),
        extensions.subject_key_identifier(key),
        extensions.END_ENTITY,
        extensions.SIGNS_DATA,
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),
        san,
        cmw_extension(identity.bundle),
    )
    for content in contents:
        builder = builder.add_extension(content, critical=_EXTENSIONS[content.oid])
    return builder


def _issuer_algorithm(issuer: x509.Certificate) -> KeyAlgorithm:
    try:
        return key_algorithm(issuer.public_key())
    except AlgorithmRefused as error:
        raise ProfileRefused(f"the issuer: {error.message}", finding="pki.profile.issuer") from error


def _fault_of_size(draft: x509.Certificate, prepared: PreparedCertificate) -> str:
    longest = _SIGNATURE_MAX_BYTES[_issuer_algorithm(prepared.issuer)]
    size = len(draft.public_bytes(Encoding.DER)) - len(draft.signature) + longest
    return f"{size} bytes; a chip holds {DEVICE_CERTIFICATE_MAX_BYTES}" if size > DEVICE_CERTIFICATE_MAX_BYTES else ""


def _fault_of_serial(draft: x509.Certificate, _prepared: PreparedCertificate) -> str:
    bits = draft.serial_number.bit_length()
    return "" if bits == SERIAL_BITS else f"a serial of {bits} bits instead of {SERIAL_BITS}"


def _fault_of_validity(draft: x509.Certificate, prepared: PreparedCertificate) -> str:
    longest = timedelta(days=prepared.profile.validity_days, seconds=prepared.profile.backdate_s)
    if draft.not_valid_after_utc - draft.not_valid_before_utc != longest:
        return f"a validity other than {longest}"
    if draft.not_valid_after_utc > prepared.issuer.not_valid_after_utc:
        return f"a longer life than its issuer, which ends {prepared.issuer.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _fault_of_names(draft: x509.Certificate, prepared: PreparedCertificate) -> str:
    if names.unit_serial_of(draft.subject) != prepared.identity.unit_serial or draft.issuer != prepared.issuer.subject:
        return "the name of another unit or issuer"
    return "" if names.read_hardware_module_name(draft) == prepared.identity.chip else "the name of another chip"


def _fault_of_extensions(draft: x509.Certificate, _prepared: PreparedCertificate) -> str:
    found = {extension.oid: extension.critical for extension in draft.extensions}
    return "" if found == _EXTENSIONS else "an extension too many, too few or of the wrong criticality"


def _fault_of_rights(draft: x509.Certificate, _prepared: PreparedCertificate) -> str:
    constraints = draft.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = draft.extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = draft.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    narrow = list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH] and usage == extensions.SIGNS_DATA
    return "" if narrow and constraints == extensions.END_ENTITY else "rights beyond those of a TLS client"


def _fault_of_evidence(draft: x509.Certificate, prepared: PreparedCertificate) -> str:
    return "" if read_cmw(draft) == prepared.identity.bundle else "evidence other than the request's"


def _fault_of_key(draft: x509.Certificate, prepared: PreparedCertificate) -> str:
    spki = draft.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "" if spki == prepared.identity.spki else "a key other than the attested one"


LINT_RULES: dict[str, Callable[[x509.Certificate, PreparedCertificate], str]] = {
    "size": _fault_of_size,
    "serial": _fault_of_serial,
    "validity": _fault_of_validity,
    "extensions": _fault_of_extensions,
    "names": _fault_of_names,
    "rights": _fault_of_rights,
    "evidence": _fault_of_evidence,
    "key": _fault_of_key,
}
"""Each rule returns what is wrong, or nothing. The keys end the finding's id."""
