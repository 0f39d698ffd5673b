# SPDX-License-Identifier: Apache-2.0
"""Retry-After (RFC 9110 §10.2.3): how long a server asks to be left alone."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

_MAX_DIGITS: Final = 9


def retry_after_s(headers: Mapping[str, str]) -> int | None:
    """
    Return the seconds that an answer asks to wait, or None when it says nothing readable.

    Args:
        headers: of the answer, with their names in lower case. A moment counts from the server's own Date: our clock
            may be wrong.

    """
    wait = headers.get("retry-after", "")
    if wait.isdecimal() and wait.isascii():
        return int(wait) if len(wait) <= _MAX_DIGITS else None
    try:
        span = parsedate_to_datetime(wait) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0, math.ceil(span.total_seconds()))
