# SPDX-License-Identifier: Apache-2.0
"""The two spellings that every text format of the log shares: canonical base64 (RFC 4648 §4) and plain decimals."""

import base64
import binascii

from birthmark.core.errors import DecodeError

DECIMAL_MAX_DIGITS = 19


def encode_base64(data: bytes) -> str:
    """Return standard base64 with its padding, in one line."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, structure: str) -> bytes:
    """Return the bytes. Raises DecodeError for any spelling but the one that `encode_base64` gives."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise DecodeError(f"{structure} is not base64") from error
    if encode_base64(data) != text:
        raise DecodeError(f"{structure} is not in the one right form of base64")
    return data


def decode_decimal(text: str, structure: str) -> int:
    """Return the number. Raises DecodeError for a sign, a leading zero, a digit that is not ASCII, too many of them."""
    if not (text.isascii() and text.isdigit()) or len(text) > DECIMAL_MAX_DIGITS:
        raise DecodeError(f"{structure} is not a decimal number")
    if text[0] == "0" and text != "0":
        raise DecodeError(f"{structure} has a leading zero")
    return int(text)
