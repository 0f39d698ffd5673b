# SPDX-License-Identifier: Apache-2.0
"""
What is demanded of a renewal beyond a first request, inside the ledger's transaction. Pure.

The key may be an earlier one only if the profile says so, and never of a weaker type than what the device holds.
"""

import itertools
from datetime import datetime, timedelta

from birthmark.ca.demands import (
    CONFLICT,
    FORBIDDEN,
    Candidate,
    Decision,
    Terms,
    demand_bound_chip,
    demand_no_denial,
    demand_nonce,
    demand_unit_state,
    key_algorithm_of,
    same_request,
)
from birthmark.ca.errors import Refused
from birthmark.core.issuance import Issuance, LedgerFacts
from birthmark.pki.algorithms import is_weaker


def decide_renewal(candidate: Candidate, current: Issuance, facts: LedgerFacts, terms: Terms, at: datetime) -> Decision:
    """
    6., 7. Return what to do about a renewal: the order's quota and window were for the birth.

    All other certificates of the chip than the current and the new one are doomed: they are answers that got lost.
    """
    existing = _same_renewal(candidate, current, facts, at)
    demand_nonce(facts.grant, candidate, existing, at)
    demand_no_denial(candidate, facts)
    demand_unit_state(facts.unit, candidate)
    demand_bound_chip(facts.unit, candidate)
    if existing is not None:
        return Decision(existing)
    demand_young_key(candidate, facts.near, terms, at)
    demand_strength(candidate, facts.near, at)
    return Decision(None, tuple(other for other in facts.near if other.serial != current.serial and other.open(at)))


def demand_young_key(candidate: Candidate, near: tuple[Issuance, ...], terms: Terms, at: datetime) -> None:
    """7. Pass a renewal for a new key, or one that the profile lets live on. Refused: ca.re.same-key, ca.re.old-key."""
    certified = [other.intended_at for other in near if other.spki == candidate.request.spki]
    if not certified:
        return
    hint = "make a new key first"
    if not terms.same_key_days:
        raise Refused(CONFLICT, "ca.re.same-key", "the key has been certified before", hint=hint)
    if at >= min(certified) + timedelta(days=terms.same_key_days):
        days = f"{terms.same_key_days} days after {min(certified):%Y-%m-%d}"
        raise Refused(CONFLICT, "ca.re.old-key", f"the key may be certified for {days}", hint=hint)


def demand_strength(candidate: Candidate, near: tuple[Issuance, ...], at: datetime) -> None:
    """7. Pass a renewal for a key that is not weaker than any that the chip has confirmed. Refused: ca.re.weaker."""
    asked = key_algorithm_of(candidate.request.spki)
    for other in near:
        held = key_algorithm_of(other.spki)
        if other.chip == candidate.chip and other.confirmed_at and other.alive(at) and is_weaker(asked, held):
            raise Refused(
                FORBIDDEN,
                "ca.re.weaker",
                f"the device holds {held.value} and asks for {asked.value}",
                hint="ask csrattrs which key is wanted",
            )


def _same_renewal(candidate: Candidate, current: Issuance, facts: LedgerFacts, at: datetime) -> Issuance | None:
    """Return the living successor of `current` for the same request; under its own key, that of this very nonce."""
    later = tuple(itertools.dropwhile(lambda other: other.serial != current.serial, facts.near))[1:]
    if candidate.request.spki == current.spki:
        used_by = None if facts.grant is None else facts.grant.used_by
        later = tuple(other for other in later if other.serial == used_by)
    return same_request(candidate, later, at)
