# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's use cases.

A request is first judged as far as that needs no ledger (`enrolment`, `renewal`, `nonce_wish`, `birth_report`): that
makes a job. Jobs are settled together (`settle`), whether one came or a hundred. Each ends in one of four ways: what
was asked for, Refused, Pending or NotNow. Refusals and grants that touch an identity are in the log before they are
answered; a client without a certificate is only logged, lest anyone could fill the disk.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

from cryptography import x509

from birthmark.ca.demands import (
    FORBIDDEN,
    MALFORMED,
    UNKNOWN,
    Caller,
    Candidate,
    Client,
    demand_device,
    demand_evidence,
    demand_first_subject,
    demand_open_order,
    demand_renewal_names,
    demand_request,
    demand_rig_of_order,
    demand_same_chip,
    demand_unit_of_order,
)
from birthmark.ca.errors import CAError, NotNow, Pending, Refused
from birthmark.ca.issuing.births import demand_record
from birthmark.ca.issuing.callers import Callers
from birthmark.ca.issuing.desk import Desk
from birthmark.ca.issuing.issuance import Issuer
from birthmark.ca.issuing.jobs import BirthJob, EnrolJob, Job, NonceJob, Outcome, RefusedJob, RenewJob
from birthmark.ca.issuing.signers import Signers
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.ca.refusals import RefusalShares
from birthmark.ca.trail import Trail
from birthmark.core import ids
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError, StoreError
from birthmark.core.issuance import ChipID, Issuance, Order
from birthmark.est.messages import NONCE_BYTES, NonceRequest, NonceResponse
from birthmark.evidence.verdict import AttestedKey

_LOG = logging.getLogger(__name__)

STORE_RETRY_S = 2
_OF_ONE_REQUEST = frozenset({"store.conflict", "store.failed"})
"""What may be wrong with something that is written, and not with the ledger."""
CACertificates: TypeAlias = Callable[[], tuple[x509.Certificate, ...]]
ORDER_MEMORY = timedelta(seconds=1)
"""For how long an order that was read decides what is drafted. What is issued is decided by the ledger's order."""
ORDER_SURE = ORDER_MEMORY * 0.9
"""For how long it will still be remembered a moment later."""


class CA:
    """One issuing authority. Calls may come from several threads; several processes may share the ledger."""

    def __init__(
        self, store: CAStore, signers: Signers, policy: Policy, clock: Clock, cacerts: CACertificates | None = None
    ) -> None:
        """`cacerts` returns what is handed out now; by default always the policy's `ca_chain`."""
        self._store = store
        self._policy = policy
        self._clock = clock
        self._cacerts = cacerts
        self._callers = Callers(policy.trust)
        self._orders: dict[str, tuple[datetime, Order]] = {}
        self._issuer = Issuer(store, signers, policy)
        self._desk = Desk(store, policy)
        self._shares = RefusalShares()

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the issuing CA and what stands above it."""
        return self._policy.ca_chain if self._cacerts is None else self._cacerts()

    def remembers(self, label: str | None) -> bool:
        """Say whether a rig's request under this label can be judged now without a look at the ledger."""
        known = None if label is None else self._orders.get(label)
        return known is not None and known[0] <= self._clock() < known[0] + ORDER_SURE

    # --- one request ---

    def grant_nonce(self, client: Client | None, label: str | None, request: NonceRequest) -> NonceResponse:
        """
        Return a fresh nonce for one unit, and lease the unit to the caller until it expires or is used.

        Raises:
            Refused: demand 1; ca.6.unit-in-work, ca.6.unit, ca.6.nonce-length. NotNow: the ledger.

        """
        return self.nonce_response(self._settled(self.nonce_wish(client, label, request)))

    def enrol(self, client: Client | None, label: str | None, csr: bytes) -> bytes:
        """
        Return the certificate (DER) of a unit's first request: the nine demands, then intent, signature, record.

        Raises:
            Refused: a demand is not met. Pending: the order. NotNow: the ledger or the issuing key.

        """
        return self._settled(self.enrolment(client, label, csr))

    def renew(self, client: Client | None, csr: bytes) -> bytes:
        """
        Return the certificate (DER) for a device's next key; its current certificate dies after the overlap.

        Raises:
            Refused: a demand is not met. NotNow: the ledger or the issuing key.

        """
        return self._settled(self.renewal(client, csr))

    def take_birth(self, client: Client | None, token: bytes) -> None:
        """
        Confirm the certificate that the birth record names. A repeat changes nothing.

        Raises:
            Refused: demand 1, or ca.birth.*. NotNow: the ledger.

        """
        self._settled(self.birth_report(client, token))

    def _settled(self, job: Job) -> bytes:
        (outcome,) = self.settle([job])
        if isinstance(outcome, CAError):
            raise outcome
        return outcome

    # --- many requests ---

    def settle(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Return what came of each job. Never raises: what cannot be done now is NotNow."""
        outcomes: dict[int, Outcome] = {}
        issuing = [(n, job) for n, job in enumerate(jobs) if isinstance(job, EnrolJob | RenewJob)]
        desk = [(n, job) for n, job in enumerate(jobs) if isinstance(job, NonceJob | BirthJob | RefusedJob)]
        outcomes |= _together(self._desk.settle, desk)
        outcomes |= _together(self._issuer.issue, issuing)
        for index, job in enumerate(jobs):
            if isinstance(outcomes[index], Refused | Pending):
                self._count(job)
        return [outcomes[index] for index in range(len(jobs))]

    def nonce_response(self, nonce: bytes) -> NonceResponse:
        """Return what a client is told with its nonce."""
        return NonceResponse(nonce, int(self._policy.nonce_expiry.total_seconds()))

    def nonce_wish(self, client: Client | None, label: str | None, request: NonceRequest) -> Job:
        """Return the job of a request for a nonce. Raises NotNow."""

        def judge(trail: Trail) -> Job:
            if self._callers.is_rig(client):
                caller, order = self._rig(client, label, trail)
                demand_open_order(order, trail.at)
                unit = _rig_unit(request)
                demand_unit_of_order(order, unit)
            else:
                caller, _ = self._device(client, trail)
                if request.unit not in (None, caller.name):
                    raise Refused(FORBIDDEN, "ca.6.unit", "a device asks for a nonce for itself only")
                unit = caller.name
            trail.about(unit)
            if request.length != NONCE_BYTES:
                raise Refused(MALFORMED, "ca.6.nonce-length", f"nonces have {NONCE_BYTES} bytes here")
            return NonceJob(caller, unit, trail)

        return self._judged(Trail.of("nonce", self._clock(), client, label or ""), judge)

    def enrolment(self, client: Client | None, label: str | None, csr: bytes) -> Job:
        """Return the job of a first request: demands 1 to 5. Raises NotNow."""

        def judge(trail: Trail) -> Job:
            caller, order = self._rig(client, label, trail)
            request = demand_request(csr, client)
            unit = trail.about(demand_first_subject(request))
            attested = demand_evidence(request, self._policy.endorsements, trail.at)
            chip = _chip(attested)
            trail.about(unit, chip)
            candidate = Candidate(caller, order.id, unit, chip, request, attested)
            return EnrolJob(candidate, trail, order, self._issuer.draft(candidate, order, trail.at))

        return self._judged(Trail.of("enrol", self._clock(), client, label or ""), judge)

    def renewal(self, client: Client | None, csr: bytes) -> Job:
        """Return the job of a device's request for its next certificate: demands 1 to 5. Raises NotNow."""

        def judge(trail: Trail) -> Job:
            caller, current = self._device(client, trail)
            trail.order = current.order
            request = demand_request(csr, client)
            demand_renewal_names(request, caller.certificate)
            attested = demand_evidence(request, self._policy.endorsements, trail.at)
            trail.about(current.unit_serial, _chip(attested))
            demand_same_chip(attested, current)
            candidate = Candidate(caller, current.order, current.unit_serial, current.chip, request, attested)
            return RenewJob(candidate, trail, current, self._issuer.result(candidate, current.profile, trail.at))

        return self._judged(Trail.of("renew", self._clock(), client), judge)

    def birth_report(self, client: Client | None, token: bytes) -> Job:
        """Return the job of a birth record. Raises NotNow."""

        def judge(trail: Trail) -> Job:
            rig = trail.met_by(self._callers.rig(client, trail.at))
            record = demand_record(token, rig)
            trail.order = record.order
            trail.about(record.unit_serial)
            trail.chip_serial = record.chip_serial
            return BirthJob(rig, record, token.decode("ascii"), trail)

        return self._judged(Trail.of("birth", self._clock(), client), judge)

    # --- reading ---

    def certificate_state(self, client: Client | None, certificate_sha256: str) -> dict[str, str]:
        """
        Return unit, chip, state and order of a certificate that this CA issued.

        Raises:
            Refused: ca.1.rig, ca.certificate.unknown. NotNow: the ledger.

        """
        at = self._clock()
        with _store_answers():
            self._callers.rig(client, at)
            with self._store.reading() as ledger:
                found = ledger.issuance_of(certificate_sha256)
        if found is None:
            raise Refused(UNKNOWN, "ca.certificate.unknown", "this CA issued no certificate with that fingerprint")
        return {
            "unit_serial": found.unit_serial,
            "chip_serial": found.chip.serial,
            "state": found.state(at),
            "order": found.order,
        }

    def _count(self, refused: Job) -> None:
        told = refused.row if isinstance(refused, RefusedJob) else refused.trail
        if told is not None:
            self._shares.spend(told.fingerprint, told.at)

    def _judged(self, trail: Trail, judge: Callable[[Trail], Job]) -> Job:
        with _store_answers():
            try:
                self._shares.demand(trail.fingerprint, trail.at)
            except Refused as refusal:
                return RefusedJob(refusal, None)
            try:
                return judge(trail)
            except (Refused, Pending) as refusal:
                row = trail.row(finding=refusal.finding, detail=refusal.message) if trail.fingerprint else None
                return RefusedJob(refusal, row)

    def _rig(self, client: Client | None, label: str | None, trail: Trail) -> tuple[Caller, Order]:
        caller = trail.met_by(self._callers.rig(client, trail.at))
        return caller, demand_rig_of_order(self._order(label, trail.at), label, caller)

    def _order(self, label: str | None, at: datetime) -> Order | None:
        if label is None:
            return None
        known = self._orders.get(label)
        if known is not None and known[0] <= at < known[0] + ORDER_MEMORY:
            return known[1]
        with self._store.reading() as ledger:
            order = ledger.order(label)
        if order is not None and _issues(order, at):
            # Others are read each time: what was told to wait may go on when the ledger says so. Labels that name no
            # order are never remembered, for anybody may ask about them, as many as there are.
            self._orders[label] = at, order
        return order

    def _device(self, client: Client | None, trail: Trail) -> tuple[Caller, Issuance]:
        caller, current = demand_device(client, self._issuance_of(client), self._policy.trust, trail.at)
        return trail.met_by(caller), current

    def _issuance_of(self, client: Client | None) -> Issuance | None:
        if client is None:
            return None
        with self._store.reading() as ledger:
            return ledger.issuance_of(client.fingerprint)


def _issues(order: Order, at: datetime) -> bool:
    try:
        demand_open_order(order, at)
    except (Refused, Pending):
        return False
    return True


def _rig_unit(request: NonceRequest) -> str:
    if request.unit is None:
        raise Refused(MALFORMED, "ca.6.unit", "a rig says for which unit it wants the nonce (reqInfo)")
    try:
        return ids.unit_serial(request.unit)
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.6.unit", error.message, hint=error.hint) from error


_Settled = TypeVar("_Settled")


def _together(
    settle: Callable[[list[_Settled]], list[Outcome]], jobs: Sequence[tuple[int, _Settled]]
) -> dict[int, Outcome]:
    """
    Return the outcomes of the jobs under their numbers.

    A ledger that does not work is NotNow for all of them. Anything else that fails may be the fault of one of them:
    then each is settled for itself, and fails for itself. All may be repeated, whatever was done the first time.
    """
    if not jobs:
        return {}
    try:
        outcomes = settle([job for _, job in jobs])
    except StoreError as error:
        if len(jobs) == 1 or error.finding not in _OF_ONE_REQUEST:
            return dict.fromkeys((number for number, _ in jobs), _not_now(error))
    except Exception:  # noqa: BLE001 whatever it is, it must not fail those who came at the same time
        if len(jobs) == 1:
            _LOG.exception("a request could not be settled")
            return {jobs[0][0]: CAError("the authority failed on this request", hint="see its log")}
    else:
        return {number: outcome for (number, _), outcome in zip(jobs, outcomes, strict=True)}
    apart: dict[int, Outcome] = {}
    for each in jobs:
        apart |= _together(settle, [each])
    return apart


def _chip(attested: AttestedKey) -> ChipID:
    return ChipID(attested.chip.maker, attested.chip.serial)


@contextmanager
def _store_answers() -> Iterator[None]:
    """Turn a failure of the ledger into the answer that the client gets."""
    try:
        yield
    except StoreError as error:
        raise _not_now(error) from error


def _not_now(error: StoreError) -> NotNow:
    failure = NotNow("ca.store", "the ledger cannot be written or read now", retry_after_s=STORE_RETRY_S)
    failure.__cause__ = error
    return failure
