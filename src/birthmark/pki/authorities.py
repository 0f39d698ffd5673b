# SPDX-License-Identifier: Apache-2.0
"""
The certificates that a ceremony or a lab makes: one small function per kind.

```text
root CA      ── issuing CA (devices, the CRL and its OCSP responder)
             ├─ operations CA ── TLS servers, rigs, officers, signers
             └─ rigs CA ── rigs that enrol themselves
legacy root  ── one certificate per SKU
maker root   ── AK CA ── one AK certificate per chip
```

Devices' certificates come from `profiles` and from nowhere else. The time is an argument of each function; validity
begins an hour before it, because clocks differ, and may end after the issuer's (the path is then invalid from there).
"""

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from birthmark.core import ids
from birthmark.core.registry import (
    ID_KP_ATTESTATION_KEY,
    ID_KP_CMC_RA,
    ID_KP_OFFICER,
    TCG_AT_TPM_MANUFACTURER,
    TCG_AT_TPM_MODEL,
    TCG_AT_TPM_VERSION,
    TCG_KP_AIK_CERTIFICATE,
)
from birthmark.core.roles import Role
from birthmark.pki import extensions, names
from birthmark.pki.algorithms import SigningKey, VerifyingKey, signature_hash
from birthmark.pki.rig_scope import scope_extension

SERIAL_BYTES = 16
BACKDATE = timedelta(hours=1)
ROOT_DAYS = 25 * 365
SUB_CA_DAYS = 15 * 365
AK_DAYS = 20 * 365
LEGACY_DAYS = 10 * 365
TLS_DAYS = 397
RIG_DAYS = 397
OFFICER_DAYS = 397
OCSP_DAYS = 90
SIGNER_DAYS = 5 * 365
RIG_USAGES = (ExtendedKeyUsageOID.CLIENT_AUTH, ID_KP_CMC_RA)
LEGACY_PREFIX = "sku:"


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA: its certificate and the key that signs for it, in software or in a token."""

    certificate: x509.Certificate
    key: SigningKey = field(repr=False)

    @property
    def organization(self) -> str:
        """The organization in the CA's own subject."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value)


@dataclass(frozen=True, slots=True)
class TPMName:
    """What the SAN of a TPM's AK certificate says (TCG EK Credential Profile): `id:` texts of its maker."""

    manufacturer: str
    model: str
    version: str


@dataclass(frozen=True, slots=True)
class ChipName:
    """The chip that an AK certificate is for. A TPM also has its TCG names."""

    serial: str
    hw_type: OID
    tpm: TPMName | None = None


def new_serial() -> int:
    """Return a random positive serial of exactly 16 bytes, so that every certificate of a kind has the same size."""
    value = bytearray(secrets.token_bytes(SERIAL_BYTES))
    value[0] = value[0] & 0x3F | 0x40
    return int.from_bytes(value, "big")


def make_root(organization: str, name: str, key: SigningKey, at: datetime, days: int = ROOT_DAYS) -> Authority:
    """Return a self-signed root."""
    subject = names.named(organization, name)
    public = key.public_key()
    builder = (
        _dated(subject, subject, public, at, days)
        .add_extension(extensions.authority(None), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(extensions.subject_key_identifier(public), critical=False)
    )
    return Authority(builder.sign(key, signature_hash(public)), key)


def make_sub_ca(issuer: Authority, name: str, key: SigningKey, at: datetime, days: int = SUB_CA_DAYS) -> Authority:
    """Return a CA under a root, of the same organization, that may sign end entities only."""
    public = key.public_key()
    builder = (
        _issued(issuer, names.named(issuer.organization, name), public, at, days)
        .add_extension(extensions.authority(0), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(extensions.subject_key_identifier(public), critical=False)
    )
    return Authority(_sign(builder, issuer), key)


def make_rig_ca(issuer: Authority, name: str, key: SigningKey, at: datetime, days: int = SUB_CA_DAYS) -> Authority:
    """
    Return a CA under a root that certifies rigs and nobody else: it lists their key usages, and hands down no others.

    Its key may be where a service is: whoever takes it makes rigs, which vouch for nothing, and no persons.
    """
    public = key.public_key()
    builder = (
        _issued(issuer, names.named(issuer.organization, name), public, at, days)
        .add_extension(extensions.authority(0), critical=True)
        .add_extension(extensions.SIGNS_CERTIFICATES, critical=True)
        .add_extension(extensions.subject_key_identifier(public), critical=False)
    )
    return Authority(_sign(_for(builder, *RIG_USAGES), issuer), key)


def make_tls_server(
    issuer: Authority,
    key: VerifyingKey,
    at: datetime,
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1"),
    days: int = TLS_DAYS,
) -> x509.Certificate:
    """Return a TLS server's certificate for DNS names and IP addresses. The first of them is its common name."""
    builder = _end_entity(issuer, names.named(issuer.organization, hosts[0]), key, at, days)
    san = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return _sign(_for(builder, ExtendedKeyUsageOID.SERVER_AUTH).add_extension(san, critical=False), issuer)


def make_rig(
    issuer: Authority,
    rig: str,
    key: VerifyingKey,
    at: datetime,
    days: int = RIG_DAYS,
    *,
    orders: tuple[str, ...] = (),
) -> x509.Certificate:
    """
    Return a rig's certificate: TLS client and EST registration authority (RFC 7030 §3.7). CN is the rig's name.

    With `orders` it is limited to these (`pki.rig_scope`). Raises DecodeError for one that is none.
    """
    builder = _end_entity(issuer, names.named(issuer.organization, rig), key, at, days)
    builder = _for(builder, *RIG_USAGES)
    if orders:
        builder = builder.add_extension(scope_extension(orders), critical=False)
    return _sign(builder, issuer)


def make_officer(
    issuer: Authority, name: str, role: Role, key: VerifyingKey, at: datetime, days: int = OFFICER_DAYS
) -> x509.Certificate:
    """
    Return the certificate of a person who works on the CA: TLS client, and signer of what they propose and decide.

    The subject says name and role; id-kp-officer keeps every other certificate of the hierarchy from passing for one.
    """
    builder = _end_entity(issuer, names.officer_subject(issuer.organization, name, role), key, at, days)
    return _sign(_for(builder, ExtendedKeyUsageOID.CLIENT_AUTH, ID_KP_OFFICER), issuer)


def make_ocsp_responder(
    issuer: Authority, name: str, key: VerifyingKey, at: datetime, days: int = OCSP_DAYS
) -> x509.Certificate:
    """
    Return the certificate of a delegated OCSP responder (RFC 6960 §4.2.2.2), of the CA whose certificates it speaks of.

    With id-pkix-ocsp-nocheck (§4.2.2.2.1): nobody asks for its revocation, so it lives shortly.
    """
    builder = _for(
        _end_entity(issuer, names.named(issuer.organization, name), key, at, days), ExtendedKeyUsageOID.OCSP_SIGNING
    )
    return _sign(builder.add_extension(x509.OCSPNoCheck(), critical=False), issuer)


def make_signer(
    issuer: Authority, name: str, key: VerifyingKey, at: datetime, days: int = SIGNER_DAYS
) -> x509.Certificate:
    """Return the certificate of a key that signs documents, such as attestation results. It is good for no TLS."""
    return _sign(_end_entity(issuer, names.named(issuer.organization, name), key, at, days), issuer)


def make_legacy(
    issuer: Authority, sku: str, key: VerifyingKey, at: datetime, days: int = LEGACY_DAYS
) -> x509.Certificate:
    """Return the certificate that all fielded units of one SKU share. It proves no hardware: CN `sku:<name>`."""
    builder = _end_entity(issuer, names.named(issuer.organization, LEGACY_PREFIX + sku), key, at, days)
    return _sign(_for(builder, ExtendedKeyUsageOID.CLIENT_AUTH), issuer)


def make_ak_ca(issuer: Authority, name: str, key: SigningKey, at: datetime, days: int = SUB_CA_DAYS) -> Authority:
    """Return a chip maker's CA for attestation keys."""
    return make_sub_ca(issuer, name, key, at, days)


def make_ak_certificate(
    issuer: Authority, chip: ChipName, key: VerifyingKey, at: datetime, days: int = AK_DAYS
) -> x509.Certificate:
    """
    Return the certificate of one chip's attestation key.

    Kept small, because it travels inside the device's certificate: its subject is the chip's serial alone (the maker is
    the issuer), it has no subject key identifier, and by leaving basicConstraints out it is no CA (RFC 5280 §4.2.1.9).
    """
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, ids.chip_serial(chip.serial))])
    purpose = TCG_KP_AIK_CERTIFICATE if chip.tpm else ID_KP_ATTESTATION_KEY
    builder = _for(_small_end_entity(issuer, subject, key, at, days), purpose)
    return _sign(builder.add_extension(_chip_san(chip), critical=False), issuer)


def _chip_san(chip: ChipName) -> x509.SubjectAlternativeName:
    entries: list[x509.GeneralName] = [names.hardware_module_name(chip.hw_type, chip.serial)]
    if chip.tpm:
        attributes = (
            x509.NameAttribute(TCG_AT_TPM_MANUFACTURER, chip.tpm.manufacturer),
            x509.NameAttribute(TCG_AT_TPM_MODEL, chip.tpm.model),
            x509.NameAttribute(TCG_AT_TPM_VERSION, chip.tpm.version),
        )
        entries.append(x509.DirectoryName(x509.Name(attributes)))
    return x509.SubjectAlternativeName(entries)


def _host(host: str) -> x509.GeneralName:
    try:
        address = ip_address(host)
    except ValueError:
        return x509.DNSName(host)
    return x509.IPAddress(address)


def _dated(
    subject: x509.Name, issuer: x509.Name, key: VerifyingKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(new_serial())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + timedelta(days=days))
    )


def _issued(
    issuer: Authority, subject: x509.Name, key: VerifyingKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    builder = _dated(subject, issuer.certificate.subject, key, at, days)
    return builder.add_extension(extensions.authority_key_identifier(issuer.certificate), critical=False)


def _end_entity(
    issuer: Authority, subject: x509.Name, key: VerifyingKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        _small_end_entity(issuer, subject, key, at, days)
        .add_extension(extensions.END_ENTITY, critical=True)
        .add_extension(extensions.subject_key_identifier(key), critical=False)
    )


def _small_end_entity(
    issuer: Authority, subject: x509.Name, key: VerifyingKey, at: datetime, days: int
) -> x509.CertificateBuilder:
    return _issued(issuer, subject, key, at, days).add_extension(extensions.SIGNS_DATA, critical=True)


def _for(builder: x509.CertificateBuilder, *purposes: OID) -> x509.CertificateBuilder:
    return builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)


def _sign(builder: x509.CertificateBuilder, issuer: Authority) -> x509.Certificate:
    return builder.sign(issuer.key, signature_hash(issuer.key.public_key()))
