# SPDX-License-Identifier: Apache-2.0
"""
How far a new root has come, and the act of two persons that retires the old one (`ca.retirement` decides).

A device names its own anchors over its own mutual TLS; what it names counts as long as it uses the certificate with
which it said so. A root that is retired is handed out no more, nor what bridges it (`without_roots`): by every worker
within `ca.notices.NOTICED_WITHIN_S`. Devices under it are still heard: the few that slept through must be able to
recover.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from birthmark.ca.demands import CONFLICT, MALFORMED, UNKNOWN, Client, demand_device
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.life.retirement import (
    THRESHOLD_MAX_PERMILLE,
    THRESHOLD_MIN_PERMILLE,
    Coverage,
    DeviceAnchors,
    RetirementTerms,
    coverage,
    demand_retirement,
)
from birthmark.ca.notices import Notices
from birthmark.ca.people.approvals import APPROVERS, SECURITY_OFFICERS, Act, Asked
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.ca.refusals import RefusalShares
from birthmark.ca.trail import Trail
from birthmark.core.anchors import AnchorsContact, Digest, UnitAnchors, decode_anchors
from birthmark.core.audit import AuditRow
from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError, StoreError
from birthmark.core.ledger_rows import retired_root_row, said
from birthmark.pki.algorithms import verifying_key
from birthmark.pki.errors import PKIError
from birthmark.pki.extensions import key_identifier
from birthmark.pki.paths import TrustAnchors, issued_by

RETIRE: Final = "root.retire"
PAGE: Final = 1_000
"""Units that are read at a time."""
STORE_RETRY_S: Final = 2


class RootRetireTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The terms of `root.retire`: in favour of which root, and how much of the fleet (thousandths) must hold it."""

    successor: Digest
    threshold_permille: Annotated[int, msgspec.Meta(ge=THRESHOLD_MIN_PERMILLE, le=THRESHOLD_MAX_PERMILLE)]


@dataclass(frozen=True, slots=True)
class Lineage:
    """
    Which root an issuing CA hangs under.

    `issuing` are those that some profile names: a CA that only lists what it once issued may hang under an old root.
    `known` are all CAs, first the authority's first issuer.
    """

    issuing: tuple[x509.Certificate, ...]
    known: tuple[x509.Certificate, ...]
    roots: Mapping[str, x509.Certificate] = field(init=False)
    _root_of: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Find each one's root once."""
        every = tuple(dict.fromkeys((*self.issuing, *self.known)))
        roots = {digest_of(each): each for each in every if issued_by(each, each)}
        found: dict[str, str] = {}
        for each in every:
            name = _issuer_id(each)
            if name:
                found[name] = found.get(name) or _root_above(each, every, roots)
        found[""] = found.get(_issuer_id(self.known[0]), "")
        object.__setattr__(self, "roots", roots)
        object.__setattr__(self, "_root_of", found)

    def root_of(self, issuer_id: str) -> str:
        """Return the root above the issuer with this key identifier (`Signers.ids`); "" when we do not know it."""
        return self._root_of.get(issuer_id, "")

    def root(self, sha256: str) -> x509.Certificate:
        """Return a root. Refused: ca.root.unknown."""
        found = self.roots.get(sha256)
        if found is None:
            hint = ", ".join(sorted(self.roots))
            raise Refused(UNKNOWN, "ca.root.unknown", f"no root here has the SHA-256 {sha256[:64]}", hint=hint)
        return found


class AnchorDesk:
    """Takes what devices say of their anchors. Calls may come from several threads."""

    def __init__(self, store: CAStore, trust: TrustAnchors, clock: Clock) -> None:
        self._store = store
        self._trust = trust
        self._clock = clock
        self._shares = RefusalShares()

    def take(self, client: Client | None, body: bytes) -> None:
        """
        Keep what the device behind the TLS client names in place of what it named before.

        Raises:
            Refused: ca.1.refusals; in the log: ca.1.device, ca.re.revoked, ca.re.unconfirmed, ca.anchors.malformed.
            NotNow: the ledger.

        """
        trail = Trail.of("anchors", self._clock(), client)
        self._shares.demand(trail.fingerprint, trail.at)
        with _store_answers():
            try:
                contact = self._contact(client, body, trail)
            except Refused as refusal:
                if client is not None:
                    with self._store.writing() as ledger:
                        ledger.append([trail.row(finding=refusal.finding, detail=refusal.message)])
                    self._shares.spend(trail.fingerprint, trail.at)
                raise
            with self._store.writing() as ledger:
                ledger.put_anchors([contact])

    def _contact(self, client: Client | None, body: bytes, trail: Trail) -> AnchorsContact:
        current = None
        if client is not None:
            with self._store.reading() as ledger:
                current = ledger.issuance_of(client.fingerprint)
        caller, used = demand_device(client, current, self._trust, trail.at)
        trail.met_by(caller)
        trail.about(used.unit_serial, used.chip)
        try:
            anchors = decode_anchors(body)
        except DecodeError as error:
            raise Refused(MALFORMED, "ca.anchors.malformed", error.message) from error
        return AnchorsContact(unit_serial=used.unit_serial, certificate=used.serial, anchors=anchors, at=trail.at)


@dataclass(frozen=True, slots=True)
class RootActs:
    """The row of the table of acts."""

    lineage: Lineage

    def acts(self) -> tuple[Act, ...]:
        """Return the act."""
        return (Act(RETIRE, RootRetireTerms, "", SECURITY_OFFICERS, APPROVERS, self.ask, self.execute),)

    def ask(self, ledger: Ledger, asked: Asked) -> None:
        """Demand that the root may go. Refused: ca.root.*."""
        self._demanded(ledger, asked)

    def execute(self, ledger: Ledger, asked: Asked) -> Sequence[AuditRow]:
        """Retire the root, by what the fleet shows now. Refused: ca.root.*."""
        reached, terms = self._demanded(ledger, asked), asked.terms
        ledger.retire_root(asked.subject, terms.successor, asked.at)
        row = asked.row(f"root {asked.subject} is retired in favour of {terms.successor}: {reached.text}")
        retired = retired_root_row(asked.subject, terms.successor, asked.at)
        return [msgspec.structs.replace(row, state=said("retired_root", retired))]

    def _demanded(self, ledger: Ledger, asked: Asked) -> Coverage:
        terms: RootRetireTerms = asked.terms
        old, new = self.lineage.root(asked.subject), self.lineage.root(terms.successor)
        if asked.subject in ledger.retired_roots():
            raise Refused(CONFLICT, "ca.root.retired", "the root is retired already")
        reached = coverage(devices(ledger, self.lineage, asked.at), asked.subject, terms.successor)
        for issuing in self.lineage.issuing:
            demand_retirement(old, new, issuing, reached, RetirementTerms(terms.threshold_permille), asked.at)
        return reached


@dataclass(frozen=True, slots=True)
class RootOffice:
    """What the administrator asks about roots."""

    store: CAStore
    lineage: Lineage
    clock: Clock

    def coverage(self, old: str, new: str) -> Coverage:
        """Return how far the new root has come. Raises Refused (ca.root.unknown), StoreError."""
        for each in (old, new):
            self.lineage.root(each)
        with self.store.reading() as ledger:
            return coverage(devices(ledger, self.lineage, self.clock()), old, new)


def devices(ledger: LedgerReader, lineage: Lineage, at: datetime) -> Iterator[DeviceAnchors]:
    """Yield each unit that is not retired and has a certificate that counts. Raises StoreError."""
    after = ""
    while page := ledger.anchors_of_units(after, at, PAGE):
        yield from (_device(each, lineage) for each in page if each.certificate)
        after = page[-1].unit_serial


def without_roots(served: Sequence[x509.Certificate], roots: Collection[str]) -> tuple[x509.Certificate, ...]:
    """Return what is still handed out when these roots (SHA-256) are retired: neither they nor what bridges them."""
    gone = [each for each in served if digest_of(each) in roots]
    return tuple(
        each
        for each in served
        if not any(each.public_key() == root.public_key() or issued_by(each, root) for root in gone)
    )


def handed_out(
    served: tuple[x509.Certificate, ...], notices: Callable[[], Notices]
) -> Callable[[], tuple[x509.Certificate, ...]]:
    """Return what tells, each time, which of these certificates are handed out by the notices of that moment."""
    left = functools.lru_cache(1)(functools.partial(without_roots, served))
    return lambda: left(notices().retired_roots)


def digest_of(certificate: x509.Certificate) -> str:
    """Return the name of a root: its SHA-256, in lower-case hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _device(unit: UnitAnchors, lineage: Lineage) -> DeviceAnchors:
    # What was said with another certificate shows nothing: after a repair, another chip says it.
    said = unit.contact if unit.contact is not None and unit.contact.certificate == unit.certificate else None
    return DeviceAnchors(
        unit_serial=unit.unit_serial,
        certificate_root=lineage.root_of(unit.issuer),
        anchors=frozenset() if said is None else said.anchors,
        last_contact=None if said is None else said.at,
    )


def _root_above(
    certificate: x509.Certificate, every: Sequence[x509.Certificate], roots: Mapping[str, x509.Certificate]
) -> str:
    """Return the root that the certificate hangs under, over whatever CAs lie between; "" for none of ours."""
    seen, waiting = [certificate], [certificate]
    while waiting:
        current = waiting.pop()
        for name, root in roots.items():
            if issued_by(current, root):
                return name
        above = [each for each in every if each not in seen and issued_by(current, each)]
        seen += above
        waiting += above
    return ""


def _issuer_id(certificate: x509.Certificate) -> str:
    try:
        return key_identifier(verifying_key(certificate.public_key())).hex()
    except PKIError:
        return ""


@contextmanager
def _store_answers() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise NotNow("ca.store", "the ledger cannot be written or read now", retry_after_s=STORE_RETRY_S) from error
