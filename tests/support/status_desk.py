# SPDX-License-Identifier: Apache-2.0
"""A status desk in memory: real signatures, decided by the pure functions of `birthmark.ca.status.publishing`."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.status.publishing import (
    Kept,
    Published,
    Signed,
    SigningBudget,
    digest_of_lines,
    listed,
    next_number,
    partitioned,
    standing,
)
from birthmark.core.clock import Clock
from birthmark.core.issuance import Ending, Revocation
from birthmark.core.revocation import PAGE_MAX_CHANGES, RevocationChange, RevocationPage
from birthmark.net.asgi import Peer
from birthmark.pki.authorities import Authority
from birthmark.pki.crl import Edition, Partition, RevokedCertificate, build_crl
from birthmark.pki.ocsp import CertID, ErrorStatus, Responder, build_response
from support.ocsp_parts import responder_of

LIFE = timedelta(hours=1)


@dataclass
class MemoryDesk:
    """The authority's answers, for the serials that it has issued."""

    issuing: Authority
    clock: Clock
    count: int = 4
    base: str = "http://crl.acme.example/v1/crl"
    issued: set[int] = field(default_factory=set)
    revocations: list[Revocation] = field(default_factory=list)
    followers: frozenset[bytes] = frozenset()
    broken: bool = False
    published: dict[str, tuple[Published, Signed]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        now = self.clock()
        self.responder: Responder = responder_of(self.issuing, now)
        self.budget = SigningBudget.full(per_s=0.001, burst=3, at=now)

    def revoke(self, serial: int, at: datetime) -> None:
        self.revocations.append(Revocation(f"{serial:x}", at, Ending.REVOKED, at + timedelta(days=365)))

    def full_list(self, issuer: str = "") -> Signed:
        self._demand(issuer)
        return self._list("crl", listed(self.revocations, None), None)

    def partition_list(self, count: int, index: int, issuer: str = "") -> Signed | None:
        self._demand(issuer)
        if count != self.count or index >= count:
            return None
        lines = partitioned(listed(self.revocations, None), self.base, count)
        partition = Partition(self.base, count, index)
        return self._list(partition.uri, tuple(lines[partition]), partition)

    def kept_list(self, issuer: str, part: tuple[int, int] | None) -> Kept | None:
        """The full list as it was made last, once nothing answers any more."""
        made = self.published.get("crl") if part is None and not issuer else None
        return None if made is None else Kept(made[1], fresh=False)

    def _list(self, key: str, lines: tuple[RevokedCertificate, ...], partition: Partition | None) -> Signed:
        self._alive()
        earlier = self.published.get(key)
        digest = digest_of_lines(lines)
        if earlier is not None and earlier[0].digest == digest:
            return earlier[1]
        now = self.clock().replace(microsecond=0)
        number = next_number(now, earlier and earlier[0])
        edition = Edition(number, partition, len(self.revocations))
        der = build_crl(lines, self.issuing.key, self.issuing.certificate, now, int(LIFE.total_seconds()), edition)
        signed = Signed(der, now, now + LIFE)
        self.published[key] = Published(digest, number, now, now + LIFE), signed
        return signed

    def ocsp(self, asked: tuple[CertID, ...]) -> Signed | ErrorStatus:
        self._alive()
        if not all(map(self.responder.speaks_of, asked)):
            return ErrorStatus.UNAUTHORIZED
        now = self.clock().replace(microsecond=0)
        if len(asked) > 1 or asked[0].serial not in self.issued:
            left = self.budget.spend(now)
            if left is None:
                return ErrorStatus.TRY_LATER
            self.budget = left
        revoked = {int(each.serial, 16): each for each in self.revocations}
        serials = [each.serial for each in asked]
        statuses = [standing(each, revoked.get(each), issued=each in self.issued) for each in serials]
        return Signed(build_response(statuses, self.responder, now, now + LIFE), now, now + LIFE)

    def changes(self, client: Peer, after: int) -> RevocationPage:
        self._alive()
        if client.leaf not in self.followers:
            raise Refused(403, "ca.feed.client", "this client may not read the feed")
        rows = enumerate(self.revocations[after : after + PAGE_MAX_CHANGES], start=after + 1)
        changes = tuple(
            RevocationChange(number=number, serial=each.serial, ending=each.ending.value, at=each.at)
            for number, each in rows
        )
        return RevocationPage(after=after, head=len(self.revocations), changes=changes)

    def _demand(self, issuer: str) -> None:
        if issuer:
            raise Refused(404, "ca.issuer.unknown", "this CA has no issuer of that name")

    def _alive(self) -> None:
        if self.broken:
            raise NotNow("ca.signer", "the key cannot sign at the moment", retry_after_s=5)
