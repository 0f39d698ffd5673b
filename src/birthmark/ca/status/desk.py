# SPDX-License-Identifier: Apache-2.0
"""
What the ledger says about revocation, signed: lists, OCSP responses and the feed (`ca.status_http.StatusDesk`).

A list or a response is kept in the ledger and handed out by every worker until it would say something else or has
reached its refresh; then whoever notices first signs it anew. A list therefore says who was revoked a second ago at the
latest, and its number grows over all workers. OCSP responses are made beforehand by a chore (`presign`); one that a
revocation has overtaken since is made when it is asked for.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509

from birthmark.ca.demands import FORBIDDEN, UNKNOWN, Client
from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuing.signers import DEFAULT_ISSUER
from birthmark.ca.people.roles import demand_role
from birthmark.ca.ports import CAStore, LedgerReader
from birthmark.ca.status.publishing import (
    Kept,
    Published,
    Signed,
    SigningBudget,
    digest_of_lines,
    digest_of_standing,
    listed,
    next_number,
    refresh_at,
    standing,
)
from birthmark.core.clock import Clock
from birthmark.core.errors import StoreError
from birthmark.core.issuance import Ending, Issuance, Revocation
from birthmark.core.revocation import PAGE_MAX_CHANGES, RevocationChange, RevocationPage, SignedStatus
from birthmark.core.roles import Role
from birthmark.net.asgi import Peer
from birthmark.pki.authorities import Authority
from birthmark.pki.crl import Edition, Partition, RevokedCertificate, build_crl
from birthmark.pki.errors import PKIError
from birthmark.pki.ocsp import CertID, ErrorStatus, Responder, SingleStatus, build_response
from birthmark.pki.paths import TrustAnchors

FULL: Final = "crl"
"""The name of the first issuer's full list in the ledger; another's is `crl:<its key identifier>`."""
OCSP: Final = "ocsp:"
LOOK_AGAIN: Final = timedelta(seconds=1)
"""For so long a list is handed out without a look at the ledger."""
FOLLOWERS: Final = frozenset({Role.FOLLOWER, Role.AUDITOR, Role.SECURITY_OFFICER})
FOLLOWER_MEMORY: Final = timedelta(seconds=60)
FOLLOWERS_MAX: Final = 256
PRESIGN_MAX: Final = 200
"""Responses that one turn of the chore makes of each kind: new, changed, ageing."""
FORGET_AFTER: Final = timedelta(days=1)
SIGNER_RETRY_S: Final = 5
STORE_RETRY_S: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusTerms:
    """What is published: into how many parts lists are divided (0: none), and how long what is signed lives."""

    partitions: int
    list_life: timedelta
    response_life: timedelta
    budget: SigningBudget


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusIssuer:
    """
    One issuing CA that says what is revoked: a list of its own, and OCSP where it has a responder.

    `marks` is what the ledger says of its certificates (`Signers.issued_by`); `list_name` is the name of its full list
    in the ledger, `list_base` how the parts of it are named.
    """

    authority: Authority
    marks: frozenset[str]
    list_name: str = FULL
    list_base: str = ""
    responder: Responder | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A list as it was found right, with the ledger as it stood then."""

    signed: Signed
    head: int
    at: datetime


class SigningDesk:
    """Answers of one worker, for all issuing CAs. Calls may come from several threads."""

    def __init__(
        self,
        store: CAStore,
        issuers: Mapping[str, StatusIssuer],
        terms: StatusTerms,
        trust: TrustAnchors,
        clock: Clock,
    ) -> None:
        self._store = store
        self._issuers = dict(issuers)
        self._terms = terms
        self._trust = trust
        self._clock = clock
        self._budget = terms.budget
        self._looked: dict[str, _Looked] = {}
        self._followers: dict[tuple[bytes, ...], tuple[datetime, x509.Certificate]] = {}
        self._seen = _Seen(clock())
        # One list at a time is signed here, and one response's budget spent.
        self._signing = threading.Lock()

    # --- lists ---

    def full_list(self, issuer: str = DEFAULT_ISSUER) -> Signed:
        """Return the list of everything of this issuer that is revoked. Raises Refused (ca.issuer.unknown), NotNow."""
        named = self._issuer(issuer)
        return self._list(named, named.list_name, None)

    def partition_list(self, count: int, index: int, issuer: str = DEFAULT_ISSUER) -> Signed | None:
        """Return the list of one partition; None for a count that is not ours. Raises as `full_list`."""
        named = self._issuer(issuer)
        if count != self._terms.partitions or index >= count:
            return None
        partition = Partition(named.list_base, count, index)
        return self._list(named, partition.uri, partition)

    def kept_list(self, issuer: str, part: tuple[int, int] | None) -> Kept | None:
        """Return a list as it was found right last, without waiting for anything. Raises Refused as `full_list`."""
        named = self._issuer(issuer)
        name = named.list_name if part is None else Partition(named.list_base, *part).uri
        known, at = self._looked.get(name), self._clock()
        if known is None or at >= known.signed.next_update:
            return None
        return Kept(known.signed, known.at <= at < known.at + LOOK_AGAIN)

    def _issuer(self, name: str) -> StatusIssuer:
        found = self._issuers.get(name)
        if found is None:
            raise Refused(UNKNOWN, "ca.issuer.unknown", "this CA has no issuer of that name")
        return found

    def _list(self, issuer: StatusIssuer, name: str, partition: Partition | None) -> Signed:
        with self._signing, _store_answers():
            at = self._clock()
            known = self._looked.get(name)
            if known is not None and known.at <= at < known.at + LOOK_AGAIN and at < known.signed.next_update:
                return known.signed
            with self._store.reading() as ledger:
                kept, head = ledger.signed_status(name), ledger.feed_head()
                if kept is not None and known is not None and _same(ledger, kept, known, head, at):
                    found = _signed(kept)
                else:
                    found = None
                    revocations = ledger.revocations(at, None if kept is None else kept.this_update)
                    position = ledger.feed_position(at)
            if found is None:
                ours = (each for each in revocations if each.issuer in issuer.marks)
                lines = tuple(
                    line
                    for line in listed(ours, None if kept is None else kept.this_update)
                    if partition is None or partition.covers(line.serial)
                )
                found = self._renewed(name, kept, lines, _Place(issuer.authority, partition, position, at))
            self._looked[name] = _Looked(found, head, at)
            return found

    def _renewed(
        self, name: str, kept: SignedStatus | None, lines: tuple[RevokedCertificate, ...], place: "_Place"
    ) -> Signed:
        digest = digest_of_lines(lines)
        if kept is not None and kept.digest == digest and place.at < kept.refresh_at:
            return _signed(kept)
        this_update = place.at.replace(microsecond=0)
        earlier = None if kept is None else Published(kept.digest, kept.number, kept.this_update, kept.next_update)
        edition = Edition(next_number(place.at, earlier), place.partition, place.position)
        life_s = int(self._terms.list_life.total_seconds())
        authority = place.authority
        with _signer_answers():
            der = build_crl(lines, authority.key, authority.certificate, this_update, life_s, edition)
        status = _status(name, digest, edition.number, this_update, self._terms.list_life, der)
        with self._store.writing() as ledger:
            ledger.put_signed_status([(name, status)])
            return _signed(ledger.signed_status(name) or status)

    # --- OCSP ---

    def ocsp(self, asked: tuple[CertID, ...]) -> Signed | ErrorStatus:
        """
        Return a response for all certificates asked about.

        Raises:
            Refused: ca.ocsp.none, no issuer has a responder. NotNow.

        """
        responders = [(each.responder, each.marks) for each in self._issuers.values() if each.responder is not None]
        if not responders:
            raise Refused(UNKNOWN, "ca.ocsp.none", "this authority has no OCSP responder", hint="read its lists")
        # One response is one responder's: a request about certificates of two issuers is no one's.
        voice = next((_Voice(*each) for each in responders if all(map(each[0].speaks_of, asked))), None)
        if voice is None:
            return ErrorStatus.UNAUTHORIZED
        at = self._clock()
        with _store_answers():
            if len(asked) == 1:
                found = self._response(voice, f"{asked[0].serial:x}", at)
                if found is not None:
                    return found
            return self._on_demand(voice, [each.serial for each in asked], at)

    def _response(self, voice: "_Voice", serial: str, at: datetime) -> Signed | None:
        """Return the response about a certificate of ours; None when there is none of that serial."""
        with self._store.reading() as ledger:
            issuance, kept = ledger.issuance(serial), ledger.signed_status(OCSP + serial)
        if issuance is None or issuance.certificate is None or issuance.issuer not in voice.marks:
            return None
        status = _standing(issuance, at)
        same = kept is not None and kept.digest == digest_of_standing(status) and at < kept.next_update
        if kept is not None and same and at < kept.refresh_at:
            return _signed(kept)
        try:
            made = self._made(voice.responder, serial, status, at)
        except NotNow:
            if kept is not None and same:
                return _signed(kept)
            raise
        with self._store.writing() as ledger:
            ledger.put_signed_status([(OCSP + serial, made)])
        return _signed(made)

    def _made(self, responder: Responder, serial: str, status: SingleStatus, at: datetime) -> SignedStatus:
        this_update = at.replace(microsecond=0)
        life = self._terms.response_life
        with _signer_answers():
            der = build_response([status], responder, this_update, this_update + life)
        number = next_number(at, None)
        return _status(OCSP + serial, digest_of_standing(status), number, this_update, life, der)

    def _on_demand(self, voice: "_Voice", serials: Sequence[int], at: datetime) -> Signed | ErrorStatus:
        with self._signing:
            left = self._budget.spend(at)
            if left is None:
                return ErrorStatus.TRY_LATER
            self._budget = left
        with self._store.reading() as ledger:
            statuses = [_status_of(ledger, serial, voice.marks, at) for serial in serials]
        this_update = at.replace(microsecond=0)
        ends = this_update + self._terms.response_life
        with _signer_answers():
            return Signed(build_response(statuses, voice.responder, this_update, ends), this_update, ends)

    def presign(self) -> int:
        """
        Make responses before they are asked for: of new certificates, of those that ended, of those that age.

        Return how many were made. What one issuer's key cannot sign now is made when it is asked for.

        Raises:
            NotNow: there is such a key; the others' responses were made. StoreError.

        """
        responders = {mark: each.responder for each in self._issuers.values() for mark in each.marks}
        if not any(responders.values()):
            return 0
        at = self._clock()
        with self._store.reading() as ledger:
            issuances = self._seen.read(ledger, at)
        made: list[tuple[str, SignedStatus]] = []
        away: dict[str, NotNow] = {}
        for issuance in issuances:
            responder, serial = responders.get(issuance.issuer), issuance.serial
            if (
                responder is None
                or issuance.issuer in away
                or issuance.certificate is None
                or at >= issuance.expires_at
            ):
                continue
            try:
                made.append((OCSP + serial, self._made(responder, serial, _standing(issuance, at), at)))
            except NotNow as error:
                away[issuance.issuer] = error
        with self._store.writing() as ledger:
            ledger.put_signed_status(made)
            ledger.forget_signed_status(at - FORGET_AFTER)
        for missing in away.values():
            raise missing
        return len(made)

    # --- the feed ---

    def changes(self, client: Peer, after: int) -> RevocationPage:
        """Return the changes after a number. Raises Refused (ca.feed.client), NotNow."""
        with _store_answers():
            self._demand_follower(client)
            with self._store.reading() as ledger:
                head, endings = ledger.feed_head(), ledger.endings(after - 1, PAGE_MAX_CHANGES)
        changes = tuple(
            RevocationChange(number=number + 1, serial=end.serial, ending=end.ending.value, at=end.dies_at)
            for number, end in endings
        )
        return RevocationPage(after=after, head=head, changes=changes)

    def _demand_follower(self, client: Peer) -> None:
        at = self._clock()
        known = self._followers.get(client.chain)
        if known is not None and known[0] <= at < known[0] + FOLLOWER_MEMORY and self._is_welcome(known[1]):
            return
        try:
            follower = demand_role(_client(client), FOLLOWERS, self._trust, at).certificate
        except Refused as refusal:
            raise Refused(FORBIDDEN, "ca.feed.client", refusal.message, hint=refusal.hint) from refusal
        if len(self._followers) >= FOLLOWERS_MAX:
            self._followers.clear()
        self._followers[client.chain] = at, follower

    def _is_welcome(self, follower: x509.Certificate) -> bool:
        return self._trust.why_denied(follower) is None


@dataclass(frozen=True, slots=True)
class _Voice:
    """Who answers, and what the ledger says of the certificates that it may speak of."""

    responder: Responder
    marks: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Place:
    """Whose list it is, and where and when it stands."""

    authority: Authority
    partition: Partition | None
    position: int
    at: datetime


class _Seen:
    """How far the chore has read: issuances, decisions, deaths that came with time."""

    def __init__(self, at: datetime) -> None:
        self._issued = 0
        self._ended = -1
        self._at = at

    def read(self, ledger: LedgerReader, at: datetime) -> list[Issuance]:
        """Return what is to be signed now, each certificate once."""
        fresh = ledger.issuances_after(self._issued, PRESIGN_MAX)
        endings = ledger.endings(self._ended, PRESIGN_MAX)
        serials = [end.serial for _, end in endings]
        serials += ledger.deaths(self._at, at, PRESIGN_MAX)
        serials += (name.removeprefix(OCSP) for name in ledger.ageing_status(OCSP, at, PRESIGN_MAX))
        found = {issuance.serial: issuance for _, issuance in fresh}
        for serial in serials:
            issuance = None if serial in found else ledger.issuance(serial)
            if issuance is not None:
                found[serial] = issuance
        self._issued = fresh[-1][0] if fresh else self._issued
        self._ended = endings[-1][0] if endings else self._ended
        self._at = at
        return list(found.values())


def _same(ledger: LedgerReader, kept: SignedStatus, known: _Looked, head: int, at: datetime) -> bool:
    """Say whether a kept list says all that there is to say: nothing was decided since, and nothing died of time."""
    unchanged = kept.body == known.signed.body and head == known.head and not ledger.deaths(known.at, at, 1)
    return unchanged and at < kept.refresh_at


def _standing(issuance: Issuance, at: datetime) -> SingleStatus:
    revocation = None
    if issuance.dies_at is not None and not issuance.open(at):
        ending = issuance.ending or Ending.REVOKED
        revocation = Revocation(issuance.serial, min(issuance.dies_at, at), ending, issuance.expires_at)
    return standing(int(issuance.serial, 16), revocation, issued=True)


def _status_of(ledger: LedgerReader, serial: int, own: frozenset[str], at: datetime) -> SingleStatus:
    issuance = ledger.issuance(f"{serial:x}")
    if issuance is None or issuance.certificate is None or issuance.issuer not in own:
        return standing(serial, None, issued=False)
    return _standing(issuance, at)


def _status(name: str, digest: bytes, number: int, this_update: datetime, life: timedelta, der: bytes) -> SignedStatus:
    ends = this_update + life
    refresh = refresh_at(name, Published(digest, number, this_update, ends))
    return SignedStatus(digest, number, this_update, ends, refresh, der)


def _signed(status: SignedStatus) -> Signed:
    return Signed(status.body, status.this_update, status.next_update)


def _client(peer: Peer) -> Client | None:
    if peer.leaf is None:
        return None
    read: Callable[[bytes], x509.Certificate] = x509.load_der_x509_certificate
    try:
        return Client(read(peer.leaf), tuple(map(read, peer.chain[1:])))
    except ValueError as error:
        raise Refused(FORBIDDEN, "ca.feed.client", "the TLS client's certificate cannot be read") from error


@contextmanager
def _store_answers() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise NotNow("ca.store", "the ledger cannot be written or read now", retry_after_s=STORE_RETRY_S) from error


@contextmanager
def _signer_answers() -> Iterator[None]:
    try:
        yield
    except PKIError as error:
        raise NotNow("ca.signer", "the key cannot sign at the moment", retry_after_s=SIGNER_RETRY_S) from error
