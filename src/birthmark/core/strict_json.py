# SPDX-License-Identifier: Apache-2.0
"""
JSON that says each thing once: how signed documents and the bodies of the administration are read.

RFC 8259 §4 leaves open what a member means that stands there twice; most readers, msgspec too, keep the last one and
are silent. What two readers can take for two things is nothing that a person has signed or asked for.
"""

import json
from typing import Any, TypeVar

import msgspec

from birthmark.core.errors import DecodeError

_T = TypeVar("_T")


def decode(data: bytes | msgspec.Raw, form: type[_T]) -> _T:
    """
    Return the value of this form that the JSON text is. In no object of it, however deep, stands a member twice.

    Raises:
        DecodeError: not UTF-8, not JSON, of another form, too deep, or with a member that stands there twice.

    """
    text = bytes(data)
    try:
        json.loads(text.decode(), object_pairs_hook=_each_once)
        return msgspec.json.decode(text, type=form)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise DecodeError(str(error)) from error


def _each_once(members: list[tuple[str, Any]]) -> None:
    """Refuse an object with a member twice. Names are compared as they are read: an escape hides none."""
    names = {name for name, _ in members}
    if len(names) != len(members):
        raise ValueError("a member stands there twice")
