# SPDX-License-Identifier: Apache-2.0
"""
The part of CBOR (RFC 8949) that the link uses, in its deterministic form (§4.2.1) and in no other.

Unsigned integers below 2^64, byte strings, text, arrays, and maps whose keys are text.
"""

NESTING_LIMIT = 4

_UNSIGNED = 0
_BYTES = 2
_TEXT = 3
_ARRAY = 4
_MAP = 5
_INTEGER_LIMIT = 1 << 64
_ONE_BYTE = 24
"""Additional information from here on says how many bytes the argument has: 1, 2, 4 or 8."""


class NotCBOR(Exception):
    """Bytes that are not exactly one value in deterministic form, of the types that are used here."""


def encode(value: object) -> bytes:
    """Return the deterministic encoding. Raises TypeError for a value that is not used here."""
    if isinstance(value, int) and 0 <= value < _INTEGER_LIMIT:
        return _head(_UNSIGNED, value)
    if isinstance(value, (bytes, bytearray)):
        return _head(_BYTES, len(value)) + bytes(value)
    if isinstance(value, str):
        text = value.encode()
        return _head(_TEXT, len(text)) + text
    if isinstance(value, (list, tuple)):
        return _head(_ARRAY, len(value)) + b"".join([encode(item) for item in value])
    if isinstance(value, dict):
        pairs = sorted([(encode(key), encode(item)) for key, item in value.items()])
        return _head(_MAP, len(pairs)) + b"".join([key + item for key, item in pairs])
    raise TypeError("the link has no such value")


def decode(data: bytes) -> object:
    """Return the one value that fills the data. Raises NotCBOR."""
    value, end = _value(data, 0, NESTING_LIMIT)
    if end != len(data):
        raise NotCBOR("bytes behind the value")
    return value


def _head(major: int, argument: int) -> bytes:
    if argument < _ONE_BYTE:
        return bytes((major << 5 | argument,))
    size = 0
    while argument >> (8 << size):
        size += 1
    return bytes((major << 5 | _ONE_BYTE + size,)) + argument.to_bytes(1 << size, "big")


def _value(data: bytes, at: int, depth: int) -> tuple[object, int]:
    if not depth:
        raise NotCBOR("nested too deep")
    major, argument, at = _read_head(data, at)
    if major == _UNSIGNED:
        return argument, at
    if argument > len(data) - at:  # each item of an array or a map has at least one byte
        raise NotCBOR("longer than its bytes")
    if major == _ARRAY:
        return _array(data, at, argument, depth)
    if major == _MAP:
        return _map(data, at, argument, depth)
    content = data[at : at + argument]
    return content if major == _BYTES else _text(content), at + argument


def _read_head(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the major type, the argument, and where its content begins."""
    if at >= len(data):
        raise NotCBOR("cut short")
    major = data[at] >> 5
    if major not in (_UNSIGNED, _BYTES, _TEXT, _ARRAY, _MAP):
        raise NotCBOR("of a type that the link does not use")
    short = data[at] & 0x1F
    if short < _ONE_BYTE:
        return major, short, at + 1
    size = short - _ONE_BYTE
    end = at + 1 + (1 << size)
    if size > 3 or end > len(data):  # noqa: PLR2004 1, 2, 4 or 8 bytes
        raise NotCBOR("with a length that is none, or cut short")
    argument = int.from_bytes(data[at + 1 : end], "big")
    if _head(major, argument) != data[at:end]:
        raise NotCBOR("with a number that is not in its shortest form")
    return major, argument, end


def _text(content: bytes) -> str:
    try:
        return str(content, "utf-8")
    except ValueError:  # what MicroPython and CPython raise for it alike
        raise NotCBOR("with text that is not UTF-8") from None


def _array(data: bytes, at: int, count: int, depth: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):
        item, at = _value(data, at, depth - 1)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, count: int, depth: int) -> tuple[dict[str, object], int]:
    found = {}  # type: dict[str, object]
    last = b""
    for _ in range(count):
        start = at
        key, at = _value(data, at, depth - 1)
        if not isinstance(key, str) or data[start:at] <= last:
            raise NotCBOR("with keys that are not text, or not in order")
        last = data[start:at]
        found[key], at = _value(data, at, depth - 1)
    return found, at
