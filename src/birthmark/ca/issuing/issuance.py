# SPDX-License-Identifier: Apache-2.0
"""
Intent, signature, record: the only place where the issuing key signs a certificate.

1. intent    one transaction: demands 6 to 9, the nonce is used, earlier certificates end, the intent is written down
2. signature outside any transaction: the issuing key signs exactly what was intended and linted
3. record    one transaction: the certificate and its log entry are written down; only then is it given out

A crash after 1 leaves an intent that the next request for the same chip and key finishes, to the same contents and
serial, or that a new key supersedes. A crash after 2 is the same: what was signed was given to nobody.

Requests that came together share their transactions. Two that touch the same chip, unit or nonce never do: the second
one waits and sees what the first has written.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from msgspec import structs

from birthmark.ca.demands import (
    CONFLICT,
    Candidate,
    Decision,
    decide,
    demand_appraised,
    demand_certificate,
    demand_eligible,
    demand_profile,
    demand_renewable,
    demand_rig_of_order,
    key_algorithm_of,
)
from birthmark.ca.errors import CAError, NotNow, Pending, Refused
from birthmark.ca.issuing.configured import demand_configuration
from birthmark.ca.issuing.grounds import grounds_of
from birthmark.ca.issuing.jobs import Draft, EnrolJob, IssueJob, Outcome, RenewJob
from birthmark.ca.issuing.renewals import decide_renewal
from birthmark.ca.issuing.signers import Signers
from birthmark.ca.life.units import RULES, Move, moved
from birthmark.ca.orders.warrants import Warrants
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore, Ledger
from birthmark.ca.trail import Trail
from birthmark.core.audit import AuditRow, Grounds
from birthmark.core.ids import fingerprint
from birthmark.core.in_force import InForce
from birthmark.core.issuance import Ask, ChipGroup, End, Ending, GroupKind, Issuance, LedgerFacts, Order, Unit
from birthmark.core.ledger_rows import said, said_issuance, unit_row
from birthmark.evidence.verdict import AttestedKey
from birthmark.pki.authorities import Authority, new_serial
from birthmark.pki.cmw import Record
from birthmark.pki.errors import KeyStoreError, PKIError
from birthmark.pki.profiles import LintedCertificate, sign_der

SIGNER_RETRY_S = 5


@dataclass(slots=True)
class _Writes:
    """What the requests of one transaction want written, in the order of the requests."""

    intents: list[Issuance] = field(default_factory=list)
    uses: list[tuple[str, str]] = field(default_factory=list)
    extensions: list[tuple[str, datetime]] = field(default_factory=list)
    takes: list[tuple[str, str]] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    rows: list[AuditRow] = field(default_factory=list)

    def write(self, ledger: Ledger) -> None:
        # Ends first: the ledger allows one open-ended life per chip and unit.
        if self.ends:
            ledger.end(self.ends)
        if self.intents:
            ledger.intend(self.intents)
        if self.takes:
            ledger.take_quota(self.takes)
        if self.uses:
            ledger.use_nonces(self.uses)
        if self.extensions:
            ledger.extend_nonces(self.extensions)
        if self.units:
            ledger.put_units(self.units)
        if self.rows:
            ledger.append(self.rows)

    def end(self, end: End, trail: Trail) -> None:
        """End a certificate, and let the log say so."""
        self.ends.append(end)
        self.rows.append(trail.end_row(end))

    def activate(self, unit: Unit | None, trail: Trail) -> None:
        """Let a unit be active that renews for the first time, and let the log say so."""
        if unit is not None and unit.state in RULES[Move.ACTIVATE].sources:
            self.units.append(moved(unit, Move.ACTIVATE, trail.at, "it renewed its certificate"))
            state = said("unit", unit_row(self.units[-1]))
            self.rows.append(structs.replace(trail.row(), act=Move.ACTIVATE.act, state=state))


@dataclass(frozen=True, slots=True)
class _Begun:
    """An intent that is written down and waits for its signature; the digest is that of the nonce it has used."""

    intent: Issuance
    nonce: str
    linted: LintedCertificate
    authority: Authority
    trail: Trail
    grounds: Grounds | None


class Issuer:
    """Issues to candidates that met demands 1 to 5."""

    def __init__(self, store: CAStore, signers: Signers, policy: Policy) -> None:
        self._store = store
        self._signers = signers
        self._policy = policy
        self._warrants = Warrants(policy.trust, policy.authority)

    def draft(self, candidate: Candidate, order: Order, at: datetime) -> Draft:
        """
        Return what would be issued under the order: the expensive part, done before the ledger is held.

        Raises:
            Refused: ca.9.profile. NotNow: the key that signs attestation results.

        """
        terms = demand_profile(order.profile, self._policy.terms)
        model = next(m for m in self._policy.endorsements.models if m.id == candidate.attested.chip.model)
        intent = Issuance(
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
            validity_days=terms.days_from(at),
            kind=terms.kind.name,
            issuer=self._signers.id_of(terms.issuer),
            result=self.result(candidate, order.profile, at),
            ak_fingerprint=candidate.attested.ak_fingerprint,
            dies_at=at + self._policy.birth_grace,
            ending=Ending.UNCONFIRMED,
        )
        try:
            demand_eligible(candidate, order.profile, self._policy.endorsements, at)
            return Draft(intent, self._linted(intent), self._grounds(intent, candidate.attested, order.document))
        except Refused as refusal:
            return Draft(intent, refusal)

    def result(self, candidate: Candidate, profile: str, at: datetime) -> bytes | None:
        """
        Return the signed attestation result for a profile that publishes it in place of evidence; else None.

        Raises:
            Refused: ca.9.profile. NotNow: the key that signs it.

        """
        verifier = self._signers.verifier
        if demand_profile(profile, self._policy.terms).kind.record is not Record.RESULT or verifier is None:
            return None
        with _signer_answers("the key for attestation results"):
            return verifier.result(candidate.attested, candidate.request.bundle or b"", self._policy.endorsements, at)

    def issue(self, jobs: Sequence[IssueJob]) -> list[Outcome]:
        """
        Return, for each job, the certificate (DER) or why there is none.

        A first certificate is unconfirmed until its birth record arrives; one for a renewal succeeds the current one,
        which lives on for the overlap.

        Raises:
            StoreError: the ledger; any of the jobs may have been done or not, and all may be repeated.

        """
        outcomes: dict[int, Outcome] = {}
        for together in _apart(jobs):
            outcomes |= self._issue_together([(index, jobs[index]) for index in together])
        return [outcomes[index] for index in range(len(jobs))]

    def _issue_together(self, jobs: Sequence[tuple[int, IssueJob]]) -> dict[int, Outcome]:
        # 1. intent
        with self._store.writing() as ledger:
            begun, outcomes = self._intend(ledger, jobs)
        # 2. signature
        signed: list[tuple[int, _Begun, bytes]] = []
        for index, each in begun:
            try:
                signed.append((index, each, _sign(each)))
            except NotNow as failure:
                outcomes[index] = failure
        # 3. record
        if signed:
            with self._store.writing() as ledger:
                outcomes |= _recorded(ledger, signed, self._policy.configuration)
        return outcomes

    def _intend(
        self, ledger: Ledger, jobs: Sequence[tuple[int, IssueJob]]
    ) -> tuple[list[tuple[int, _Begun]], dict[int, Outcome]]:
        begun: list[tuple[int, _Begun]] = []
        outcomes: dict[int, Outcome] = {}
        writes, taken, own = _Writes(), Counter[str](), self._policy.configuration
        facts = ledger.facts([_ask(job.candidate) for _, job in jobs])
        try:
            demand_configuration(own, facts[0].configurations, max(job.trail.at for _, job in jobs))
        except NotNow as refusal:
            return [], dict.fromkeys((index for index, _ in jobs), refusal)
        for (index, job), known in zip(jobs, facts, strict=True):
            try:
                self._demand_warrant(ledger, job, known)
                chosen = self._choose(job, _with_taken(known, taken), writes)
            except (Refused, Pending) as refusal:
                outcomes[index] = refusal
                if isinstance(refusal, Pending):
                    # The same request is to come again (RFC 7030 §4.2.3): its nonce must be good by then.
                    again_at = job.trail.at + timedelta(seconds=refusal.retry_after_s)
                    writes.extensions.append((job.candidate.nonce_digest, again_at + self._policy.nonce_expiry))
                writes.rows.append(job.trail.row(finding=refusal.finding, detail=refusal.message))
                continue
            taken = Counter(order_id for order_id, _ in writes.takes)
            if isinstance(chosen, _Begun):
                begun.append((index, chosen))
            else:
                outcomes[index] = chosen
        writes.write(ledger)
        return begun, outcomes

    def _demand_warrant(self, ledger: Ledger, job: IssueJob, facts: LedgerFacts) -> None:
        """8. Pass a first request under an order that two persons have signed as it stands. Refused: ca.8.warrant."""
        if isinstance(job, EnrolJob) and facts.order is not None:
            self._warrants.demand(ledger, facts.order)

    def _choose(self, job: IssueJob, facts: LedgerFacts, writes: _Writes) -> _Begun | bytes:
        """Decide one job and note its writes: nothing is noted of one that is refused."""
        match job:
            case EnrolJob():
                decision, draft, current_end = self._enrolment(job, facts)
            case RenewJob():
                decision, draft, current_end = self._renewal(job, facts)
        trail = job.trail
        digest = job.candidate.nonce_digest
        if decision.existing is not None and decision.existing.certificate is not None:
            existing = decision.existing
            writes.uses.append((digest, existing.serial))
            writes.rows.append(structs.replace(trail.row(certificate=existing.serial, detail="again"), nonce=digest))
            return decision.existing.certificate
        intent, linted = draft.intent, draft.linted
        if isinstance(linted, Refused):
            raise linted
        if decision.existing is None:
            for doomed in decision.doomed:
                writes.end(End(doomed.serial, trail.at, Ending.SUPERSEDED), trail)
            if current_end is not None:
                writes.end(current_end, trail)
            if isinstance(job, RenewJob):
                writes.activate(facts.unit, trail)
            writes.intents.append(intent)
            if isinstance(job, EnrolJob) and not facts.use.holds_unit:
                writes.takes.append((intent.order, intent.unit_serial))
        writes.uses.append((digest, intent.serial))
        return _Begun(intent, digest, linted, self._authority(intent), trail, draft.grounds)

    def _enrolment(self, job: EnrolJob, facts: LedgerFacts) -> tuple[Decision, Draft, None]:
        order = demand_rig_of_order(facts.order, job.candidate.order_id, job.candidate.caller)
        decision = decide(job.candidate, order, facts, job.trail.at)
        if decision.existing is not None:
            return decision, self._redraft(decision.existing, job.trail.at, order.document), None
        draft = job.draft if order == job.order else self.draft(job.candidate, order, job.trail.at)
        return decision, draft, None

    def _renewal(self, job: RenewJob, facts: LedgerFacts) -> tuple[Decision, Draft, End | None]:
        # It lived when the request came; whether it still does is known only in here.
        latest = next((other for other in facts.near if other.serial == job.current.serial), job.current)
        demand_renewable(latest, job.trail.at)
        terms = demand_profile(job.current.profile, self._policy.terms)
        decision = decide_renewal(job.candidate, job.current, facts, terms, job.trail.at)
        if decision.existing is not None:
            return decision, self._redraft(decision.existing, job.trail.at), None
        demand_eligible(job.candidate, job.current.profile, self._policy.endorsements, job.trail.at)
        intent = self._renewal_intent(job)
        overlap_ends = job.trail.at + self._policy.rotation_overlap
        # A second renewal from the same certificate replaces the first; it does not begin the overlap anew.
        end = End(latest.serial, min(overlap_ends, latest.dies_at or overlap_ends), Ending.ROTATED)
        draft = Draft(intent, self._linted(intent), self._grounds(intent, job.candidate.attested))
        return decision, draft, None if intent.beside else end

    def _redraft(self, existing: Issuance, at: datetime, document: str = "") -> Draft:
        """
        Return an earlier intent as a draft, to be signed now; one that is signed already needs no lint.

        The evidence is the earlier request's, and the policy may be another one since: it is appraised again.
        """
        if existing.certificate is not None:
            return Draft(existing, Refused(CONFLICT, "ca.7.superseded", "it is signed already"))
        attested = demand_appraised(existing.evidence, existing.spki, self._policy.endorsements, at)
        return Draft(existing, self._linted(existing), self._grounds(existing, attested, document))

    def _grounds(self, intent: Issuance, attested: AttestedKey, document: str = "") -> Grounds:
        """Return what the log says of why this is issued. `document` is what the order stands on."""
        verifier = self._signers.verifier
        return grounds_of(
            attested,
            issuer=self._signers.fingerprints[intent.issuer],
            policy=self._policy.endorsements.digest,
            profile=intent.profile,
            evidence=fingerprint(intent.evidence),
            document=document,
            result_key="" if intent.result is None or verifier is None else verifier.key_sha256,
        )

    def _renewal_intent(self, job: RenewJob) -> Issuance:
        candidate, current, at = job.candidate, job.current, job.trail.at
        terms = demand_profile(current.profile, self._policy.terms)
        return replace(
            current,
            serial=f"{new_serial():x}",
            spki=candidate.request.spki,
            evidence=candidate.request.bundle or b"",
            requested_by=candidate.caller.holder,
            intended_at=at,
            validity_days=terms.days_from(at),
            kind=terms.kind.name,
            issuer=self._signers.id_of(terms.issuer),
            result=job.result,
            beside=_stays_beside(candidate.request.spki, current.spki),
            ak_fingerprint=candidate.attested.ak_fingerprint,
            certificate=None,
            # The device asked over its confirmed identity, from the same chip: nothing is left to confirm.
            confirmed_at=at,
            dies_at=None,
            ending=None,
        )

    def _linted(self, intent: Issuance) -> LintedCertificate:
        return demand_certificate(intent, self._policy.terms, self._authority(intent).certificate)

    def _authority(self, intent: Issuance) -> Authority:
        authority = self._signers.of(intent.issuer)
        if authority is None:
            raise Refused(CONFLICT, "ca.9.profile", "the issuing CA of this request is no longer there")
        return authority


def _sign(begun: _Begun) -> bytes:
    with _signer_answers("the issuing key"):
        return sign_der(begun.linted, begun.authority.key, begun.authority.certificate)


@contextmanager
def _signer_answers(which: str) -> Iterator[None]:
    """Turn a failure of a key into the answer that the client gets."""
    try:
        yield
    except PKIError as error:
        retry_after_s = getattr(error, "retry_after_s", 0) if isinstance(error, KeyStoreError) else 0
        raise NotNow(
            "ca.signer", f"{which} cannot sign at the moment", retry_after_s=retry_after_s or SIGNER_RETRY_S
        ) from error


def _stays_beside(new: bytes, current: bytes) -> bool:
    """Say whether the device could not connect with its new key, and can with the one in use."""
    return key_algorithm_of(current).signs_handshakes and not key_algorithm_of(new).signs_handshakes


def _apart(jobs: Sequence[IssueJob]) -> Iterator[list[int]]:
    """Yield the jobs' indices in groups, in each of which no chip, unit or nonce comes twice."""
    waiting = list(range(len(jobs)))
    while waiting:
        together, seen, later = [], set[object](), []
        for index in waiting:
            candidate = jobs[index].candidate
            touched = {candidate.chip, ("unit", candidate.unit_serial), ("nonce", candidate.nonce_digest)}
            if touched & seen:
                later.append(index)
            else:
                together.append(index)
            seen |= touched
        yield together
        waiting = later


def _ask(candidate: Candidate) -> Ask:
    groups = (
        ChipGroup(GroupKind.AK, candidate.attested.ak_fingerprint),
        ChipGroup(GroupKind.MODEL, candidate.attested.chip.model),
    )
    return Ask(candidate.order_id, candidate.nonce_digest, candidate.chip, candidate.unit_serial, groups)


def _with_taken(facts: LedgerFacts, taken: Counter[str]) -> LedgerFacts:
    """Return the facts as they stand after what this transaction has taken from the order so far."""
    if facts.order is None or not taken[facts.order.id]:
        return facts
    return replace(facts, use=replace(facts.use, units=facts.use.units + taken[facts.order.id]))


def _recorded(
    ledger: Ledger, signed: Sequence[tuple[int, _Begun, bytes]], configuration: InForce | None
) -> dict[int, Outcome]:
    """Write the certificates down and return them; or those that another worker has recorded for the same intents."""
    outcomes: dict[int, Outcome] = {}
    at = max(begun.trail.at for _, begun, _ in signed)
    unfinished = ledger.unfinished([begun.intent.serial for _, begun, _ in signed], at)
    fresh, rows = [], []
    for index, begun, certificate in signed:
        if begun.intent.serial in unfinished:
            fresh.append((begun.intent.serial, certificate))
            rows.append(_issued_row(begun, certificate, configuration))
            outcomes[index] = certificate
        else:
            outcomes[index] = _of_another(ledger, begun)
    ledger.record(fresh)
    ledger.append(rows)
    return outcomes


def _issued_row(begun: _Begun, certificate: bytes, configuration: InForce | None) -> AuditRow:
    """Return the entry of a certificate: it says what was intended, and what becomes of it when nobody confirms it."""
    intent = begun.intent
    return structs.replace(
        begun.trail.issued_row(intent.serial, certificate, begun.grounds),
        dies=intent.dies_at,
        ending="" if intent.ending is None else intent.ending.value,
        nonce=begun.nonce,
        configuration=None if configuration is None else configuration.entry,
        state=said_issuance(intent),
    )


def _of_another(ledger: Ledger, begun: _Begun) -> bytes | CAError:
    found = ledger.issuance(begun.intent.serial)
    if found is None or found.certificate is None or not found.alive(begun.trail.at):
        return Refused(CONFLICT, "ca.7.superseded", "a later request for this chip or unit came in between")
    return found.certificate
