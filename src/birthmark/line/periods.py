# SPDX-License-Identifier: Apache-2.0
"""Periods as people say them: since a time, for a span, since the shift began. By the wall clock of the rig."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final

from birthmark.core.errors import DecodeError

SHIFT: Final = "shift"
"""The shift that runs now, as a period's beginning."""
_SPAN: Final = re.compile(r"([0-9]{1,5})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_HINT: Final = f"a time like 2026-11-23T12:00, a span like 90m, 8h, 7d, or {SHIFT!r}"


def read_shifts(texts: Sequence[str]) -> tuple[time, ...]:
    """Return when shifts begin, in their order. Raises DecodeError: none, one that is no HH:MM, one that is twice."""
    try:
        starts = tuple(sorted(datetime.strptime(text, "%H:%M").time() for text in texts))  # noqa: DTZ007 of every day
    except ValueError as error:
        message = f"{list(texts)}: not the times at which shifts begin"
        raise DecodeError(message, hint='like ["06:00", "14:00"]') from error
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


def read_moment(text: str, now: datetime, shifts: Sequence[time]) -> datetime:
    """
    Return the moment that a text says, in UTC: a time (without a zone, this machine's), a span before now, or SHIFT.

    Raises:
        DecodeError: line.yields.period.

    """
    if text == SHIFT:
        return shift_began(now, shifts)
    try:
        if span := _SPAN.fullmatch(text):
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"{text[:64]!r} is no time", hint=_HINT, finding="line.yields.period") from error
