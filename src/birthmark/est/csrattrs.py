# SPDX-License-Identifier: Apache-2.0
"""
CSR attributes: the bytes with which an EST server says what it wants to find in a CSR.

CsrAttrs ::= SEQUENCE SIZE (0..MAX) OF AttrOrOID        (RFC 8951 §4, RFC 9908 §3.2)
AttrOrOID ::= CHOICE { oid OBJECT IDENTIFIER, attribute Attribute }
Attribute ::= SEQUENCE { type OBJECT IDENTIFIER, values SET OF ANY }

RFC 9908 §3.2 lets `values` be empty (any key of this type), against the SIZE (1..MAX) of its own ASN.1. What the items
mean is in `wishes`; the template that one of them may hold is in `template`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final

from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError

FINDING: Final = "est.csrattrs"
CSRATTRS_MAX_ITEMS: Final = 64
"""Items in one CsrAttrs, values in one attribute, members of any list inside a template."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute with the values that the server wants, each one DER value, in the order of DER."""

    type: ObjectIdentifier
    values: tuple[bytes, ...]


@der.sequence
class WireAttribute:
    """An Attribute as the DER library sees it."""

    type: ObjectIdentifier
    values: Annotated[der.SetOf[der.TLV], der.Size(0, CSRATTRS_MAX_ITEMS)]


@der.sequence
class _Wrapped:
    """One layer more than CsrAttrs has: the DER library declares a SEQUENCE OF only as a field."""

    items: Annotated[list[ObjectIdentifier | WireAttribute], der.Size(0, CSRATTRS_MAX_ITEMS)]


def encode(items: Iterable[ObjectIdentifier | Attribute]) -> bytes:
    """Return the DER of CsrAttrs."""
    plain = [item if isinstance(item, ObjectIdentifier) else to_wire(item) for item in items]
    wrapped = der.decode(der.TLV, der.encode(_Wrapped(items=plain)), "CsrAttrs")
    return bytes(wrapped.data)


def decode(data: bytes) -> tuple[ObjectIdentifier | Attribute, ...]:
    """Return the items of CsrAttrs in their order. Raises DecodeError (est.csrattrs)."""
    try:
        items = der.decode(_Wrapped, in_sequence(data), "CsrAttrs").items
    except DecodeError as error:
        raise DecodeError(error.message, finding=FINDING) from error
    return tuple(item if isinstance(item, ObjectIdentifier) else from_wire(item) for item in items)


def to_wire(item: Attribute) -> WireAttribute:
    """Return the attribute for the encoder."""
    values = [der.decode(der.TLV, value, "attribute value") for value in item.values]
    return WireAttribute(type=item.type, values=der.SetOf(values))


def from_wire(attribute: WireAttribute) -> Attribute:
    """Return what the decoder found."""
    return Attribute(attribute.type, tuple(der.encode(value) for value in attribute.values.as_list()))


def in_sequence(content: bytes) -> bytes:
    """Return a DER SEQUENCE with these contents."""
    # An OCTET STRING around them has the very length bytes that a SEQUENCE around them needs.
    return b"\x30" + der.encode(content)[1:]
