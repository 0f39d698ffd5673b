# SPDX-License-Identifier: Apache-2.0
"""
The names in our certificates: subjects, and the hardware module name in the SAN (RFC 4108 §5).

Only stable facts are names. Firmware versions and attestation state are not (a renewal must find the same names).
"""

from dataclasses import dataclass
from typing import Annotated

from cryptography import x509
from cryptography.x509 import ObjectIdentifier as OID  # noqa: N814 the name that the field uses
from cryptography.x509.oid import NameOID

from birthmark.core import der, ids
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_ON_HARDWARE_MODULE_NAME
from birthmark.pki.reading import UNREADABLE

HW_SERIAL_MAX_BYTES = 64
COMMON_NAME_MAX = 64  # ub-common-name, RFC 5280 appendix A


@dataclass(frozen=True, slots=True)
class HardwareModule:
    """A chip as a SAN names it: the OID of its type and its serial."""

    hw_type: OID
    serial: str


@der.sequence
class _HardwareModuleName:
    hw_type: OID
    hw_serial: Annotated[bytes, der.Size(min=1, max=HW_SERIAL_MAX_BYTES)]


def device_subject(unit_serial: str, product: str, organization: str) -> x509.Name:
    """
    Return the subject of a device certificate, from the general to the particular.

    Raises:
        DecodeError: a serial that no label carries, or a product too long for a common name.

    """
    common_name = f"{product} {ids.unit_serial(unit_serial)}"
    if len(common_name) > COMMON_NAME_MAX:
        raise DecodeError(f"{common_name!r} has more than {COMMON_NAME_MAX} characters", finding="name.too-long")
    return named(organization, common_name, unit_serial)


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
    value = der.decode(_HardwareModuleName, found[0].value, "hardwareModuleName")
    try:
        serial = ids.chip_serial(value.hw_serial.decode("ascii"))
    except UnicodeDecodeError as error:
        raise DecodeError("the chip serial is not ASCII", finding="name.hardware-module") from error
    return HardwareModule(value.hw_type, serial)


def _only(name: x509.Name, oid: OID, what: str) -> str:
    values = [attribute.value for attribute in name.get_attributes_for_oid(oid)]
    if len(values) != 1 or not isinstance(values[0], str):
        raise DecodeError(f"{len(values)} {what} attributes in the subject; one is wanted", finding="name.subject")
    return values[0]
