# SPDX-License-Identifier: Apache-2.0
"""
May a certificate of this profile be issued to this attested key today?

The appraisal says whether evidence is believed, which holds for as long as the device lives. This is asked when
something is issued or renewed, on top of it: what the profile demands of the chip's certifications, and until when its
calendars let the algorithm be issued.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import AttestedKey, Finding
from birthmark.pki.algorithms import KeyAlgorithm


def ineligible(
    attested: AttestedKey, algorithm: KeyAlgorithm, profile: str, endorsements: Endorsements, at: datetime
) -> tuple[Finding, ...]:
    """
    Return what stands against issuing a certificate of the profile at the moment `at` (aware): nothing, if it may be.

    `attested` comes from an appraisal under the same endorsements. Days are those of UTC.

    evidence.certification.missing | revoked | level | historical | expired, evidence.algorithm.ended
    """
    return tuple(_findings(attested, algorithm, profile, endorsements, at))


def _findings(
    attested: AttestedKey, algorithm: KeyAlgorithm, profile: str, endorsements: Endorsements, at: datetime
) -> Iterator[Finding]:
    terms, on = endorsements.terms(profile), at.astimezone(UTC).date()
    certifications = next((each.certifications for each in endorsements.models if each.id == attested.chip.model), ())
    shortfall = terms.requirement.shortfall(certifications, on)
    if shortfall is not None:
        finding, reason = shortfall
        yield Finding(finding, f"{attested.chip.model}: {reason}; profile {profile} demands more")
    ended = terms.schedule.refusal(algorithm, on)
    if ended is not None:
        yield Finding("evidence.algorithm.ended", f"profile {profile}: {ended}")
