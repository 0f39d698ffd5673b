# SPDX-License-Identifier: Apache-2.0
"""
Rigs that were recognised before: their certificates are checked once a minute and not at every request.

Whether a path is valid changes with time alone (trust is settled when the service starts), so an answer is kept for
CALLER_MEMORY at most and never beyond the end of a certificate of the path. Whether a rig is denied is asked each time.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

from birthmark.ca.demands import Caller, Client, demand_rig
from birthmark.core.registry import ID_KP_CMC_RA
from birthmark.pki.paths import TrustAnchors

CALLER_MEMORY = timedelta(seconds=60)
CALLERS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    since: datetime
    until: datetime


class Callers:
    """Meets demand 1 for rigs. Calls may come from several threads."""

    def __init__(self, trust: TrustAnchors) -> None:
        self._trust = trust
        self._known: dict[Client, _Known] = {}

    def is_rig(self, client: Client | None) -> bool:
        """Say whether the client's certificate claims to be a rig's: which of two ways to judge it by."""
        if client is None:
            return True
        try:
            purposes = client.leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (x509.ExtensionNotFound, ValueError):
            return False
        return ID_KP_CMC_RA in purposes

    def rig(self, client: Client | None, at: datetime) -> Caller:
        """1. Return the rig behind the TLS client. Refused: ca.1.rig."""
        known = None if client is None else self._known.get(client)
        if known is not None and known.since <= at < known.until and self._is_welcome(known.caller):
            return known.caller
        caller = demand_rig(client, self._trust, at)
        if client is not None:
            self._remember(client, caller, at)
        return caller

    def _is_welcome(self, caller: Caller) -> bool:
        return self._trust.why_denied(caller.certificate) is None

    def _remember(self, client: Client, caller: Caller, at: datetime) -> None:
        if len(self._known) >= CALLERS_MAX:
            self._known.clear()
        ends = (each.not_valid_after_utc for each in (client.leaf, *client.chain))
        self._known[client] = _Known(caller, at, min(at + CALLER_MEMORY, *ends))
