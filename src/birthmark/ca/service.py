# SPDX-License-Identifier: Apache-2.0
"""
The issuing authority's use cases.

Each ends in one of three ways: what was asked for, Refused, or NotNow. Refusals and grants that touch an identity are
audited before they are answered; a client without a certificate is only logged, lest anyone could fill the disk.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from cryptography import x509

from birthmark.ca.births import demand_match, demand_record, demand_unconfirmed
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
    demand_no_lease,
    demand_renewal_names,
    demand_request,
    demand_rig,
    demand_rig_of_order,
    demand_same_chip,
)
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuance import Issuer, nonce_digest
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.ca.revocation import RevocationPublisher
from birthmark.ca.trail import Trail
from birthmark.core import ids
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError, StoreError
from birthmark.core.issuance import ChipID, Issuance, NonceGrant, Order
from birthmark.est import wishes
from birthmark.est.messages import NONCE_BYTES, NonceRequest, NonceResponse
from birthmark.evidence.verdict import AttestedKey
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority

STORE_RETRY_S = 2
NONCE_MEMORY = timedelta(days=1)
"""How long after its expiry a nonce is remembered, so that a request whose answer was lost can be repeated."""


class CA:
    """One issuing authority. Calls may come from several threads; several processes may share the ledger."""

    def __init__(self, store: CAStore, authority: Authority, policy: Policy, clock: Clock) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock
        self._issuer = Issuer(store, authority, policy)
        self._publisher = RevocationPublisher(store, authority, policy.crl_next_update)

    def ca_certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the issuing CA and what stands above it."""
        return self._policy.ca_chain

    def wanted_attributes(self, label: str | None) -> tuple[wishes.Item, ...]:
        """Return what a CSR should hold: names, evidence, and a key of the kind that the order's profile prefers."""
        with _store_answers(), self._store.reading() as ledger:
            order = None if label is None else ledger.order(label)
        terms = None if order is None else self._policy.terms.get(order.profile)
        algorithm = terms.algorithms[0].algorithm if terms else KeyAlgorithm.P256
        return wishes.for_renewal(algorithm) if label is None else wishes.for_first_request(algorithm)

    def grant_nonce(self, client: Client | None, label: str | None, request: NonceRequest) -> NonceResponse:
        """
        Return a fresh nonce for one unit, and lease the unit to the caller until it expires or is used.

        Raises:
            Refused: demand 1; ca.6.unit-in-work, ca.6.unit, ca.6.nonce-length. NotNow: the ledger.

        """
        with self._audited(Trail.of("nonce", self._clock(), client, label or "")) as trail:
            caller, unit = self._nonce_caller(client, label, request, trail)
            if request.length != NONCE_BYTES:
                raise Refused(MALFORMED, "ca.6.nonce-length", f"nonces have {NONCE_BYTES} bytes here")
            nonce = secrets.token_bytes(NONCE_BYTES)
            expires_at = trail.at + self._policy.nonce_expiry
            with self._store.writing() as ledger:
                demand_no_lease(ledger.open_nonce(unit, trail.at), caller, trail.at)
                ledger.forget_nonces(trail.at - NONCE_MEMORY)
                ledger.grant_nonce(
                    NonceGrant(
                        digest=nonce_digest(nonce), holder=caller.holder, unit_serial=unit, expires_at=expires_at
                    )
                )
                ledger.add_audit(trail.row())
            return NonceResponse(nonce, int(self._policy.nonce_expiry.total_seconds()))

    def enrol(self, client: Client | None, label: str | None, csr: bytes) -> bytes:
        """
        Return the certificate (DER) of a unit's first request: the nine demands, then intent, signature, record.

        Raises:
            Refused: a demand is not met. NotNow: the ledger or the issuing key.

        """
        with self._audited(Trail.of("enrol", self._clock(), client, label or "")) as trail:
            caller, order = self._rig(client, label, trail)
            request = demand_request(csr, client)
            unit = trail.about(demand_first_subject(request))
            attested = demand_evidence(request, self._policy.endorsements, trail.at)
            chip = _chip(attested)
            trail.about(unit, chip)
            return self._issuer.issue(Candidate(caller, order.id, unit, chip, request, attested), trail)

    def renew(self, client: Client | None, csr: bytes) -> bytes:
        """
        Return the certificate (DER) for a device's next key; its current certificate dies after the overlap.

        Raises:
            Refused: a demand is not met. NotNow: the ledger or the issuing key.

        """
        with self._audited(Trail.of("renew", self._clock(), client)) as trail:
            caller, current = self._device(client, trail)
            trail.order = current.order
            request = demand_request(csr, client)
            demand_renewal_names(request, caller.certificate)
            attested = demand_evidence(request, self._policy.endorsements, trail.at)
            trail.about(current.unit_serial, _chip(attested))
            demand_same_chip(attested, request, current)
            candidate = Candidate(caller, current.order, current.unit_serial, current.chip, request, attested)
            return self._issuer.renew(candidate, current, trail)

    def take_birth(self, client: Client | None, token: bytes) -> None:
        """
        Confirm the certificate that the birth record names. A repeat changes nothing.

        Raises:
            Refused: demand 1, or ca.birth.*. NotNow: the ledger.

        """
        with self._audited(Trail.of("birth", self._clock(), client)) as trail:
            rig = trail.met_by(demand_rig(client, self._policy.trust, trail.at))
            record = demand_record(token, rig)
            trail.order = record.order
            trail.about(record.unit_serial)
            trail.chip_serial = record.chip_serial
            with self._store.writing() as ledger:
                demand_rig_of_order(ledger.order(record.order), record.order, rig)
                found = demand_match(record, ledger.issuance_of(record.certificate_sha256))
                if ledger.birth(record.certificate_sha256) is not None:
                    return
                demand_unconfirmed(found, trail.at)
                ledger.confirm(record.certificate_sha256, trail.at, token.decode("ascii"))
                ledger.add_audit(trail.row(detail=f"certificate {record.certificate_serial}"))

    def certificate_state(self, client: Client | None, certificate_sha256: str) -> dict[str, str]:
        """
        Return unit, chip, state and order of a certificate that this CA issued.

        Raises:
            Refused: ca.1.rig, ca.certificate.unknown. NotNow: the ledger.

        """
        at = self._clock()
        demand_rig(client, self._policy.trust, at)
        with _store_answers(), self._store.reading() as ledger:
            found = ledger.issuance_of(certificate_sha256)
        if found is None:
            raise Refused(UNKNOWN, "ca.certificate.unknown", "this CA issued no certificate with that fingerprint")
        return {
            "unit_serial": found.unit_serial,
            "chip_serial": found.chip.serial,
            "state": found.state(at),
            "order": found.order,
        }

    def revocation_list(self) -> bytes:
        """Return the current CRL (DER). Raises NotNow."""
        with _store_answers():
            return self._publisher.current(self._clock())

    def _nonce_caller(
        self, client: Client | None, label: str | None, request: NonceRequest, trail: Trail
    ) -> tuple[Caller, str]:
        """Return who asks for which unit: a device that the ledger knows asks for itself, everyone else is a rig."""
        if self._issuance_of(client) is not None:
            caller, _ = self._device(client, trail)
            if request.unit not in (None, caller.name):
                raise Refused(FORBIDDEN, "ca.6.unit", "a device asks for a nonce for itself only")
            return caller, trail.about(caller.name)
        caller, _ = self._rig(client, label, trail)
        if request.unit is None:
            raise Refused(MALFORMED, "ca.6.unit", "a rig says for which unit it wants the nonce (reqInfo)")
        try:
            return caller, trail.about(ids.unit_serial(request.unit))
        except DecodeError as error:
            raise Refused(MALFORMED, "ca.6.unit", error.message, hint=error.hint) from error

    def _rig(self, client: Client | None, label: str | None, trail: Trail) -> tuple[Caller, Order]:
        caller = trail.met_by(demand_rig(client, self._policy.trust, trail.at))
        with self._store.reading() as ledger:
            order = None if label is None else ledger.order(label)
        return caller, demand_rig_of_order(order, label, caller)

    def _device(self, client: Client | None, trail: Trail) -> tuple[Caller, Issuance]:
        caller, current = demand_device(client, self._issuance_of(client), self._policy.trust, trail.at)
        return trail.met_by(caller), current

    def _issuance_of(self, client: Client | None) -> Issuance | None:
        if client is None:
            return None
        with self._store.reading() as ledger:
            return ledger.issuance_of(client.fingerprint)

    @contextmanager
    def _audited(self, trail: Trail) -> Iterator[Trail]:
        """Write the audit row of a refusal before it is answered."""
        with _store_answers():
            try:
                yield trail
            except Refused as refusal:
                if trail.fingerprint:
                    with self._store.writing() as ledger:
                        ledger.add_audit(trail.row(refusal.finding, refusal.message))
                raise


def _chip(attested: AttestedKey) -> ChipID:
    return ChipID(attested.chip.maker, attested.chip.serial)


@contextmanager
def _store_answers() -> Iterator[None]:
    """Turn a failure of the ledger into the answer that the client gets."""
    try:
        yield
    except StoreError as error:
        raise NotNow("ca.store", "the ledger cannot be written or read now", retry_after_s=STORE_RETRY_S) from error
