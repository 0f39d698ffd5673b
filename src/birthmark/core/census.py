# SPDX-License-Identifier: Apache-2.0
"""How much of what the issuing authority's ledger holds, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Census:
    """
    Certificates by state at one moment, and the nonces that may still be used then.

    States: "intended" (not signed yet), "issued" (no birth record yet), "confirmed", "superseded", "held" (the unit
    is suspended or returned), "revoked" and "expired" (of a life that nothing else has ended).
    """

    states: Mapping[str, int]
    open_nonces: int
