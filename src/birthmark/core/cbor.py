# SPDX-License-Identifier: Apache-2.0
"""
Strict, deterministic CBOR (RFC 8949 §4.2.1).

cbor2 does the work; the strictness is ours: the bytes must be exactly what encoding the value gives, so a second
spelling of the same value, a duplicate key and a trailing byte are all refused. Only plain types are admitted.
"""

from typing import TypeAlias

import cbor2

from birthmark.core.errors import DecodeError

CBOR_MAX_BYTES = 65_536
CBOR_MAX_DEPTH = 8

CBORValue: TypeAlias = "int | str | bytes | bool | list[CBORValue] | dict[int | str, CBORValue] | None"


def encode(value: CBORValue) -> bytes:
    """Return the deterministic encoding of `value`."""
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes, structure: str) -> CBORValue:
    """
    Decode `data`, all of it.

    Raises:
        DecodeError: malformed, not deterministic, too large, too deep, or of a type that we do not use.

    """
    if len(data) > CBOR_MAX_BYTES:
        raise DecodeError(f"{structure}: {len(data)} bytes of CBOR, at most {CBOR_MAX_BYTES} are read")
    try:
        value: object = cbor2.loads(data)
        plain = _plain(value, structure, CBOR_MAX_DEPTH)
        canonical = encode(plain)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DecodeError(f"{structure} is not CBOR: {error}") from error
    if canonical != data:
        raise DecodeError(f"{structure}: the CBOR is not in its deterministic form")
    return plain


def _plain(value: object, structure: str, depth: int) -> CBORValue:
    if depth == 0:
        raise DecodeError(f"{structure}: CBOR nested more than {CBOR_MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | str | bytes):
        return value
    if isinstance(value, list):
        return [_plain(item, structure, depth - 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, int | str) for key in value):
        return {key: _plain(item, structure, depth - 1) for key, item in value.items()}
    raise DecodeError(f"{structure}: CBOR of type {type(value).__name__} is not used here")
