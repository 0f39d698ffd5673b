# SPDX-License-Identifier: Apache-2.0
"""
Intent, signature, record: the only place where the issuing key signs a certificate.

1. intent    one transaction: demands 6 to 9, the nonce is used, earlier certificates end, the intent is written down
2. signature outside any transaction: the issuing key signs exactly what was intended and linted
3. record    one transaction: the certificate is written down; only then is it given out

A crash after 1 leaves an intent that the next request for the same chip and key finishes, to the same contents and
serial, or that a new key supersedes. A crash after 2 is the same: what was signed was given to nobody.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.demands import (
    CONFLICT,
    Candidate,
    Decision,
    LedgerFacts,
    decide,
    decide_renewal,
    demand_certificate,
    demand_profile,
    demand_renewable,
    demand_rig_of_order,
)
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.ca.trail import Trail
from birthmark.core.issuance import Ending, Issuance, Order
from birthmark.pki.authorities import Authority, new_serial
from birthmark.pki.errors import PKIError
from birthmark.pki.profiles import LintedCertificate, sign

SIGNER_RETRY_S = 5


def nonce_digest(nonce: bytes) -> bytes:
    """Return how the ledger knows a nonce."""
    return hashlib.sha256(nonce).digest()


class Issuer:
    """Issues to candidates that met demands 1 to 5."""

    def __init__(self, store: CAStore, authority: Authority, policy: Policy) -> None:
        self._store = store
        self._authority = authority
        self._policy = policy

    def issue(self, candidate: Candidate, trail: Trail) -> bytes:
        """
        Return the certificate (DER) of a first request, unconfirmed until its birth record arrives.

        Raises:
            Refused: demands 6 to 9; NotNow: the issuing key; StoreError: the ledger.

        """

        def choose(ledger: Ledger) -> Issuance:
            facts = _facts(ledger, candidate)
            order = demand_rig_of_order(facts.order, candidate.order_id, candidate.caller)
            decision = decide(candidate, order, facts, trail.at)
            if decision.existing is not None:
                return decision.existing
            _end_all(ledger, decision, trail.at)
            intent = self._birth_intent(candidate, order, trail.at)
            ledger.intend(intent)
            ledger.take_quota(order.id, candidate.unit_serial)
            return intent

        return self._carry_out(candidate, choose, trail)

    def renew(self, candidate: Candidate, current: Issuance, trail: Trail) -> bytes:
        """
        Return the certificate (DER) that succeeds `current`, which lives on for the overlap.

        Raises:
            Refused: demands 6, 7 and 9; NotNow: the issuing key; StoreError: the ledger.

        """

        def choose(ledger: Ledger) -> Issuance:
            # It lived when the request came; whether it still does is known only in here.
            latest = ledger.issuance(current.serial) or current
            demand_renewable(latest, trail.at)
            decision = decide_renewal(candidate, current, _facts(ledger, candidate), trail.at)
            if decision.existing is not None:
                return decision.existing
            _end_all(ledger, decision, trail.at)
            overlap_ends = trail.at + self._policy.rotation_overlap
            # A second renewal from the same certificate replaces the first; it does not begin the overlap anew.
            ledger.end(current.serial, min(overlap_ends, latest.dies_at or overlap_ends), Ending.ROTATED)
            intent = self._renewal_intent(candidate, current, trail.at)
            ledger.intend(intent)
            return intent

        return self._carry_out(candidate, choose, trail)

    def _carry_out(self, candidate: Candidate, choose: Callable[[Ledger], Issuance], trail: Trail) -> bytes:
        # 1. intent
        with self._store.writing() as ledger:
            intent = choose(ledger)
            ledger.use_nonce(nonce_digest(candidate.attested.nonce), intent.serial)
            if intent.certificate is not None:
                ledger.add_audit(trail.row(detail=f"certificate {intent.serial} again"))
                return intent.certificate
            linted = demand_certificate(intent, self._policy.terms, self._authority.certificate)
        # 2. signature
        certificate = self._sign(linted)
        # 3. record
        with self._store.writing() as ledger:
            return self._record(ledger, intent.serial, certificate, trail)

    def _birth_intent(self, candidate: Candidate, order: Order, at: datetime) -> Issuance:
        model = next(m for m in self._policy.endorsements.models if m.id == candidate.attested.chip.model)
        return Issuance(
            serial=f"{new_serial():x}",
            unit_serial=candidate.unit_serial,
            chip=candidate.chip,
            chip_model=model.id,
            hw_type=model.hw_type.dotted_string,
            spki=candidate.request.spki,
            evidence=candidate.request.bundle or b"",
            order=order.id,
            product=order.product,
            organization=self._policy.organization,
            profile=order.profile,
            requested_by=candidate.caller.holder,
            intended_at=at,
            validity_days=demand_profile(order.profile, self._policy.terms).validity_days,
            dies_at=at + self._policy.birth_grace,
            ending=Ending.UNCONFIRMED,
        )

    def _renewal_intent(self, candidate: Candidate, current: Issuance, at: datetime) -> Issuance:
        return replace(
            current,
            serial=f"{new_serial():x}",
            spki=candidate.request.spki,
            evidence=candidate.request.bundle or b"",
            requested_by=candidate.caller.holder,
            intended_at=at,
            validity_days=demand_profile(current.profile, self._policy.terms).validity_days,
            certificate=None,
            # The device asked over its confirmed identity, from the same chip: nothing is left to confirm.
            confirmed_at=at,
            dies_at=None,
            ending=None,
        )

    def _sign(self, linted: LintedCertificate) -> bytes:
        try:
            certificate = sign(linted, self._authority.key, self._authority.certificate)
        except PKIError as error:
            raise NotNow(
                "ca.signer", "the issuing key cannot sign at the moment", retry_after_s=SIGNER_RETRY_S
            ) from error
        return certificate.public_bytes(Encoding.DER)

    def _record(self, ledger: Ledger, serial: str, certificate: bytes, trail: Trail) -> bytes:
        """Write the certificate down and return it; or the one that another worker has recorded for the same intent."""
        intent = ledger.issuance(serial)
        if intent is None or not intent.alive(trail.at):
            raise Refused(CONFLICT, "ca.7.superseded", "a later request for this chip or unit came in between")
        if intent.certificate is None:
            ledger.record(serial, certificate)
        ledger.add_audit(trail.row(detail=f"certificate {serial}"))
        return intent.certificate or certificate


def _facts(ledger: LedgerReader, candidate: Candidate) -> LedgerFacts:
    return LedgerFacts(
        order=ledger.order(candidate.order_id),
        grant=ledger.nonce(nonce_digest(candidate.attested.nonce)),
        near=ledger.issuances_near(candidate.chip, candidate.unit_serial),
        use=ledger.order_use(candidate.order_id, candidate.unit_serial),
        denial=ledger.denial(candidate.chip),
    )


def _end_all(ledger: Ledger, decision: Decision, at: datetime) -> None:
    for doomed in decision.doomed:
        ledger.end(doomed.serial, at, Ending.SUPERSEDED)
