# SPDX-License-Identifier: Apache-2.0
"""
What the issuing authority demands before it signs. Pure: no store, no clock, no network.

1. caller     the TLS client is a rig (id-kp-cmcRA) that the order names; or, to renew, the device itself
2. request    the CSR is well formed and signed by its own key, and names one unit
3. evidence   it is there, well formed and signed by an attestation key
4. chip       that key chains to an endorsed maker; model endorsed, not withdrawn; firmware not denied
5. key        the attested key is the CSR's key; made in the chip, not extractable, sign-only
6. nonce      ours, given to this caller for this unit, unused, unexpired
7. identity   the chip is not denied, and not alive under another unit or with another confirmed key; the unit is free,
              not dark, and bound to no other chip
8. order      open, in its time, for this chip model, with quota left
9. profile    allows this key's algorithm today

The numbers are the same in the finding ids, in the tests and in docs/reference/ca-demands.md. Each function raises
Refused for the first thing that it misses. `decide` is what the ledger's transaction asks: demands 6 to 8 in one; the
same transaction asks 9 of the certificate that it intends.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from birthmark.ca.errors import Pending, Refused
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import ChipID, Ending, Issuance, LedgerFacts, NonceGrant, Order, OrderUse, Unit
from birthmark.est.errors import NotLinked
from birthmark.est.linking import require_linked
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.eligibility import algorithm_of, ineligible
from birthmark.evidence.endorsements import Endorsements
from birthmark.evidence.verdict import AppraisalRefused, AttestedKey, require
from birthmark.pki import names
from birthmark.pki.algorithms import KeyAlgorithm, acceptable_key, is_weaker
from birthmark.pki.csr import CertificateRequest, read_csr
from birthmark.pki.errors import AlgorithmRefused, PathError, ProfileRefused
from birthmark.pki.names import HardwareModule
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.pki.profiles import (
    IDEVID,
    KINDS,
    NO_WELL_DEFINED_END,
    AlgorithmPolicy,
    DeviceIdentity,
    DeviceProfile,
    LintedCertificate,
    ProfileKind,
    lint,
    prepare,
)
from birthmark.pki.rig_scope import in_scope

MALFORMED = 400
FORBIDDEN = 403
UNKNOWN = 404
CONFLICT = 409
TOO_LARGE = 413

APPROVAL_RETRY_S = 60

RIG = "rig"
DEVICE = "device"
"""The two kinds of callers."""


@dataclass(frozen=True, slots=True)
class Client:
    """
    The TLS client of a request: its certificate, and what it sent along. Nothing is believed yet.

    `bindings` returns the channel bindings of its session, none where TLS ends elsewhere.
    """

    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...] = field(hash=False)
    bindings: Callable[[], Mapping[str, bytes]] = field(default=dict, compare=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the leaf, in lower-case hexadecimal."""
        return _told_of(self.leaf)[0]

    @property
    def claim(self) -> str:
        """Who the client says that it is: the subject of its leaf, which nobody has verified."""
        return _told_of(self.leaf)[1]


@functools.lru_cache(1_024)
def _told_of(leaf: x509.Certificate) -> tuple[str, str]:
    """Return fingerprint and subject: the same client comes again and again."""
    return leaf.fingerprint(hashes.SHA256()).hex(), leaf.subject.rfc4514_string()


@dataclass(frozen=True, slots=True)
class Caller:
    """A TLS client that met demand 1. `name` is the rig's CN or the device's unit serial."""

    name: str
    kind: str
    certificate: x509.Certificate

    @property
    def holder(self) -> str:
        """The name under which nonces are leased and audit rows written."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class Terms:
    """
    What a profile allows: key algorithms, each with its last day, and how long a certificate lives.

    A key may be certified again for `same_key_days` after its first certificate; with 0, every renewal needs a new key.
    """

    name: str
    algorithms: tuple[AlgorithmPolicy, ...]
    validity_days: int
    same_key_days: int = 0
    kind: ProfileKind = KINDS["device"]
    issuer: str = ""
    """The name of the issuing CA (`ca.signers`)."""

    def days_from(self, at: datetime) -> int:
        """Return for how many days a certificate of this moment lives."""
        return (NO_WELL_DEFINED_END - at).days if self.kind is IDEVID else self.validity_days

    def preferred(self, held: KeyAlgorithm | None, at: datetime) -> KeyAlgorithm:
        """Return the key that is asked for: the first that is issued today and not weaker than what a device holds."""
        on = at.astimezone(UTC).date()
        issued = [each.algorithm for each in self.algorithms if on <= each.last_issue]
        as_good = (each for each in issued if held is None or not is_weaker(each, held))
        return next(as_good, self.algorithms[0].algorithm)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A request that met demands 1 to 5."""

    caller: Caller
    order_id: str
    unit_serial: str
    chip: ChipID
    request: CertificateRequest
    attested: AttestedKey

    @property
    def nonce_digest(self) -> str:
        """How the ledger knows the nonce of the evidence: SHA-256 in lower-case hexadecimal."""
        return fingerprint(self.attested.nonce)


@dataclass(frozen=True, slots=True)
class Decision:
    """Answer with `existing`, signed or to be finished; or issue anew, after `doomed` were ended."""

    existing: Issuance | None
    doomed: tuple[Issuance, ...] = ()


# --- 1. caller -------------------------------------------------------------------------------------------------


def demand_rig(client: Client | None, trust: TrustAnchors, at: datetime) -> Caller:
    """1. Return the rig behind the TLS client. Refused: ca.1.rig."""
    certificate = trusted(client, trust, at, Purpose.RIG, "ca.1.rig")
    try:
        return Caller(names.common_name_of(certificate.subject), RIG, certificate)
    except DecodeError as error:
        raise Refused(FORBIDDEN, "ca.1.rig", f"the rig's certificate has no usable name: {error.message}") from error


def demand_rig_of_order(order: Order | None, label: str | None, caller: Caller) -> Order:
    """1. Return the order when it names the rig. Refused: ca.8.unknown, ca.1.order-rig, ca.1.order-scope."""
    if order is None:
        reason = "the request names no order" if label is None else f"there is no order {label}"
        raise Refused(UNKNOWN, "ca.8.unknown", reason, hint="the EST label is the order's id")
    if caller.name not in order.rigs:
        raise Refused(FORBIDDEN, "ca.1.order-rig", f"order {order.id} does not name the rig {caller.name}")
    if not in_scope(order.id, caller.certificate):
        raise Refused(FORBIDDEN, "ca.1.order-scope", f"the certificate of {caller.name} is not for order {order.id}")
    return order


def demand_device(
    client: Client | None, current: Issuance | None, trust: TrustAnchors, at: datetime
) -> tuple[Caller, Issuance]:
    """
    1. Return the device behind the TLS client, and `current`: the issuance of the certificate that it showed.

    Refused: ca.1.device, ca.re.revoked, ca.re.unconfirmed.
    """
    certificate = trusted(client, trust, at, Purpose.CLIENT, "ca.1.device")
    if current is None:
        raise Refused(FORBIDDEN, "ca.1.device", "the TLS client's certificate is not one that this CA issued")
    demand_renewable(current, at)
    return Caller(current.unit_serial, DEVICE, certificate), current


def demand_renewable(current: Issuance, at: datetime) -> None:
    """1. Pass a certificate that lives and was confirmed. Refused: ca.re.revoked, ca.re.unconfirmed."""
    if not current.alive(at):
        raise Refused(FORBIDDEN, "ca.re.revoked", "the device's certificate is revoked")
    if current.confirmed_at is None:
        # Otherwise a certificate that nobody confirmed could outlive its grace time by renewing itself.
        raise Refused(CONFLICT, "ca.re.unconfirmed", "no birth record has confirmed the device's certificate yet")


def trusted(
    client: Client | None, trust: TrustAnchors, at: datetime, purpose: Purpose, finding: str
) -> x509.Certificate:
    """1. Return the certificate of a TLS client that chains to our trust. Refused: `finding`."""
    if client is None:
        raise Refused(FORBIDDEN, finding, "the TLS client showed no certificate")
    try:
        validate_path(client.leaf, client.chain, trust, at, purpose)
    except PathError as error:
        raise Refused(FORBIDDEN, finding, error.message, hint=error.hint) from error
    return client.leaf


# --- 2. request ------------------------------------------------------------------------------------------------


def demand_request(csr: bytes, client: Client | None) -> CertificateRequest:
    """
    2. Return the request, its signature verified, its key no weak one, linked to no other TLS session than this.

    Refused: csr.*, ca.2.csr, ca.2.binding.
    """
    try:
        request = read_csr(csr)
        acceptable_key(request.key)
    except DecodeError as error:
        finding = error.finding if error.finding.startswith("csr.") else "ca.2.csr"
        status = TOO_LARGE if finding == "csr.too-large" else MALFORMED
        raise Refused(status, finding, error.message, hint=error.hint) from error
    except (AlgorithmRefused, UnsupportedAlgorithm, ValueError) as error:
        raise Refused(MALFORMED, "csr.algorithm", f"the key of the request is refused: {error}") from error
    _demand_linked(request, client)
    return request


def _demand_linked(request: CertificateRequest, client: Client | None) -> None:
    """2. Pass a request without a challengePassword, or with a channel binding in it (RFC 7030 §3.5)."""
    if request.challenge is None:
        return
    try:
        require_linked(request.challenge, {} if client is None else client.bindings())
    except NotLinked as error:
        raise Refused(FORBIDDEN, "ca.2.binding", error.message, hint=error.hint) from error


def demand_first_subject(request: CertificateRequest) -> str:
    """2. Return the unit serial of a first request: its subject is that and nothing else. Refused: ca.2.csr."""
    try:
        unit = names.unit_serial_of(request.subject)
    except DecodeError as error:
        raise Refused(MALFORMED, "ca.2.csr", error.message, hint=error.hint) from error
    # One relative name with one attribute: the serial that was found, and nothing beside it.
    if [len(list(relative)) for relative in request.subject.rdns] != [1] or request.san is not None:
        raise Refused(MALFORMED, "ca.2.csr", "a first request names the unit serial and nothing else")
    return unit


def demand_renewal_names(request: CertificateRequest, current: x509.Certificate) -> None:
    """2. Pass a renewal for the current subject and SAN (RFC 7030 §4.2.2). Refused: ca.re.subject."""
    san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if request.subject != current.subject or request.san != san:
        raise Refused(FORBIDDEN, "ca.re.subject", "subject and SAN must be those of the current certificate")


# --- 3. evidence, 4. chip, 5. key ------------------------------------------------------------------------------


def demand_evidence(request: CertificateRequest, endorsements: Endorsements, at: datetime) -> AttestedKey:
    """3., 4., 5. Return what an endorsed chip says of the CSR's key. Refused: ca.3.evidence, evidence.*, ca.5.key."""
    if request.bundle is None:
        raise Refused(MALFORMED, "ca.3.evidence", "the CSR has no evidence: no attribute id-aa-attestation")
    attested = demand_appraised(request.bundle, request.spki, endorsements, at)
    if attested.spki != request.spki:
        raise Refused(FORBIDDEN, "ca.5.key", "the attested key is not the key of the CSR")
    return attested


def demand_appraised(bundle: bytes, spki: bytes, endorsements: Endorsements, at: datetime) -> AttestedKey:
    """3., 4., 5. Return what an endorsed chip says of this key. Refused: evidence.*."""
    try:
        return require(appraise(bundle, spki, endorsements, at))
    except AppraisalRefused as error:
        status = MALFORMED if error.finding == "evidence.malformed" else FORBIDDEN
        raise Refused(status, error.finding, error.message, hint=error.hint) from error


def demand_same_chip(attested: AttestedKey, current: Issuance) -> None:
    """5. Pass a renewal for a key in the same chip. Refused: ca.re.chip."""
    if ChipID(attested.chip.maker, attested.chip.serial) != current.chip:
        raise Refused(FORBIDDEN, "ca.re.chip", "the evidence is of another chip than the current certificate's")


# --- 6. to 9., inside the ledger's transaction -----------------------------------------------------------------


def decide(candidate: Candidate, order: Order, facts: LedgerFacts, at: datetime) -> Decision:
    """6., 7., 8. Return what to do about a first request. Refused: ca.6.*, ca.7.*, ca.8.*."""
    existing = same_request(candidate, facts.near, at)
    demand_nonce(facts.grant, candidate, existing, at)
    demand_no_denial(candidate, facts)
    demand_unit_state(facts.unit, candidate)
    if existing is not None:
        if existing.certificate is None:
            # Not signed yet: the order may have been closed since. Its quota has been taken.
            demand_order(order, candidate, facts.use, at)
        return Decision(existing)
    doomed = demand_free_identity(candidate, facts.near, at)
    demand_bound_chip(facts.unit, candidate)
    demand_order(order, candidate, facts.use, at)
    return Decision(None, doomed)


def demand_nonce(grant: NonceGrant | None, candidate: Candidate, existing: Issuance | None, at: datetime) -> None:
    """
    6. Pass a nonce that is good for this candidate.

    A used one is good for exactly the issuance that used it: the same request, sent again after its answer was lost.

    Refused: ca.6.nonce-unknown, .nonce-rig, .nonce-unit, .nonce-used, .nonce-expired.
    """
    if grant is None:
        raise Refused(FORBIDDEN, "ca.6.nonce-unknown", "the evidence is fresh for a nonce that is not ours")
    if grant.holder != candidate.caller.holder:
        raise Refused(FORBIDDEN, "ca.6.nonce-rig", "the nonce was given to another rig or device")
    if grant.unit_serial != candidate.unit_serial:
        raise Refused(FORBIDDEN, "ca.6.nonce-unit", "the nonce was given for another unit")
    if grant.used_by is not None:
        if existing is None or existing.serial != grant.used_by:
            raise Refused(FORBIDDEN, "ca.6.nonce-used", "the nonce was used before", hint="ask for a new one")
    elif at >= grant.expires_at:
        raise Refused(FORBIDDEN, "ca.6.nonce-expired", "the nonce has expired", hint="ask for a new one")


def demand_no_denial(candidate: Candidate, facts: LedgerFacts) -> None:
    """7. Pass a chip that is not denied, with a key that nobody revoked. Refused: ca.7.denied."""
    if facts.denial is not None:
        raise Refused(FORBIDDEN, "ca.7.denied", f"chip {candidate.chip.serial} is denied: {facts.denial}")
    for other in facts.near:
        if other.spki == candidate.request.spki and other.ending is Ending.REVOKED:
            raise Refused(FORBIDDEN, "ca.7.denied", "a certificate of this very key was revoked")


def demand_unit_state(unit: Unit | None, candidate: Candidate) -> None:
    """7. Pass a unit that was never born, or is not dark. Refused: ca.7.unit-state."""
    if unit is not None and unit.state.dark:
        raise Refused(FORBIDDEN, "ca.7.unit-state", f"unit {candidate.unit_serial} is {unit.state.value}")


def demand_bound_chip(unit: Unit | None, candidate: Candidate) -> None:
    """
    7. Pass the chip that the unit is bound to, or any for one that is bound to none. Refused: ca.7.unit-chip.

    Also when no certificate of the unit lives any more: another chip takes two persons.
    """
    if unit is not None and unit.chip is not None and unit.chip != candidate.chip:
        reason = f"unit {candidate.unit_serial} is bound to the chip {unit.chip.serial}"
        raise Refused(CONFLICT, "ca.7.unit-chip", reason, hint="propose its replacement: unit.replace")


def demand_free_identity(candidate: Candidate, near: tuple[Issuance, ...], at: datetime) -> tuple[Issuance, ...]:
    """
    7. Return the certificates that a new one supersedes: of this chip and unit, and never confirmed.

    Refused: ca.7.unit-taken, ca.7.chip-alive.
    """
    for other in near:
        if not other.alive(at):
            continue
        if other.chip != candidate.chip:
            raise Refused(CONFLICT, "ca.7.unit-taken", f"unit {candidate.unit_serial} lives with another chip")
        if other.unit_serial != candidate.unit_serial:
            raise Refused(CONFLICT, "ca.7.chip-alive", f"the chip lives in unit {other.unit_serial}")
        if other.confirmed_at is not None:
            raise Refused(CONFLICT, "ca.7.chip-alive", "the chip has a confirmed certificate")
    # Expired ones too, so that none stays open-ended beside the new one.
    return tuple(other for other in near if other.open(at))


def key_algorithm_of(spki: bytes) -> KeyAlgorithm:
    """9. Return the type of a key. Refused: ca.9.algorithm, for one that nobody certifies."""
    algorithm = algorithm_of(spki)
    if algorithm is None:
        raise Refused(FORBIDDEN, "ca.9.algorithm", "the key is of a type that is not certified")
    return algorithm


def demand_unit_of_order(order: Order, unit_serial: str) -> None:
    """8. Pass a unit that the order is for: no rig holds up those of others. Refused: ca.8.unit-range."""
    if not order.units.holds(unit_serial):
        span = f"{order.units.first} to {order.units.last}"
        raise Refused(FORBIDDEN, "ca.8.unit-range", f"order {order.id} is for the units {span}")


def demand_open_order(order: Order, at: datetime) -> None:
    """8. Pass an order that issues now. Refused: ca.8.order-closed, .window. Pending: ca.8.unapproved."""
    if order.closed_at is not None and order.closed_at <= at:
        raise Refused(FORBIDDEN, "ca.8.order-closed", f"order {order.id} is closed")
    if order.approved_at is None or at < order.approved_at:
        reason = f"order {order.id} waits for its second approval"
        raise Pending("ca.8.unapproved", reason, retry_after_s=APPROVAL_RETRY_S)
    if not order.not_before <= at <= order.not_after:
        window = f"{order.not_before.isoformat()} to {order.not_after.isoformat()}"
        raise Refused(FORBIDDEN, "ca.8.window", f"order {order.id} issues from {window}")


def demand_order(order: Order, candidate: Candidate, use: OrderUse, at: datetime) -> None:
    """
    8. Pass an order with room for the unit.

    Refused: ca.8.order-closed, .window, .chip-model, .unit-range, .scrapped, .quota. Pending: ca.8.unapproved.
    """
    demand_open_order(order, at)
    if candidate.attested.chip.model not in order.chip_models:
        model = candidate.attested.chip.model
        raise Refused(FORBIDDEN, "ca.8.chip-model", f"order {order.id} is not for chips of model {model}")
    demand_unit_of_order(order, candidate.unit_serial)
    if use.scrapped:
        reason = f"unit {candidate.unit_serial} was scrapped"
        raise Refused(FORBIDDEN, "ca.8.scrapped", reason, hint="propose its rework: birthmark ca unit rework")
    if not use.holds_unit and use.units >= order.quantity:
        raise Refused(FORBIDDEN, "ca.8.quota", f"all {order.quantity} units of order {order.id} are taken")


def demand_profile(name: str, terms: Mapping[str, Terms]) -> Terms:
    """9. Return the terms of the profile. Refused: ca.9.profile."""
    if name not in terms:
        raise Refused(FORBIDDEN, "ca.9.profile", f"this CA has no profile {name}", hint="add it to ca.toml")
    return terms[name]


def demand_eligible(candidate: Candidate, profile: str, endorsements: Endorsements, at: datetime) -> None:
    """
    4., 9. Pass a chip and a key to which the appraisal policy lets this profile be issued today.

    Refused: evidence.certification.*, evidence.algorithm.*.
    """
    for found in ineligible(candidate.attested, profile, endorsements, at):
        raise Refused(FORBIDDEN, found.id, found.detail, hint="see the profile in endorsements.toml")


def demand_certificate(intent: Issuance, terms: Mapping[str, Terms], issuer: x509.Certificate) -> LintedCertificate:
    """
    9. Return the intended certificate, ready to be signed: its key's algorithm is issued today, and its size fits.

    The same intent always gives the same bytes. Refused: ca.9.profile, ca.9.algorithm.
    """
    allowed = demand_profile(intent.profile, terms)
    profile = DeviceProfile(
        name=intent.profile,
        organization=intent.organization,
        product=intent.product,
        algorithms=allowed.algorithms,
        validity_days=intent.validity_days,
        kind=KINDS[intent.kind],
    )
    chip = HardwareModule(x509.ObjectIdentifier(intent.hw_type), intent.chip.serial)
    identity = DeviceIdentity(
        spki=intent.spki, unit_serial=intent.unit_serial, chip=chip, bundle=intent.evidence, result=intent.result
    )
    try:
        return lint(prepare(profile, identity, issuer, intent.intended_at, int(intent.serial, 16)))
    except (ProfileRefused, DecodeError) as error:
        finding = "ca.9.algorithm" if error.finding == "pki.profile.algorithm" else "ca.9.profile"
        raise Refused(FORBIDDEN, finding, error.message, hint=error.hint) from error


def same_request(candidate: Candidate, near: tuple[Issuance, ...], at: datetime) -> Issuance | None:
    """Return the living issuance for the same chip, key, unit and order. There is at most one that is not ending."""
    wanted = (candidate.chip, candidate.request.spki, candidate.unit_serial, candidate.order_id)
    for other in reversed(near):
        if (other.chip, other.spki, other.unit_serial, other.order) == wanted and other.alive(at):
            return other
    return None
