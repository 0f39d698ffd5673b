# SPDX-License-Identifier: Apache-2.0
"""
The kinds of device certificates, each with its extensions and the lint rules that it must pass.

device          the operational identity: 5 years, TLS client, the raw evidence inside (design.md §6)
device-private  the same, with a signed attestation result (EAR) in place of the evidence, which is kept elsewhere
idevid          the initial device identity of IEEE 802.1AR: no well-defined end, no extended key usage

The IDevID follows draft-ietf-uta-tls13-iot-profile, which quotes the standard: its end is 99991231235959Z, the value of
RFC 5280 §4.1.2.5 for "no well-defined expiration"; the subject has a serialNumber and the SAN a hardwareModuleName; an
extended key usage SHOULD NOT be there, for an identity of the factory is not for one protocol. It outlives its issuer
by design: a path through it ends with the CA's certificate, whatever its own end says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from birthmark.core import der
from birthmark.core.registry import ID_PE_CMW
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import KeyAlgorithm, VerifyingKey
from birthmark.pki.cmw import Record, read_cmw_content
from birthmark.pki.errors import ProfileRefused
from birthmark.pki.names import HardwareModule
from birthmark.pki.tbs import Blank, TBSCertificate, extension_head

DEVICE_CERTIFICATE_MAX_BYTES = 1728
"""The smallest certificate object among the chips that are sold today: OPTIGA Trust M."""

PQ_CERTIFICATE_MAX_BYTES = 12_288
"""The certificate object of the simulated next-generation chip: an assumption, since no such chip is sold yet."""

DEFAULT_VALIDITY_DAYS = 5 * 365
DEFAULT_BACKDATE_S = 3600
NO_WELL_DEFINED_END = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""notAfter of a certificate that shall not end (RFC 5280 §4.1.2.5, IEEE 802.1AR)."""

SERIAL_BITS = 127

_UTF8_STRING, _PRINTABLE_STRING = b"\x0c", b"\x13"
_SMALL = frozenset({KeyAlgorithm.P256, KeyAlgorithm.P384, KeyAlgorithm.ED25519})

# Every extension that there may be, in the order of the encoding, and whether it is critical.
_CRITICAL: Final = MappingProxyType(
    {
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER: False,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER: False,
        ExtensionOID.BASIC_CONSTRAINTS: True,
        ExtensionOID.KEY_USAGE: True,
        ExtensionOID.EXTENDED_KEY_USAGE: False,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME: False,
        ID_PE_CMW: False,
    }
)


@dataclass(frozen=True, slots=True)
class AlgorithmPolicy:
    """
    A key type, the last day on which a certificate for it may be issued, and the most bytes that one may have.

    Without a limit of its own the certificate must fit the smallest chip that makes such keys.
    """

    algorithm: KeyAlgorithm
    last_issue: date
    max_bytes: int | None = None

    @property
    def certificate_max_bytes(self) -> int:
        """The most bytes of a certificate for a key of this type."""
        default = DEVICE_CERTIFICATE_MAX_BYTES if self.algorithm in _SMALL else PQ_CERTIFICATE_MAX_BYTES
        return default if self.max_bytes is None else self.max_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """
    What one device certificate is about. Appraising it is done before, elsewhere; the bytes are carried unchanged.

    `bundle` is the evidence; `result` the signed attestation result, for a profile that publishes that instead.
    """

    spki: bytes
    unit_serial: str
    chip: HardwareModule
    bundle: bytes
    result: bytes | None = None


@dataclass(frozen=True, slots=True)
class Press:
    """What all certificates of one kind under one issuer have in common, encoded once."""

    issuer: x509.Certificate
    algorithm: KeyAlgorithm
    key: VerifyingKey
    blank: Blank
    issuer_identifier: bytes
    """The content of the authority key identifier."""
    extensions: Mapping[OID, bytes]
    """The extensions that are the same in all, whole."""


@dataclass(frozen=True, slots=True)
class PreparedCertificate:
    """A certificate with everything but its signature: `tbs` is what will be signed."""

    tbs: bytes
    profile: "DeviceProfile"
    identity: DeviceIdentity
    press: Press
    serial: int
    not_before: datetime
    not_after: datetime
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What the bytes of a prepared certificate say, and what they should."""

    says: TBSCertificate
    wanted: PreparedCertificate

    def content(self, oid: OID) -> bytes:
        """Return the content of an extension that is there."""
        return self.says.extensions[oid][1]


Rule: TypeAlias = Callable[[Draft], str]
"""Returns what is wrong with a draft, or nothing."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class ProfileKind:
    """
    One kind of certificate.

    `name` is the value in configuration. `purposes` are the extended key usages; without any there is no such
    extension. `rules` is what lint asks, by the last part of the finding `pki.lint.<rule>`.
    """

    name: str
    purposes: tuple[OID, ...]
    record: Record
    rules: Mapping[str, Rule]
    end: Callable[["DeviceProfile", datetime], datetime]

    critical: Mapping[OID, bool] = field(init=False)
    """Every extension of such a certificate in the order of the encoding, and whether it is critical."""
    heads: Mapping[OID, bytes] = field(init=False)
    """The same, each encoded up to its content."""
    rights: Mapping[OID, bytes] = field(init=False)
    """The extensions that say what the key may do, and the only content that each may have."""

    def __post_init__(self) -> None:
        """Encode once what is the same in every certificate of the kind."""
        absent = () if self.purposes else (ExtensionOID.EXTENDED_KEY_USAGE,)
        critical = {oid: critical for oid, critical in _CRITICAL.items() if oid not in absent}
        values: list[x509.ExtensionType] = [extensions.END_ENTITY, extensions.SIGNS_DATA]
        if self.purposes:
            values.append(x509.ExtendedKeyUsage(self.purposes))
        heads = {oid: extension_head(oid, critical=is_critical) for oid, is_critical in critical.items()}
        object.__setattr__(self, "critical", critical)
        object.__setattr__(self, "heads", heads)
        object.__setattr__(self, "rights", {value.oid: value.public_bytes() for value in values})

    def carried(self, identity: DeviceIdentity) -> bytes:
        """Return what goes into id-pe-cmw. Raises ProfileRefused `pki.profile.result` when there is no such thing."""
        if self.record is Record.EVIDENCE:
            return identity.bundle
        if identity.result is None:
            raise ProfileRefused(
                f"a certificate of kind {self.name} needs a signed attestation result", finding="pki.profile.result"
            )
        return identity.result


def _fault_of_size(draft: Draft) -> str:
    longest = bytes(draft.wanted.press.algorithm.signature_max_bytes)
    size = len(draft.wanted.press.blank.closed(draft.wanted.tbs, longest))
    limit = draft.wanted.max_bytes
    return f"{size} bytes; a chip holds {limit}" if size > limit else ""


def _fault_of_serial(draft: Draft) -> str:
    serial = draft.says.serial
    if serial.bit_length() != SERIAL_BITS:
        return f"a serial of {serial.bit_length()} bits instead of {SERIAL_BITS}"
    return "" if serial == draft.wanted.serial else "another serial than was asked for"


def _fault_of_lifetime(draft: Draft) -> str:
    profile, begin, end = draft.wanted.profile, draft.says.not_before, draft.says.not_after
    longest = timedelta(days=profile.validity_days, seconds=profile.backdate_s)
    if begin != draft.wanted.not_before or end - begin != longest:
        return f"a validity other than {longest}"
    issuer_end = draft.wanted.press.issuer.not_valid_after_utc
    return f"a longer life than its issuer, which ends {issuer_end:%Y-%m-%d}" if end > issuer_end else ""


def _fault_of_endless_life(draft: Draft) -> str:
    if draft.says.not_after != NO_WELL_DEFINED_END:
        return "an end, where 99991231235959Z is wanted"
    begin = draft.says.not_before
    issuer = draft.wanted.press.issuer
    within = issuer.not_valid_before_utc <= begin <= issuer.not_valid_after_utc
    return "" if begin == draft.wanted.not_before and within else "a beginning outside of its issuer's life"


def _fault_of_extensions(draft: Draft) -> str:
    found = {oid: critical for oid, (critical, _) in draft.says.extensions.items()}
    return (
        ""
        if found == draft.wanted.profile.kind.critical
        else "an extension too many, too few or of the wrong criticality"
    )


def _fault_of_names(draft: Draft) -> str:
    profile, identity = draft.wanted.profile, draft.wanted.identity
    if draft.says.issuer != draft.wanted.press.blank.issuer:
        return "the name of another issuer"
    subject = [
        [(NameOID.ORGANIZATION_NAME, _UTF8_STRING + profile.organization.encode())],
        [(NameOID.COMMON_NAME, _UTF8_STRING + f"{profile.product} {identity.unit_serial}".encode())],
        [(NameOID.SERIAL_NUMBER, _PRINTABLE_STRING + identity.unit_serial.encode())],
    ]
    if draft.says.subject != subject:
        return "the name of another unit"
    module = names.only_hardware_module(draft.content(ExtensionOID.SUBJECT_ALTERNATIVE_NAME))
    return "" if module == identity.chip else "the name of another chip"


def _fault_of_rights(draft: Draft) -> str:
    """A device signs data; for which protocols, its kind says. DER has one spelling for each of these values."""
    rights = draft.wanted.profile.kind.rights
    found = {oid: draft.content(oid) for oid in rights}
    return "" if found == rights else "rights beyond those of such a device"


def _fault_of_evidence(draft: Draft) -> str:
    return _fault_of_record(draft, Record.EVIDENCE, draft.wanted.identity.bundle, "evidence other than the request's")


def _fault_of_result(draft: Draft) -> str:
    identity = draft.wanted.identity
    fault = _fault_of_record(draft, Record.RESULT, identity.result or b"", "another attestation result than was made")
    if not fault and identity.bundle in draft.wanted.tbs:
        return "the evidence inside, which this profile keeps private"
    return fault


def _fault_of_record(draft: Draft, record: Record, value: bytes, fault: str) -> str:
    return "" if read_cmw_content(draft.content(ID_PE_CMW)) == (record, value) else fault


def _fault_of_key(draft: Draft) -> str:
    spki, says = draft.wanted.identity.spki, draft.says
    if says.spki != spki:
        return "a key other than the attested one"
    if draft.content(ExtensionOID.SUBJECT_KEY_IDENTIFIER) != der.encode(extensions.key_identifier_of(spki)):
        return "the identifier of another key"
    if draft.content(ExtensionOID.AUTHORITY_KEY_IDENTIFIER) != draft.wanted.press.issuer_identifier:
        return "the identifier of another issuer's key"
    # RFC 5280 §4.1.1.2: the algorithm inside is the one that will stand beside the signature.
    return "" if says.algorithm == draft.wanted.press.blank.algorithm else "another algorithm than its issuer's"


# The order counts: the rules after "extensions" may rely on each being there.
_COMMON: Final = MappingProxyType(
    {
        "size": _fault_of_size,
        "serial": _fault_of_serial,
        "extensions": _fault_of_extensions,
        "names": _fault_of_names,
        "rights": _fault_of_rights,
        "key": _fault_of_key,
    }
)


def _lived(profile: "DeviceProfile", begin: datetime) -> datetime:
    return begin + timedelta(days=profile.validity_days)


def _endless(_profile: "DeviceProfile", _begin: datetime) -> datetime:
    return NO_WELL_DEFINED_END


DEVICE: Final = ProfileKind(
    name="device",
    purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    record=Record.EVIDENCE,
    rules=MappingProxyType({**_COMMON, "validity": _fault_of_lifetime, "evidence": _fault_of_evidence}),
    end=_lived,
)
"""The operational identity, with the evidence inside."""

DEVICE_PRIVATE: Final = ProfileKind(
    name="device-private",
    purposes=(ExtendedKeyUsageOID.CLIENT_AUTH,),
    record=Record.RESULT,
    rules=MappingProxyType({**_COMMON, "validity": _fault_of_lifetime, "result": _fault_of_result}),
    end=_lived,
)
"""The operational identity, with a signed attestation result in place of the evidence."""

IDEVID: Final = ProfileKind(
    name="idevid",
    purposes=(),
    record=Record.EVIDENCE,
    rules=MappingProxyType({**_COMMON, "validity": _fault_of_endless_life, "evidence": _fault_of_evidence}),
    end=_endless,
)
"""The initial device identity of IEEE 802.1AR, with the evidence inside."""

KINDS: Final = MappingProxyType({kind.name: kind for kind in (DEVICE, DEVICE_PRIVATE, IDEVID)})
"""Every kind, by its name in configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """Policy data: what every device certificate of a product line has in common."""

    name: str
    organization: str
    product: str
    algorithms: tuple[AlgorithmPolicy, ...]
    validity_days: int = DEFAULT_VALIDITY_DAYS
    """Not asked by a kind whose certificates have no well-defined end."""
    backdate_s: int = DEFAULT_BACKDATE_S
    kind: ProfileKind = DEVICE
