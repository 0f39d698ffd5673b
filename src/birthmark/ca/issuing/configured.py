# SPDX-License-Identifier: Apache-2.0
"""
Whether a worker may issue by the configuration that it was started with. Pure.

One configuration is in force for all workers, the last one in the log. Where workers are replaced one after the other,
those that leave go on for HANDOVER, so that no request is lost; each entry names the configuration that it was signed
by. Whoever is left after that with another ca.toml than the others issues nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.errors import NotNow
from birthmark.core.in_force import InForce

HANDOVER: Final = timedelta(seconds=90)
"""Longer than a worker that leaves goes on answering (`net.front`)."""
RETRY_S: Final = 5


def issues_until(own: InForce | None, recent: Sequence[InForce]) -> datetime | None:
    """
    Return until when a worker with this configuration may issue; None for as long as it is the one in force.

    `recent` are those that were put in force last, the latest one first. A moment in the past when it may not at all.
    """
    digests = [each.digest for each in recent]
    if own is None:
        return recent[-1].since if recent else None
    if own.digest not in digests:
        return own.since
    place = digests.index(own.digest)
    return recent[place - 1].since + HANDOVER if place else None


def demand_configuration(own: InForce | None, recent: Sequence[InForce], at: datetime) -> None:
    """Pass a worker that may issue now. Raises NotNow (ca.configuration.other)."""
    until = issues_until(own, recent)
    if until is not None and at >= until:
        raise NotNow("ca.configuration.other", "another configuration is in force", retry_after_s=RETRY_S)
