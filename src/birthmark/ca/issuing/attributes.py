# SPDX-License-Identifier: Apache-2.0
"""
What a CSR should hold (`csrattrs`, RFC 9908): names, evidence, and a key of the type that the profile prefers.

Anybody may ask, as often as they like, so what was read from the ledger is remembered: of orders and of certificates
that there are, never of labels that name nothing.
"""

import functools
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import Client
from birthmark.ca.errors import NotNow
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.core.clock import Clock
from birthmark.core.errors import StoreError
from birthmark.est import wishes
from birthmark.evidence.eligibility import algorithm_of
from birthmark.pki.algorithms import KeyAlgorithm

MEMORY: Final = timedelta(seconds=10)
"""For so long it is not read again: an override may give an order another profile."""
KNOWN_MAX: Final = 4_096
STORE_RETRY_S: Final = 2

Items = tuple[wishes.Item, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    profile: str | None
    held: KeyAlgorithm | None
    at: datetime


class AttributeDesk:
    """One per worker. Calls may come from several threads."""

    def __init__(self, store: CAStore, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._known: dict[Hashable, _Known] = {}

    def known(self, client: Client | None, label: str | None) -> Items | None:
        """Return what is wanted without a look at the ledger; None where that is needed."""
        at = self._clock()
        if label is None and client is None:
            return self._items(label, _Known(None, None, at), at)
        known = self._known.get(key_of(client, label))
        if known is None or not known.at <= at < known.at + MEMORY:
            return None
        return self._items(label, known, at)

    def remembered(self, client: Client | None, label: str | None) -> Items | None:
        """Return what was wanted when the ledger was last asked, however long ago; None when it never was."""
        known = self._known.get(key_of(client, label))
        return None if known is None else self._items(label, known, self._clock())

    def wanted(self, client: Client | None, label: str | None) -> Items:
        """
        Return what is wanted, as the ledger has it.

        The profile is that of the order that the label names; without a label, that of the device that asks. Nobody has
        to show a certificate, and one that is not of this CA is no reason to refuse (RFC 7030 §4.5).

        Raises:
            NotNow: ca.store.

        """
        at = self._clock()
        try:
            found = self._read(client, label, at)
        except StoreError as error:
            message = "the ledger cannot be written or read now"
            raise NotNow("ca.store", message, retry_after_s=STORE_RETRY_S) from error
        if found is None:
            return self._items(label, _Known(None, None, at), at)
        self._remember(key_of(client, label), found)
        return self._items(label, found, at)

    def _read(self, client: Client | None, label: str | None, at: datetime) -> _Known | None:
        if label is None and client is None:
            return None
        with self._store.reading() as ledger:
            if label is not None:
                order = ledger.order(label)
                return None if order is None else _Known(order.profile, None, at)
            current = None if client is None else ledger.issuance_of(client.fingerprint)
            return None if current is None else _Known(current.profile, algorithm_of(current.spki), at)

    def _remember(self, key: Hashable, found: _Known) -> None:
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[key] = found

    def _items(self, label: str | None, known: _Known, at: datetime) -> Items:
        terms = None if known.profile is None else self._policy.terms.get(known.profile)
        wanted = KeyAlgorithm.P256 if terms is None else terms.preferred(known.held, at)
        return _for_renewal(wanted) if label is None else _for_first_request(wanted)


def key_of(client: Client | None, label: str | None) -> Hashable:
    """Return under what an answer is known: the label alone, or the certificate alone."""
    return ("label", label) if label is not None else ("client", None if client is None else client.fingerprint)


@functools.cache
def _for_first_request(algorithm: KeyAlgorithm) -> Items:
    return wishes.for_first_request(algorithm)


@functools.cache
def _for_renewal(algorithm: KeyAlgorithm) -> Items:
    return wishes.for_renewal(algorithm)
