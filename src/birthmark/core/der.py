# SPDX-License-Identifier: Apache-2.0
"""
The one door to ASN.1: strict DER by declaration.

`cryptography.hazmat.asn1` does the work. Its API is marked unstable, so nothing else in the project imports it
(docs/adr/0003-der-library.md). Declare a structure with `@sequence` and annotations, then `decode` or `encode` it.
"""

from typing import TypeVar

from cryptography.hazmat import asn1
from cryptography.hazmat.asn1 import (
    TLV,
    BitString,
    Default,
    Explicit,
    GeneralizedTime,
    IA5String,
    Implicit,
    Null,
    PrintableString,
    SetOf,
    Size,
    UTCTime,
    Variant,
    sequence,
    set,  # noqa: A004 the library's own name for a SET; used as der.set
)
from cryptography.x509 import InvalidVersion

from birthmark.core.errors import DecodeError

__all__ = [
    "TLV",
    "BitString",
    "Default",
    "Explicit",
    "GeneralizedTime",
    "IA5String",
    "Implicit",
    "Null",
    "PrintableString",
    "SetOf",
    "Size",
    "UTCTime",
    "Variant",
    "decode",
    "encode",
    "parse",
    "sequence",
    "set",
    "wrap",
]

T = TypeVar("T")

_SHORT_LENGTH = 0x80
_LONG_LENGTH = 0x80

# A certificate inside with a version that does not exist raises an error of its own, which is not a ValueError.
_UNREADABLE = (ValueError, TypeError, InvalidVersion)


def decode(cls: type[T], data: bytes, structure: str) -> T:
    """
    Decode `data`, all of it, as one DER value of `cls`.

    Raises:
        DecodeError: not DER, not canonical, not this type, or followed by more bytes.

    """
    try:
        return asn1.decode_der(cls, data)
    except _UNREADABLE as error:
        raise DecodeError(f"{structure} is not the DER that it should be: {error}") from error


def parse(cls: type[T], value: TLV, structure: str) -> T:
    """Decode an ANY that its neighbour has named. Raises DecodeError as `decode` does."""
    try:
        parsed: T = value.parse(cls)
    except _UNREADABLE as error:
        raise DecodeError(f"{structure} is not the DER that it should be: {error}") from error
    return parsed


def encode(value: object) -> bytes:
    """Return the DER of a value whose type `@sequence` has declared, or of a primitive."""
    return asn1.encode_der(value)


def wrap(tag: int, *parts: bytes) -> bytes:
    """
    Return the DER of one value with this identifier octet around parts that are DER already, or raw content.

    For what is put together from bytes that must not change on the way; all else is declared and encoded.
    """
    content = b"".join(parts)
    size = len(content)
    if size < _SHORT_LENGTH:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(length))) + length + content
