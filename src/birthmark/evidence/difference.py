# SPDX-License-Identifier: Apache-2.0
"""
What a change of policy would do to the living fleet, before anybody makes it.

The evidence of every living certificate is appraised under the old policy and under the new one, and asked whether its
profile could still be issued. What differs is counted by cause. Pure: the certificates come as plain issuances, the
moment as an argument. Costs two appraisals per certificate and keeps none of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Final

from birthmark.core.issuance import Issuance
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.changes import Change, changes
from birthmark.evidence.eligibility import algorithm_of, ineligible
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import AttestedKey, Finding
from birthmark.pki.anchors import Notice

EXAMPLES_MAX: Final = 5


class Outcome(Enum):
    """What happens to a unit. The value says it in words."""

    DARK = "no longer believed: the cloud refuses it, and nothing is issued to it"
    STUCK = "still believed, but nothing is issued or renewed any more"
    BELIEVED = "believed again"
    RENEWABLE = "can be issued and renewed again"

    @property
    def is_loss(self) -> bool:
        """Whether the unit is worse off than before."""
        return self in (Outcome.DARK, Outcome.STUCK)


@dataclass(frozen=True, slots=True)
class Effect:
    """The units to which the same happens for the same cause."""

    outcome: Outcome
    finding: str
    """What stands against them: under the new policy for a loss, under the old one otherwise."""
    subject: str
    """The model, firmware, attestation key, AK CA or algorithm that it is about."""
    units: int
    examples: tuple[str, ...]
    """Serials of some of the units."""


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """All that there is to say about a change of policy."""

    old: str
    new: str
    """The digests of the two."""
    changes: tuple[Change, ...]
    effects: tuple[Effect, ...]
    units: int
    """Living units that were looked at."""
    notices: tuple[Notice, ...]
    """What a reviewer should know about the new policy's anchors."""

    @property
    def losses(self) -> tuple[Effect, ...]:
        """The effects by which units are worse off."""
        return tuple(effect for effect in self.effects if effect.outcome.is_loss)


@dataclass(frozen=True, slots=True)
class _Standing:
    """Where one certificate stands under one policy: what refuses it, what refuses its renewal, what it has proven."""

    refused: Finding | None
    stuck: Finding | None
    attested: AttestedKey | None


@dataclass(slots=True)
class _Count:
    units: set[str] = field(default_factory=set)

    def effect(self, outcome: Outcome, finding: str, subject: str) -> Effect:
        return Effect(outcome, finding, subject, len(self.units), tuple(sorted(self.units)[:EXAMPLES_MAX]))


def difference(old: Endorsements, new: Endorsements, living: Iterable[Issuance], at: datetime) -> PolicyDifference:
    """
    Return what the new policy would change for these certificates at the moment `at` (aware).

    Effects are sorted: losses first, the larger before the smaller.
    """
    counts: dict[tuple[Outcome, str, str], _Count] = {}
    units: set[str] = set()
    for issuance in living:
        units.add(issuance.unit_serial)
        cause = _cause(issuance, old, new, at)
        if cause is not None:
            counts.setdefault(cause, _Count()).units.add(issuance.unit_serial)
    effects = (count.effect(*cause) for cause, count in counts.items())
    return PolicyDifference(
        old=old.digest,
        new=new.digest,
        changes=changes(old, new),
        effects=tuple(sorted(effects, key=_rank)),
        units=len(units),
        notices=new.notices,
    )


def _rank(effect: Effect) -> tuple[int, int, str, str]:
    return list(Outcome).index(effect.outcome), -effect.units, effect.finding, effect.subject


def _cause(issuance: Issuance, old: Endorsements, new: Endorsements, at: datetime) -> tuple[Outcome, str, str] | None:
    before, after = (_standing(issuance, policy, at) for policy in (old, new))
    attested = before.attested or after.attested
    for outcome, finding in _turns(before, after):
        return outcome, finding.id, _subject(finding, issuance, attested)
    return None


def _turns(before: _Standing, after: _Standing) -> Iterator[tuple[Outcome, Finding]]:
    """Yield what changed for the certificate, the weightier first."""
    if after.refused and not before.refused:
        yield Outcome.DARK, after.refused
    if before.refused and not after.refused:
        yield Outcome.BELIEVED, before.refused
    if after.stuck and not before.stuck and not before.refused:
        yield Outcome.STUCK, after.stuck
    if before.stuck and not after.stuck and not after.refused:
        yield Outcome.RENEWABLE, before.stuck


def _standing(issuance: Issuance, policy: Endorsements, at: datetime) -> _Standing:
    verdict = appraise(issuance.evidence, issuance.spki, policy, at)
    if verdict.attested is None:
        return _Standing(next(iter(verdict.findings)), None, None)
    against = ineligible(verdict.attested, issuance.profile, policy, at)
    return _Standing(None, next(iter(against), None), verdict.attested)


def _subject(finding: Finding, issuance: Issuance, attested: AttestedKey | None) -> str:
    family = finding.id.split(".")[1]
    if finding.id == "evidence.ak.ca-denied":
        return finding.detail
    if finding.id == "evidence.ak.denied" and attested is not None:
        return f"AK {attested.ak_fingerprint}"
    if family == "ak":
        return issuance.chip.maker
    if family == "firmware" and attested is not None:
        return f"{issuance.chip_model} {attested.chip.firmware}"
    if family == "algorithm":
        algorithm = algorithm_of(issuance.spki)
        return f"{algorithm.value if algorithm else 'unknown'} under {issuance.profile}"
    return issuance.chip_model
