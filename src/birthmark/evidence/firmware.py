# SPDX-License-Identifier: Apache-2.0
"""Firmware versions that can be compared: numbers with dots between, as most chips' makers write them."""

import re
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, ...]

_VERSION: Final = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,10}){0,7}")


def read_version(text: str) -> Version | None:
    """
    Return the numbers of a version, without zeros at its end; None for a text of another form.

    "1.2", "1.2.0" and "1.02" are one version, and older than "1.10".
    """
    if _VERSION.fullmatch(text) is None:
        return None
    numbers = [int(number) for number in text.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
