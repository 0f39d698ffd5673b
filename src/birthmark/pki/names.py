# SPDX-License-Identifier: Apache-2.0
"""
The names in our certificates: subjects, and the hardware module name in the SAN (RFC 4108 §5).

Only stable facts are names. Firmware versions and attestation state are not (a renewal must find the same names).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

from cryptography import x509
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import NameOID

from birthmark.core import der, ids
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_ON_HARDWARE_MODULE_NAME
from birthmark.core.roles import Role
from birthmark.pki.reading import UNREADABLE

HW_SERIAL_MAX_BYTES = 64
COMMON_NAME_MAX = 64  # ub-common-name, RFC 5280 appendix A

_SEQUENCE, _SET, _UTF8_STRING, _PRINTABLE_STRING = 0x30, 0x31, 0x0C, 0x13
_ORGANIZATION = der.encode(NameOID.ORGANIZATION_NAME)
_COMMON_NAME = der.encode(NameOID.COMMON_NAME)
_SERIAL_NUMBER = der.encode(NameOID.SERIAL_NUMBER)


@dataclass(frozen=True, slots=True)
class HardwareModule:
    """A chip as a SAN names it: the OID of its type and its serial."""

    hw_type: OID
    serial: str


@der.sequence
class _HardwareModuleName:
    hw_type: OID
    hw_serial: Annotated[bytes, der.Size(min=1, max=HW_SERIAL_MAX_BYTES)]


@der.sequence
class _OtherName:
    type_id: OID
    value: Annotated[_HardwareModuleName, der.Explicit(0)]


@der.sequence
class _OnlyOtherName:
    """GeneralNames with one entry, an otherName (RFC 5280 §4.2.1.6)."""

    other_name: Annotated[_OtherName, der.Implicit(0)]


def device_subject(unit_serial: str, product: str, organization: str) -> x509.Name:
    """
    Return the subject of a device certificate, from the general to the particular.

    Raises:
        DecodeError: a serial that no label carries, or a product too long for a common name.

    """
    return named(organization, _device_common_name(unit_serial, product), unit_serial)


def device_subject_der(unit_serial: str, product: str, organization: str) -> bytes:
    """Return the DER of `device_subject`, in a tenth of the time. Raises as it does."""
    common_name = _device_common_name(unit_serial, product)
    return der.wrap(
        _SEQUENCE,
        _organization(organization),
        _relative_name(_COMMON_NAME, _UTF8_STRING, common_name),
        _relative_name(_SERIAL_NUMBER, _PRINTABLE_STRING, unit_serial),
    )


def device_san_der(chip: HardwareModule) -> bytes:
    """Return the DER of the SAN that names the chip alone. Raises DecodeError for what is not a chip serial."""
    module = _HardwareModuleName(hw_type=chip.hw_type, hw_serial=ids.chip_serial(chip.serial).encode("ascii"))
    return der.encode(_OnlyOtherName(other_name=_OtherName(type_id=ID_ON_HARDWARE_MODULE_NAME, value=module)))


def request_subject(unit_serial: str) -> x509.Name:
    """Return the subject of a first request: the unit serial alone. The CA adds the rest."""
    return x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, ids.unit_serial(unit_serial))])


def named(organization: str, common_name: str, serial: str | None = None) -> x509.Name:
    """Return O, CN and, if there is one, serialNumber as a subject."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if serial is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    return x509.Name(attributes)


def officer_subject(organization: str, name: str, role: Role) -> x509.Name:
    """Return the subject of a person's certificate: the role is its organizational unit, the name its common name."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, role.value),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def role_of(name: x509.Name) -> Role:
    """Return the role in a subject. Raises DecodeError unless there is exactly one OU and it is a role."""
    text = _only(name, NameOID.ORGANIZATIONAL_UNIT_NAME, "organizationalUnitName")
    try:
        return Role(text)
    except ValueError as error:
        raise DecodeError(f"{text[:64]!r} is no role", finding="name.subject") from error


def unit_serial_of(name: x509.Name) -> str:
    """Return the unit serial in a subject. Raises DecodeError unless there is exactly one and it is well formed."""
    return ids.unit_serial(_only(name, NameOID.SERIAL_NUMBER, "serialNumber"))


def common_name_of(name: x509.Name) -> str:
    """Return the common name of a subject. Raises DecodeError unless there is exactly one."""
    return _only(name, NameOID.COMMON_NAME, "commonName")


def hardware_module_name(hw_type: OID, serial: str) -> x509.OtherName:
    """Return the SAN entry for a chip. Raises DecodeError for a serial that is not a chip serial."""
    value = _HardwareModuleName(hw_type=hw_type, hw_serial=ids.chip_serial(serial).encode("ascii"))
    return x509.OtherName(ID_ON_HARDWARE_MODULE_NAME, der.encode(value))


def read_hardware_module_name(certificate: x509.Certificate) -> HardwareModule:
    """
    Return the chip that a certificate's SAN names.

    Raises:
        DecodeError: no SAN, no hardware module name in it, more than one, or a malformed one.

    """
    try:
        san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, *UNREADABLE) as error:
        raise DecodeError(f"no usable subjectAltName: {error}", finding="name.hardware-module") from error
    return hardware_module_of(san)


def hardware_module_of(san: x509.SubjectAlternativeName) -> HardwareModule:
    """Return the one chip that a SAN names. Raises DecodeError as `read_hardware_module_name` does."""
    found = [name for name in san.get_values_for_type(x509.OtherName) if name.type_id == ID_ON_HARDWARE_MODULE_NAME]
    if len(found) != 1:
        raise DecodeError(f"{len(found)} hardware module names; one is wanted", finding="name.hardware-module")
    return _module(der.decode(_HardwareModuleName, found[0].value, "hardwareModuleName"))


def only_hardware_module(san_der: bytes) -> HardwareModule:
    """Return the chip that a SAN names, and nothing beside it. Raises DecodeError for any other SAN."""
    name = der.decode(_OnlyOtherName, san_der, "subjectAltName").other_name
    if name.type_id != ID_ON_HARDWARE_MODULE_NAME:
        raise DecodeError("the SAN names something else than a chip", finding="name.hardware-module")
    return _module(name.value)


def _module(value: _HardwareModuleName) -> HardwareModule:
    try:
        serial = ids.chip_serial(value.hw_serial.decode("ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("the chip serial is not ASCII", finding="name.hardware-module") from error
    return HardwareModule(value.hw_type, serial)


def _device_common_name(unit_serial: str, product: str) -> str:
    common_name = f"{product} {ids.unit_serial(unit_serial)}"
    if len(common_name) > COMMON_NAME_MAX:
        raise DecodeError(f"{common_name!r} has more than {COMMON_NAME_MAX} characters", finding="name.too-long")
    return common_name


@lru_cache(maxsize=16)
def _organization(name: str) -> bytes:
    return _relative_name(_ORGANIZATION, _UTF8_STRING, name)


def _relative_name(oid_der: bytes, tag: int, text: str) -> bytes:
    return der.wrap(_SET, der.wrap(_SEQUENCE, oid_der, der.wrap(tag, text.encode())))


def _only(name: x509.Name, oid: OID, what: str) -> str:
    values = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    if len(values) != 1 or not isinstance(values[0], str):
        raise DecodeError(f"{len(values)} {what} attributes in the subject; one is wanted", finding="name.subject")
    return values[0]
