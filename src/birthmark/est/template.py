# SPDX-License-Identifier: Apache-2.0
"""
The certification request information template (RFC 9908 §3.4): a PKCS#10 request with holes, without a signature.

CertificationRequestInfoTemplate ::= SEQUENCE {                     -- IMPLICIT TAGS
    version       INTEGER { v1(0) },
    subject       SEQUENCE OF SET SIZE (1..MAX) OF SEQUENCE { type OBJECT IDENTIFIER, value ANY OPTIONAL } OPTIONAL,
    subjectPKInfo [0] SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING OPTIONAL } OPTIONAL,
    attributes    [1] SET OF Attribute }
ExtensionReqTemplate ::= SEQUENCE OF
    SEQUENCE { extnID OBJECT IDENTIFIER, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING OPTIONAL }

A hole is None here: the client fills it in. For an attribute without a value (the evidence) we write an empty SET, as
RFC 9908 §3.2 does outside of templates; the ASN.1 of PKCS#10 has no other spelling for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from cryptography.x509 import ObjectIdentifier

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.est.csrattrs import (
    CSRATTRS_MAX_ITEMS,
    FINDING,
    Attribute,
    WireAttribute,
    from_wire,
    in_sequence,
    to_wire,
)

ID_TEMPLATE: Final = ObjectIdentifier("1.2.840.113549.1.9.16.2.61")
"""id-aa-certificationRequestInfoTemplate."""
ID_EXTENSION_TEMPLATE: Final = ObjectIdentifier("1.2.840.113549.1.9.16.2.62")
"""id-aa-extensionReqTemplate. RFC 9908's printed example shortens it to 1.2.840.113549.1.9.62; its module does not."""
ID_EXTENSION_REQUEST: Final = ObjectIdentifier("1.2.840.113549.1.9.14")
RSA_ENCRYPTION: Final = ObjectIdentifier("1.2.840.113549.1.1.1")

_ONE_OF = frozenset({ID_EXTENSION_TEMPLATE, ID_EXTENSION_REQUEST})
_MOST_PARTS = 2
"""Of a name attribute and of an AlgorithmIdentifier: an OID, and perhaps a value."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NameWish:
    """An attribute of the subject; with a value it is to be used, without one the client knows its own."""

    type: ObjectIdentifier
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class KeyWish:
    """
    The AlgorithmIdentifier of the key that is wanted; `parameters` is one DER value.

    `placeholder` is an RSA public key of the length that is wanted, and None for all other keys.
    """

    algorithm: ObjectIdentifier
    parameters: bytes | None = None
    placeholder: bytes | None = None


@dataclass(frozen=True, slots=True)
class ExtensionWish:
    """An extension for the CSR; without a value the client knows its own."""

    oid: ObjectIdentifier
    critical: bool = False
    value: bytes | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """
    What a request should look like. `subject` and `key` are None where the server wants nothing of them.

    `subject` is a sequence of RDNs, each of one attribute or more.
    """

    subject: tuple[tuple[NameWish, ...], ...] | None = None
    key: KeyWish | None = None
    attributes: tuple[Attribute, ...] = ()


@der.sequence
class _Key:
    algorithm: der.TLV
    placeholder: der.BitString | None


@der.sequence
class _Template:
    version: int
    subject: list[der.SetOf[der.TLV]] | None
    key: Annotated[_Key | None, der.Implicit(0)]
    attributes: Annotated[der.SetOf[WireAttribute], der.Implicit(1), der.Size(0, CSRATTRS_MAX_ITEMS)]


@der.sequence
class _Parts:
    """A SEQUENCE that holds a SEQUENCE OF ANY: the library has no optional ANY."""

    items: Annotated[list[der.TLV], der.Size(0, CSRATTRS_MAX_ITEMS)]


@der.sequence
class _Extension:
    oid: ObjectIdentifier
    critical: Annotated[bool, der.Default(False)]  # noqa: FBT003 the library's way to write DEFAULT FALSE
    value: bytes | None


@der.sequence
class _Extensions:
    items: Annotated[list[_Extension], der.Size(1, CSRATTRS_MAX_ITEMS)]


# --- template --------------------------------------------------------------------------------------------------


def encode(template: Template) -> bytes:
    """Return the DER of the template. Raises DecodeError for a value in it that is not one DER value."""
    subject = None if template.subject is None else [_rdn_out(rdn) for rdn in template.subject]
    key = None if template.key is None else _key_out(template.key)
    attributes = der.SetOf([to_wire(each) for each in template.attributes])
    return der.encode(_Template(version=0, subject=subject, key=key, attributes=attributes))


def decode(data: bytes) -> Template:
    """
    Return the template.

    Raises:
        DecodeError: not DER, another version than v1 (0), an RDN without attributes, a placeholder for a key that is
            not RSA, or more than one attribute that asks for extensions; finding est.csrattrs.

    """
    try:
        found = der.decode(_Template, data, "the request template")
        template = Template(_subject_in(found.subject), _key_in(found.key), _attributes_in(found.attributes.as_list()))
    except DecodeError as error:
        raise DecodeError(error.message, finding=FINDING) from error
    if found.version != 0:
        raise DecodeError(f"a request template of version {found.version}", finding=FINDING)
    return template


def encode_extensions(wishes: Sequence[ExtensionWish]) -> bytes:
    """Return the DER of an ExtensionReqTemplate: the one value of the attribute ID_EXTENSION_TEMPLATE."""
    items = [_Extension(oid=each.oid, critical=each.critical, value=each.value) for each in wishes]
    return bytes(der.decode(der.TLV, der.encode(_Extensions(items=items)), "extensions").data)


def decode_extensions(data: bytes) -> tuple[ExtensionWish, ...]:
    """
    Return the extensions that a server wants, of an ExtensionReqTemplate or of an id-ExtensionReq.

    Raises:
        DecodeError: not DER, none, or the same extension twice (RFC 9908 §3.2); finding est.csrattrs.

    """
    try:
        items = der.decode(_Extensions, in_sequence(data), "the wanted extensions").items
    except DecodeError as error:
        raise DecodeError(error.message, finding=FINDING) from error
    if len({item.oid for item in items}) != len(items):
        raise DecodeError("the same extension is wanted twice", finding=FINDING)
    return tuple(ExtensionWish(item.oid, item.critical, item.value) for item in items)


# --- parts -----------------------------------------------------------------------------------------------------


def _rdn_out(rdn: Sequence[NameWish]) -> der.SetOf[der.TLV]:
    return der.SetOf([_named_any(each.type, each.value) for each in rdn])


def _key_out(key: KeyWish) -> _Key:
    placeholder = None if key.placeholder is None else der.BitString(key.placeholder, 0)
    return _Key(algorithm=_named_any(key.algorithm, key.parameters), placeholder=placeholder)


def _named_any(name: ObjectIdentifier, value: bytes | None) -> der.TLV:
    """Return SEQUENCE { OID, ANY OPTIONAL }."""
    return _any(in_sequence(der.encode(name) + (b"" if value is None else der.encode(_any(value)))))


def _any(value: bytes) -> der.TLV:
    return der.decode(der.TLV, value, "an ANY")


def _subject_in(subject: list[der.SetOf[der.TLV]] | None) -> tuple[tuple[NameWish, ...], ...] | None:
    if subject is None:
        return None
    if len(subject) > CSRATTRS_MAX_ITEMS or not all(rdn.as_list() for rdn in subject):
        raise DecodeError("an RDN without attributes, or too many of them")
    return tuple(tuple(NameWish(*_name_and_value(each)) for each in rdn.as_list()) for rdn in subject)


def _key_in(key: _Key | None) -> KeyWish | None:
    if key is None:
        return None
    algorithm, parameters = _name_and_value(key.algorithm)
    if key.placeholder is None:
        return KeyWish(algorithm, parameters)
    if algorithm != RSA_ENCRYPTION or key.placeholder.padding_bits():
        raise DecodeError("a template holds a public key for RSA only, to say how long it should be")
    return KeyWish(algorithm, parameters, key.placeholder.as_bytes())


def _attributes_in(attributes: Sequence[WireAttribute]) -> tuple[Attribute, ...]:
    if sum(each.type in _ONE_OF for each in attributes) > 1:
        raise DecodeError("more than one attribute that asks for extensions")
    return tuple(from_wire(each) for each in attributes)


def _name_and_value(sequence: der.TLV) -> tuple[ObjectIdentifier, bytes | None]:
    """Read SEQUENCE { OID, ANY OPTIONAL }."""
    parts = der.decode(_Parts, in_sequence(der.encode(sequence)), "a type with its value").items
    if not 1 <= len(parts) <= _MOST_PARTS:
        raise DecodeError(f"{len(parts)} parts where a type and perhaps a value should stand")
    name = der.parse(ObjectIdentifier, parts[0], "a type")
    return name, der.encode(parts[1]) if len(parts) == _MOST_PARTS else None
