# SPDX-License-Identifier: Apache-2.0
"""
May a certificate of this profile be issued to this attested key today?

The appraisal says whether evidence is believed, which holds for as long as the device lives. This is asked when
something is issued or renewed, on top of it: what the profile demands of the chip's certifications, and until when its
calendars let the algorithm be issued.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime

from cryptography.exceptions import UnsupportedAlgorithm

from birthmark.evidence.endorsements import NO_TERMS, Endorsements
from birthmark.evidence.policy.calendars import Schedule
from birthmark.evidence.verdict import AttestedKey, Finding
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm, public_key_of
from birthmark.pki.errors import AlgorithmRefused


def ineligible(attested: AttestedKey, profile: str, endorsements: Endorsements, at: datetime) -> tuple[Finding, ...]:
    """
    Return what stands against issuing a certificate of the profile at the moment `at` (aware): nothing, if it may be.

    `attested` comes from an appraisal under the same endorsements. Days are those of UTC.

    evidence.certification.missing | revoked | level | historical | expired, evidence.algorithm.ended | unknown
    """
    terms = endorsements.terms(profile)
    if terms is NO_TERMS:
        return ()
    on = at.astimezone(UTC).date()
    model = next((each for each in endorsements.models if each.id == attested.chip.model), None)
    shortfall = terms.requirement.shortfall(model.certifications if model else (), on)
    findings = list(_of_algorithm(attested.spki, terms.schedule, profile, on))
    if shortfall is not None:
        finding, reason = shortfall
        detail = f"{attested.chip.model}: {reason}; profile {profile} demands more"
        findings.insert(0, Finding(finding, detail))
    return tuple(findings)


def algorithm_of(spki: bytes) -> KeyAlgorithm | None:
    """Return the type of a key in DER; None for one that nobody certifies."""
    try:
        return key_algorithm(public_key_of(spki))
    except (AlgorithmRefused, ValueError, UnsupportedAlgorithm):
        return None


def _of_algorithm(spki: bytes, schedule: Schedule, profile: str, on: date) -> Iterator[Finding]:
    if not schedule.endings:
        return
    algorithm = algorithm_of(spki)
    if algorithm is None:
        yield Finding("evidence.algorithm.unknown", f"profile {profile}: not a key that is certified")
        return
    ended = schedule.refusal(algorithm, on)
    if ended is not None:
        yield Finding("evidence.algorithm.ended", f"profile {profile}: {ended}")
