# SPDX-License-Identifier: Apache-2.0
"""Serials, order names and fingerprints: checked once at the edge, plain text afterwards."""

import hashlib
import re

from birthmark.core.errors import DecodeError

_UNIT_SERIAL = re.compile(r"[A-Z0-9][A-Z0-9-]{2,31}")
_ORDER_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")
_CHIP_SERIAL = re.compile(r"[0-9A-Fa-f:]{8,64}|[A-Z0-9-]{4,64}")


def unit_serial(text: str) -> str:
    """Return `text` if it is a unit serial as the label carries it, else raise DecodeError with the text shown."""
    return _matching(_UNIT_SERIAL, text, "a unit serial", "capitals, digits and hyphens, 3 to 32 of them")


def order_id(text: str) -> str:
    """Return `text` if it names a production order (the EST label), else raise DecodeError."""
    return _matching(_ORDER_ID, text, "an order", "small letters, digits and hyphens, 2 to 32 of them")


def chip_serial(text: str) -> str:
    """Return `text` if it is a chip serial, else raise DecodeError."""
    return _matching(_CHIP_SERIAL, text, "a chip serial", "hexadecimal digits, or capitals, digits and hyphens")


def fingerprint(der: bytes) -> str:
    """Return the SHA-256 of DER bytes in lower-case hexadecimal: how certificates and evidence are referred to."""
    return hashlib.sha256(der).hexdigest()


def _matching(pattern: re.Pattern[str], text: str, what: str, form: str) -> str:
    if pattern.fullmatch(text) is None:
        raise DecodeError(f"{text[:64]!r} is not {what}", hint=f"{what} is {form}", finding="id.malformed")
    return text
