# SPDX-License-Identifier: Apache-2.0
"""
Certifications of chips, as reviewed data: a person has looked each up, and says when and where.

Nothing here asks a certification body. What a program can do is to hold policy to what the data says, at a moment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import Final

from birthmark.core.errors import ConfigError
from birthmark.evidence.policy.file import CertificationEntry, ModelEntry, ProfileEntry, Scheme

_FAULTS: Final = tuple(
    f"evidence.certification.{fault}" for fault in ("missing", "revoked", "level", "historical", "expired")
)
_FIPS_LEVEL: Final = re.compile(r"([1-4])")
_EAL: Final = re.compile(r"EAL([1-7])(\+?)")


@dataclass(frozen=True, slots=True)
class Certification:
    """One certificate of a chip model. `level` compares within its scheme: (3, 0) is FIPS level 3, (6, 1) is EAL6+."""

    id: str
    scheme: Scheme
    certificate: str
    level: tuple[int, int]
    level_text: str
    status: str
    expires: date | None

    def __str__(self) -> str:
        return f"{self.scheme} {self.certificate} ({self.level_text})"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a profile demands of a chip's certifications: a level for each scheme that counts; none: no demand."""

    minimum: Mapping[Scheme, tuple[int, int]]
    accept_historical: bool = False

    def shortfall(self, certifications: tuple[Certification, ...], on: date) -> tuple[str, str] | None:
        """Return None if one certification is enough on that day, else the finding and the reason of the nearest."""
        if not self.minimum:
            return None
        faults = [self._first_fault(certification, on) for certification in certifications]
        if None in faults:
            return None
        nearest = max(
            (fault for fault in faults if fault), default=(0, f"none by {' or '.join(self.minimum)} is on file")
        )
        return _FAULTS[nearest[0]], nearest[1]

    def _first_fault(self, certification: Certification, on: date) -> tuple[int, str] | None:
        """Return how far a certification comes, and why no further; None when it is enough."""
        if certification.scheme not in self.minimum:
            return 0, f"{certification} is by a scheme that does not count here"
        if certification.status == "revoked":
            return 1, f"{certification} is revoked"
        if certification.level < self.minimum[certification.scheme]:
            return 2, f"{certification} is of too low a level"
        if certification.status == "historical" and not self.accept_historical:
            return 3, f"{certification} is historical"
        if certification.expires is not None and on > certification.expires:
            return 4, f"{certification} expired on {certification.expires.isoformat()}"
        return None


NO_REQUIREMENT: Final = Requirement(MappingProxyType({}))


def read_certifications(entries: tuple[CertificationEntry, ...]) -> Mapping[str, Certification]:
    """Return the certifications by their ids. Raises ConfigError: an id twice, or a level that its scheme lacks."""
    found: dict[str, Certification] = {}
    for entry in entries:
        if entry.id in found:
            raise ConfigError(f"endorsements: certification {entry.id!r} stands there twice")
        found[entry.id] = Certification(
            id=entry.id,
            scheme=entry.scheme,
            certificate=entry.certificate,
            level=_level(entry.scheme, entry.level, f"certification {entry.id!r}"),
            level_text=entry.level,
            status=entry.status,
            expires=entry.expires,
        )
    return MappingProxyType(found)


def of_model(model: ModelEntry, known: Mapping[str, Certification]) -> tuple[Certification, ...]:
    """Return what a model refers to. Raises ConfigError for an id that is not there."""
    for identifier in model.certifications:
        if identifier not in known:
            raise ConfigError(f"endorsements: model {model.id!r}: there is no certification {identifier!r}")
    return tuple(known[identifier] for identifier in model.certifications)


def requirement(profile: ProfileEntry) -> Requirement:
    """Return a profile's demand. Raises ConfigError for a level that its scheme lacks."""
    where = f"profile {profile.name!r}"
    levels = {scheme: _level(scheme, text, where) for scheme, text in profile.minimum.items()}
    return Requirement(MappingProxyType(levels), profile.accept_historical)


def _level(scheme: Scheme, text: str, where: str) -> tuple[int, int]:
    match = (_EAL if scheme == "CC" else _FIPS_LEVEL).fullmatch(text)
    if match is None:
        form = '"EAL1" to "EAL7", with "+" when augmented' if scheme == "CC" else '"1" to "4"'
        raise ConfigError(f"endorsements: {where}: {text[:32]!r} is not a level of {scheme}; it is {form}")
    return int(match[1]), int(scheme == "CC" and match[2] == "+")
