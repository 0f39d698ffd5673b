# SPDX-License-Identifier: Apache-2.0
"""
CSR attributes: what an EST server wants to find in a CSR.

CsrAttrs ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID        (RFC 8951 §4, RFC 9908 §3.2)
AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }

RFC 9908 §3.2 lets `values` be empty (any key of this type), against the SIZE (1..MAX) of its own ASN.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import ID_AA_ATTESTATION

ID_EC_PUBLIC_KEY: Final = ObjectIdentifier("1.2.840.10045.2.1")
CURVE_P256: Final = ObjectIdentifier("1.2.840.10045.3.1.7")
CURVE_P384: Final = ObjectIdentifier("1.3.132.0.34")
CSRATTRS_MAX_ITEMS: Final = 64


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute with the values that the server wants, each one DER value."""

    type: ObjectIdentifier
    values: tuple[bytes, ...]


@der.sequence
class _Attribute:
    type: ObjectIdentifier
    values: Annotated[der.SetOf[der.TLV], der.Size(0, CSRATTRS_MAX_ITEMS)]


@der.sequence
class _Wrapped:
    """One layer more than CsrAttrs has: the DER library declares a SEQUENCE OF only as a field."""

    items: Annotated[list[ObjectIdentifier | _Attribute], der.Size(0, CSRATTRS_MAX_ITEMS)]


def wanted(curve: ObjectIdentifier) -> tuple[ObjectIdentifier | Attribute, ...]:
    """Return what our CA asks for: evidence, and an EC key on this curve (RFC 9908 §3.2)."""
    return (ID_AA_ATTESTATION, Attribute(ID_EC_PUBLIC_KEY, (der.encode(curve),)))


def encode(items: Iterable[ObjectIdentifier | Attribute]) -> bytes:
    """Return the DER of CsrAttrs."""
    plain = [item if isinstance(item, ObjectIdentifier) else _plain(item) for item in items]
    wrapped = der.decode(der.TLV, der.encode(_Wrapped(items=plain)), "CsrAttrs")
    return bytes(wrapped.data)


def decode(data: bytes) -> tuple[ObjectIdentifier | Attribute, ...]:
    """Return the items of CsrAttrs in their order. Raises DecodeError (est.csrattrs)."""
    # An OCTET STRING around the data has the very length bytes that a SEQUENCE around it needs.
    wrapped = b"\x30" + der.encode(data)[1:]
    try:
        items = der.decode(_Wrapped, wrapped, "CsrAttrs").items
    except DecodeError as error:
        raise DecodeError(error.message, finding="est.csrattrs") from error
    return tuple(item if isinstance(item, ObjectIdentifier) else _item(item) for item in items)


def _plain(item: Attribute) -> _Attribute:
    values = [der.decode(der.TLV, value, "attribute value") for value in item.values]
    return _Attribute(type=item.type, values=der.SetOf(values))


def _item(attribute: _Attribute) -> Attribute:
    return Attribute(attribute.type, tuple(der.encode(value) for value in attribute.values.as_list()))
