# SPDX-License-Identifier: Apache-2.0
"""
Calendars: until when an authority allows an algorithm, and what follows for the last day of issue under a profile.

The calendars of NIST, NSA and BSI come with the program as reviewed data (calendars.toml); a policy may bring others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from birthmark.core.config import Config, parse
from birthmark.core.errors import ConfigError
from birthmark.evidence.policy.file import CalendarEntry, ProfileEntry
from birthmark.pki.algorithms import KeyAlgorithm

SHIPPED: Final = "calendars.toml"
_ALGORITHMS: Final = frozenset(algorithm.value for algorithm in KeyAlgorithm)


class CalendarsFile(Config, frozen=True):
    """calendars.toml."""

    calendar: tuple[CalendarEntry, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """Why an algorithm is no longer issued: the last day (None: it was never allowed), and who says so."""

    last_issue: date | None
    source: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A profile's last day of issue per algorithm. An algorithm that is not in it has no end; that is the default."""

    endings: Mapping[str, Ending]

    def refusal(self, algorithm: KeyAlgorithm, on: date) -> str | None:
        """Return None if a key of this type may be certified on that day, else the reason."""
        ending = self.endings.get(algorithm.value)
        if ending is None or (ending.last_issue is not None and on <= ending.last_issue):
            return None
        if ending.last_issue is None:
            return f"{algorithm.value} is not among the algorithms of {ending.source}"
        return f"{algorithm.value} was issued until {ending.last_issue.isoformat()}: {ending.source}"


NO_SCHEDULE: Final = Schedule(MappingProxyType({}))


@cache
def shipped_calendars() -> tuple[CalendarEntry, ...]:
    """Return the calendars that come with the program. They are part of it, like its code."""
    return parse(CalendarsFile, files(__package__).joinpath(SHIPPED).read_bytes(), SHIPPED).calendar


def used_calendars(profiles: tuple[ProfileEntry, ...], own: tuple[CalendarEntry, ...]) -> dict[str, CalendarEntry]:
    """
    Return the calendars that the profiles name, by name: the policy's own, or those of the program.

    Raises:
        ConfigError: a name twice, a name that is not there, or an algorithm that does not exist.

    """
    known: dict[str, CalendarEntry] = {}
    for calendar in (*shipped_calendars(), *own):
        if calendar.name in known:
            raise ConfigError(f"endorsements: calendar {calendar.name!r} stands there twice, or comes with the program")
        _check_algorithms([algorithm.name for algorithm in calendar.algorithm], f"calendar {calendar.name!r}")
        known[calendar.name] = calendar
    names = sorted({name for profile in profiles for name in profile.calendars})
    for name in names:
        if name not in known:
            raise ConfigError(f"endorsements: there is no calendar {name!r}; there are {', '.join(sorted(known))}")
    return {name: known[name] for name in names}


def schedule(profile: ProfileEntry, calendars: Mapping[str, CalendarEntry]) -> Schedule:
    """Return a profile's schedule: of all that limits an algorithm, the earliest. Raises ConfigError as above."""
    _check_algorithms([entry.name for entry in profile.algorithm], f"profile {profile.name!r}")
    endings: dict[str, Ending] = {}
    for name, ending in _endings(profile, calendars):
        earlier = endings.get(name)
        if earlier is None or (ending.last_issue or date.min) < (earlier.last_issue or date.min):
            endings[name] = ending
    return Schedule(MappingProxyType(endings))


def _endings(profile: ProfileEntry, calendars: Mapping[str, CalendarEntry]) -> Iterator[tuple[str, Ending]]:
    margin = timedelta(days=profile.margin_days)
    for name in profile.calendars:
        listed = {algorithm.name: algorithm for algorithm in calendars[name].algorithm}
        for unlisted in sorted(_ALGORITHMS - listed.keys()):
            yield unlisted, Ending(None, calendars[name].title)
        for algorithm in listed.values():
            if algorithm.last_use is not None:
                yield algorithm.name, Ending(algorithm.last_use - margin, algorithm.source)
    for own in profile.algorithm:
        yield own.name, Ending(own.last_issue, own.source)


def _check_algorithms(names: list[str], where: str) -> None:
    for name in names:
        if name not in _ALGORITHMS:
            raise ConfigError(f"endorsements: {where}: there is no algorithm {name[:64]!r}")
    if len(set(names)) != len(names):
        raise ConfigError(f"endorsements: {where}: an algorithm stands there twice")
