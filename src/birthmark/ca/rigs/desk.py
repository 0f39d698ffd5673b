# SPDX-License-Identifier: Apache-2.0
"""
Certificates for rigs, from the CA of rigs whose key the service has.

Guaranteed: a ticket is for one key; that key gets the same certificate however often it asks; a certificate is handed
out only after its entry is in the log; whoever is denied gets none. The certificate's name and orders are those that
two persons have signed, or those of the certificate that is renewed.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from birthmark.ca.demands import CONFLICT, FORBIDDEN, MALFORMED
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.people.roles import Officer
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.ca.refusals import TOO_MANY, RefusalShares
from birthmark.ca.rigs.tickets import Invitation, demand_invitation
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.ledger_rows import rig_ticket_row, said
from birthmark.core.tickets import RigTicket, ticket_digest
from birthmark.pki.algorithms import KeyAlgorithm, VerifyingKey, key_algorithm, verifying_key
from birthmark.pki.authorities import Authority, make_rig
from birthmark.pki.csr import read_csr, request_der
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.paths import TrustAnchors, issued_by, key_digest
from birthmark.pki.rig_scope import scope_of

ENROL: Final = "rig.enrol"
RENEWALS_MAX: Final = 24
"""Of one rig in a day, in each worker: what a rig is given makes an entry of the log."""
DAY: Final = timedelta(days=1)
RIGS_MAX: Final = 10_000
SIGNER_RETRY_S: Final = 60


@dataclass(frozen=True, slots=True)
class RigIssuer:
    """The CA of rigs: its certificate and key, and how long what it makes lives."""

    authority: Authority
    validity_days: int


@dataclass(frozen=True, slots=True)
class RigDesk:
    """Calls may come from several threads; several workers share the ledger. `issuer` is None where there is none."""

    issuer: RigIssuer | None
    store: CAStore
    trust: TrustAnchors
    authority: str
    clock: Clock
    shares: RefusalShares = field(default_factory=RefusalShares)
    _renewed: dict[str, list[datetime]] = field(default_factory=dict)

    def enrol(self, ticket: str, request: str) -> tuple[x509.Certificate, ...]:
        """
        Return the first certificate of a rig, for the key of its request, with the CA's behind it.

        What a holder of a ticket is refused stands in the log; of texts that are no tickets the log says nothing.

        Raises:
            Refused: ca.rig.*, csr.*. NotNow: ca.rig.issuer; the key. StoreError.

        """
        issuer, at, digest = self._issuer(), self.clock(), _digest(ticket)
        with self.store.reading() as ledger:
            known = _known(ledger, digest)
            proposal = ledger.proposal(known.proposal)
        self.shares.demand(digest, at)
        try:
            invitation = demand_invitation(known, proposal, self.authority, self.trust)
            key = _key(request, invitation.rig)
            made = self._made(issuer, invitation.rig, key, invitation.terms.orders, at)
            return self._handed_out(known.digest, invitation, made, at), issuer.authority.certificate
        except Refused as refusal:
            self._audit(digest, refusal, at)
            raise

    def renew(self, officer: Officer, request: str) -> tuple[x509.Certificate, ...]:
        """
        Return the next certificate of a rig, for another key: of the same name, for the same orders.

        Raises:
            Refused: ca.rig.*, csr.*. NotNow: ca.rig.issuer; the key. StoreError.

        """
        issuer, at, old = self._issuer(), self.clock(), officer.certificate
        if not issued_by(old, issuer.authority.certificate):
            reason = f"the certificate of {officer.name} is not from this CA's own CA of rigs"
            raise Refused(FORBIDDEN, "ca.rig.renewal", reason, hint="enrol with a ticket")
        key = _key(request, officer.name)
        if key == old.public_key():
            raise Refused(CONFLICT, "ca.rig.same-key", "a renewal is for a new key", hint="make one")
        self._demand_pace(officer.name, at)
        made = self._made(issuer, officer.name, key, _scope(old), at)
        row = AuditRow(
            at=at,
            who=officer.holder,
            fingerprint=officer.fingerprint,
            act="rig.renew",
            about=fingerprint(made.public_bytes(Encoding.DER)),
            detail=_detail(officer.name, made),
        )
        with self.store.writing() as ledger:
            ledger.append([row])
        return made, issuer.authority.certificate

    def _issuer(self) -> RigIssuer:
        if self.issuer is None:
            hint = "birthmark ca credential rig, with the operations CA"
            raise Refused(FORBIDDEN, "ca.rig.off", "this CA certifies no rigs", hint=hint)
        return self.issuer

    def _made(
        self, issuer: RigIssuer, rig: str, key: VerifyingKey, orders: tuple[str, ...], at: datetime
    ) -> x509.Certificate:
        """Sign; what was signed leaves only with its entry. Refused: ca.rig.denied."""
        left = (issuer.authority.certificate.not_valid_after_utc - at).days
        if left < 1:
            raise NotNow("ca.rig.issuer", "the CA of rigs has ended", retry_after_s=SIGNER_RETRY_S)
        days = min(issuer.validity_days, left)
        made = make_rig(issuer.authority, rig, key, at.replace(microsecond=0), days, orders=orders)
        denied = self.trust.why_denied(made)
        if denied is not None:
            raise Refused(FORBIDDEN, "ca.rig.denied", f"{rig} gets no certificate: {denied} is denied")
        return made

    def _handed_out(
        self, digest: str, invitation: Invitation, made: x509.Certificate, at: datetime
    ) -> x509.Certificate:
        """Bind the ticket to the key and keep its certificate, or return the one that this key has got."""
        spki, der = key_digest(made), made.public_bytes(Encoding.DER)
        with self.store.writing() as ledger:
            now = _known(ledger, digest)
            if now.spki not in {"", spki}:
                reason = f"the ticket of {invitation.rig} was used by another key"
                raise Refused(CONFLICT, "ca.rig.ticket-used", reason, hint="if that was not you: deny the rig")
            if now.certificate is not None:
                return x509.load_der_x509_certificate(now.certificate)
            if at >= invitation.terms.not_after:
                raise Refused(FORBIDDEN, "ca.rig.ticket-over", "the ticket has ended", hint="ask for another one")
            used = replace(now, spki=spki, certificate=der)
            ledger.put_rig_ticket(used)
            row = AuditRow(
                at=at,
                who=f"rig:{invitation.rig}",
                fingerprint=fingerprint(der),
                act=ENROL,
                about=now.proposal,
                detail=f"ticket {digest}: {_detail(invitation.rig, made)}",
            )
            ledger.append([msgspec.structs.replace(row, state=said("rig_ticket", rig_ticket_row(used)))])
        return made

    def _audit(self, digest: str, refusal: Refused, at: datetime) -> None:
        row = AuditRow(
            at=at, who=f"ticket:{digest}", act=ENROL, finding=refusal.finding, detail=refusal.message, about=digest
        )
        with self.store.writing() as ledger:
            ledger.append([row])
        self.shares.spend(digest, at)

    def _demand_pace(self, rig: str, at: datetime) -> None:
        recent = [each for each in self._renewed.pop(rig, []) if each > at - DAY]
        if len(self._renewed) >= RIGS_MAX:
            self._renewed.clear()
        self._renewed[rig] = recent
        if len(recent) >= RENEWALS_MAX:
            wait_s = int((recent[0] + DAY - at).total_seconds())
            reason = f"{rig} has renewed itself {len(recent)} times in a day"
            raise Refused(TOO_MANY, "ca.rig.pace", reason, retry_after_s=wait_s)
        recent.append(at)


def _digest(ticket: str) -> str:
    try:
        return ticket_digest(ticket)
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.rig.ticket", error.message, hint=error.hint) from error


def _known(ledger: LedgerReader, digest: str) -> RigTicket:
    known = ledger.rig_ticket(digest)
    if known is None:
        raise Refused(FORBIDDEN, "ca.rig.ticket", "there is no such ticket", hint="is it approved, and for this CA?")
    return known


def _key(request: str, rig: str) -> VerifyingKey:
    """Return the key of a request, whose holder has shown to hold it. Refused: ca.rig.request, csr.*."""
    try:
        read = read_csr(request_der(request.encode()))
        key = verifying_key(read.key)
        algorithm = key_algorithm(key)
    except DecodeError as error:
        raise Refused(MALFORMED, error.finding, error.message, hint=error.hint) from error
    except AlgorithmRefused as error:
        raise Refused(MALFORMED, "ca.rig.request", error.message) from error
    if algorithm is not KeyAlgorithm.P256:
        raise Refused(MALFORMED, "ca.rig.request", f"a key of type {algorithm.value}; a rig's is on P-256")
    said_names = [str(each.value) for each in read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if any(name != rig for name in said_names):
        reason = f"the request is of {said_names[0][:64]!r}, the certificate would be for {rig}"
        raise Refused(CONFLICT, "ca.rig.request", reason, hint="is this the ticket of this rig?")
    return key


def _scope(old: x509.Certificate) -> tuple[str, ...]:
    try:
        return tuple(sorted(scope_of(old) or ()))
    except DecodeError as error:
        raise Refused(FORBIDDEN, "ca.rig.renewal", error.message) from error


def _detail(rig: str, made: x509.Certificate) -> str:
    until = made.not_valid_after_utc.isoformat(timespec="seconds")
    orders = ", ".join(sorted(scope_of(made) or ())) or "all that name it"
    return f"rig {rig}, orders: {orders}, until {until}, key:{key_digest(made)}"
