# SPDX-License-Identifier: Apache-2.0
"""The clock is passed in: only wiring reads the time of the machine."""

from collections.abc import Callable
from datetime import UTC, datetime

# Returns the present moment as an aware datetime in UTC.
Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Return the machine's time, in UTC. Called by wiring and by nothing below it."""
    return datetime.now(UTC)
