# SPDX-License-Identifier: Apache-2.0
"""
Nonces: granted inside the ledger's transaction, bounded for each rig and unit, and forgotten soon after their end.

A unit has at most one living nonce of a rig (its lease) and one of its own device. How many a rig has is counted in the
ledger; a worker looks whenever it has granted the rig an eighth of the limit since it last looked.
"""

import hashlib
import math
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from birthmark.ca.demands import CONFLICT, RIG
from birthmark.ca.errors import Refused
from birthmark.ca.issuing.jobs import NonceJob, Outcome
from birthmark.ca.issuing.leases import Granted, ask
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore, Ledger
from birthmark.ca.refusals import TOO_MANY
from birthmark.core.clock import Clock
from birthmark.core.issuance import NonceGrant
from birthmark.est.messages import NONCE_BYTES

NONCE_MEMORY: Final = timedelta(minutes=10)
"""
How long after its expiry a nonce is remembered, so that a request whose answer was lost can be repeated as it is.

After that it is unknown, which is refused as well: what was used is never again unused.
"""
FORGET_MAX: Final = 2_000
"""Nonces that one transaction forgets: others wait for it."""
LOOKS_PER_LIMIT: Final = 8
FULL_MEMORY: Final = timedelta(seconds=1)
"""For so long a rig that has too many is refused without another look."""


def forget_nonces(store: CAStore, clock: Clock) -> int:
    """Forget what expired long enough ago, used or not; return how many nonces that were. Raises StoreError."""
    before, forgotten = clock() - NONCE_MEMORY, 0
    while True:
        with store.writing() as ledger:
            count = ledger.forget_nonces(before, FORGET_MAX)
        forgotten += count
        if count < FORGET_MAX:
            return forgotten


class Nonces:
    """Grants nonces. One per worker, called by one thread at a time."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._shares = _Shares(policy.nonces_per_rig)

    def grant(self, ledger: Ledger, jobs: Sequence[NonceJob]) -> list[Outcome]:
        """Return a nonce or a Refused for each job, in order. Raises StoreError."""
        at = min(job.trail.at for job in jobs)
        units = _Units(ledger.leases([job.unit_serial for job in jobs], at))
        self._shares.look(ledger, {job.caller.holder for job in jobs if job.caller.kind == RIG}, at)
        outcomes: list[Outcome] = []
        for job in jobs:
            try:
                outcomes.append(self._granted(job, units))
            except Refused as refusal:
                outcomes.append(refusal)
                ledger.append([job.trail.row(finding=refusal.finding, detail=refusal.message)])
        units.write(ledger)
        return outcomes

    def _granted(self, job: NonceJob, units: "_Units") -> bytes:
        waiting: tuple[str, ...] = ()
        if job.caller.kind == RIG:
            more = not units.is_renewal(job)
            if more:
                self._shares.demand(job.caller.holder, self._policy.nonce_expiry)
            waiting = units.lease(job)
            if more:
                self._shares.count(job.caller.holder)
        nonce = secrets.token_bytes(NONCE_BYTES)
        units.put(
            NonceGrant(
                digest=hashlib.sha256(nonce).hexdigest(),
                holder=job.caller.holder,
                unit_serial=job.unit_serial,
                expires_at=job.trail.at + self._policy.nonce_expiry,
                waiting=waiting,
            )
        )
        return nonce


class _Units:
    """The leases of some units as they stand in the course of a transaction, and what is to be written of them."""

    def __init__(self, found: Iterable[NonceGrant]) -> None:
        self._rigs: dict[str, NonceGrant] = {}
        self._devices: dict[str, NonceGrant] = {}
        self._fresh: dict[tuple[str, str], NonceGrant] = {}
        self._queues: dict[str, tuple[str, ...]] = {}
        for grant in sorted(found, key=lambda each: each.expires_at):
            self._known(grant)[grant.unit_serial] = grant

    def lease(self, job: NonceJob) -> tuple[str, ...]:
        """
        6. Return who queues behind the rig, which may have the unit. Refused: ca.6.unit-in-work, with the time to wait.

        A device asks for itself and waits for nobody: otherwise a rig could keep every fielded unit from renewing.
        """
        unit, at = job.unit_serial, job.trail.at
        device = self._devices.get(unit)
        if device is not None and device.used_by is None and at < device.expires_at:
            raise _in_work(f"the unit is with {device.holder}", device.expires_at - at)
        last = self._rigs.get(unit)
        told = ask(last, job.caller.holder, at)
        if last is not None and told.waiting != last.waiting:
            self._queue(last, () if isinstance(told, Granted) else told.waiting)
        if isinstance(told, Granted):
            return told.waiting
        if last is not None and last.holder != job.caller.holder and at < last.expires_at and last.used_by is None:
            raise _in_work(f"the unit is with {last.holder}", told.wait)
        raise _in_work(f"{told.waiting[0]} has asked for the unit before", told.wait)

    def is_renewal(self, job: NonceJob) -> bool:
        """Say whether the rig's nonce takes the place of one that it has."""
        last = self._rigs.get(job.unit_serial)
        return (
            last is not None
            and last.holder == job.caller.holder
            and last.used_by is None
            and job.trail.at < last.expires_at
        )

    def put(self, grant: NonceGrant) -> None:
        """Note a grant."""
        self._known(grant)[grant.unit_serial] = grant
        self._fresh[grant.unit_serial, grant.holder] = grant

    def write(self, ledger: Ledger) -> None:
        """Write down what was noted."""
        if self._fresh:
            ledger.grant_nonces(list(self._fresh.values()))
        if self._queues:
            ledger.queue_for_nonces(list(self._queues.items()))

    def _known(self, grant: NonceGrant) -> dict[str, NonceGrant]:
        return self._rigs if grant.holder.startswith(f"{RIG}:") else self._devices

    def _queue(self, last: NonceGrant, waiting: tuple[str, ...]) -> None:
        queued = replace(last, waiting=waiting)
        self._rigs[last.unit_serial] = queued
        key = last.unit_serial, last.holder
        if self._fresh.get(key) == last:
            self._fresh[key] = queued
        else:
            self._queues[last.digest] = waiting


@dataclass(slots=True)
class _Share:
    living: int
    """At most so many live, as far as this worker knows."""
    granted: int = 0
    """Since the last look."""
    full_until: datetime | None = None


@dataclass(slots=True)
class _Shares:
    """How many living nonces each rig has. `limit` is that of one rig."""

    limit: int
    shares: dict[str, _Share] = field(default_factory=dict)

    def look(self, ledger: Ledger, rigs: Iterable[str], at: datetime) -> None:
        """Count in the ledger where what is known is too old."""
        every = max(1, self.limit // LOOKS_PER_LIMIT)
        for rig in rigs:
            share = self.shares.get(rig)
            if share is not None and share.full_until is not None and at < share.full_until:
                continue
            if share is None or share.granted >= every or share.living >= self.limit:
                living = ledger.living_nonces(rig, at)
                full_until = at + FULL_MEMORY if living >= self.limit else None
                self.shares[rig] = _Share(living, full_until=full_until)

    def demand(self, rig: str, expiry: timedelta) -> None:
        """6. Pass a rig that may have one more. Refused: ca.6.nonces."""
        if self.shares[rig].living >= self.limit:
            raise Refused(
                TOO_MANY,
                "ca.6.nonces",
                f"{rig} has {self.limit} nonces that it has not used",
                hint="use them, or let them expire",
                retry_after_s=_seconds(expiry),
            )

    def count(self, rig: str) -> None:
        """Count one more."""
        self.shares[rig].living += 1
        self.shares[rig].granted += 1


def _in_work(reason: str, wait: timedelta) -> Refused:
    return Refused(CONFLICT, "ca.6.unit-in-work", reason, retry_after_s=_seconds(wait))


def _seconds(wait: timedelta) -> int:
    return max(1, math.ceil(wait.total_seconds()))
