# SPDX-License-Identifier: Apache-2.0
"""When shifts begin, by the wall clock of the rig."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from birthmark.core.errors import DecodeError

MIDNIGHT = time()


def read_shifts(texts: Sequence[str]) -> tuple[time, ...]:
    """Return when shifts begin, in their order. Raises DecodeError: none, one that is no HH:MM, one that is twice."""
    try:
        starts = tuple(sorted(datetime.strptime(text, "%H:%M").time() for text in texts))  # noqa: DTZ007 of every day
    except ValueError as error:
        raise DecodeError(
            f"{list(texts)}: not the times at which shifts begin", hint='like ["06:00", "14:00"]'
        ) from error
    if not starts or len(set(starts)) < len(starts):
        raise DecodeError("shifts begin at different times, once a day at least", hint='like ["06:00", "14:00"]')
    return starts


def shift_began(at: datetime, starts: Sequence[time]) -> datetime:
    """Return when the shift began that runs at this moment, in UTC."""
    today = at.astimezone().date()
    days = (today, today - timedelta(days=1), today - timedelta(days=2))
    # Of each day by its own rule: one with 23 or 25 hours has its shifts at the times that clocks show.
    begun = (datetime.combine(day, start).astimezone() for day in days for start in starts)
    return max(moment for moment in begun if moment <= at).astimezone(UTC)
