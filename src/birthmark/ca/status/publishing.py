# SPDX-License-Identifier: Apache-2.0
"""
What the authority publishes about its certificates, and when it signs which of it anew.

Everything here is decided from what is given: the ledger's revocations, what was published last, and the time. A list
or a response is signed again when what it says has changed, and otherwise some time before it ends, so that its readers
never meet one that has run out. Those moments are spread, so that ten thousand that were signed together are not due
together again.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from cryptography import x509

from birthmark.core.issuance import Ending, Revocation
from birthmark.pki.crl import Partition, RevokedCertificate, number_at
from birthmark.pki.ocsp import CertStatus, SingleStatus

REASONS: Final[Mapping[Ending, x509.ReasonFlags]] = MappingProxyType(
    {
        Ending.UNCONFIRMED: x509.ReasonFlags.cessation_of_operation,
        Ending.SUPERSEDED: x509.ReasonFlags.superseded,
        Ending.ROTATED: x509.ReasonFlags.superseded,
        Ending.HELD: x509.ReasonFlags.certificate_hold,
    }
)
"""What relying parties are told; for all other endings no reason (RFC 5280 §5.3.1)."""
REFRESH_FROM: Final = 0.5
REFRESH_TO: Final = 0.75
"""The parts of its life between which an unchanged list or response is signed again."""
_SPREAD_BYTES: Final = 8


# --- what is said ----------------------------------------------------------------------------------------------


def listed(revocations: Iterable[Revocation], earlier: datetime | None) -> tuple[RevokedCertificate, ...]:
    """
    Return the lines of a list that follows one made at `earlier`; None when there was none.

    An expired certificate is left out once it stood on a list that was made after its end (RFC 5280 §3.3).
    """
    return tuple(
        RevokedCertificate(int(each.serial, 16), each.at, REASONS.get(each.ending, x509.ReasonFlags.unspecified))
        for each in revocations
        if earlier is None or each.expires_at >= earlier or each.at > earlier
    )


def partitioned(
    lines: Iterable[RevokedCertificate], base: str, count: int
) -> dict[Partition, list[RevokedCertificate]]:
    """Return the lines of every partition, also of those without any."""
    found: dict[Partition, list[RevokedCertificate]] = {Partition(base, count, index): [] for index in range(count)}
    by_index = list(found.values())
    for line in lines:
        by_index[line.serial % count].append(line)
    return found


def standing(serial: int, revocation: Revocation | None, *, issued: bool) -> SingleStatus:
    """Return what a responder says of a serial: `unknown` when no certificate of ours has it (RFC 6960 §2.2)."""
    if not issued:
        return SingleStatus(serial, CertStatus.UNKNOWN)
    if revocation is None:
        return SingleStatus(serial, CertStatus.GOOD)
    reason = REASONS.get(revocation.ending, x509.ReasonFlags.unspecified)
    return SingleStatus(serial, CertStatus.REVOKED, revocation.at.replace(microsecond=0), reason)


def digest_of_lines(lines: Iterable[RevokedCertificate]) -> bytes:
    """Return a digest that is the same when, and only when, a list of these lines would say the same."""
    digest = hashlib.sha256()
    for line in sorted(lines, key=lambda line: line.serial):
        digest.update(f"{line.serial:x} {int(line.revoked_at.timestamp())} {line.reason.value}\n".encode())
    return digest.digest()


def digest_of_standing(status: SingleStatus) -> bytes:
    """Return a digest that is the same when, and only when, a response about this would say the same."""
    return hashlib.sha256(f"{status.status.value} {status.revoked_at} {status.reason.value}".encode()).digest()


# --- when it is signed -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Published:
    """What was signed last under a key (a list's path, a certificate's serial): its digest, its number, its times."""

    digest: bytes
    number: int
    this_update: datetime
    next_update: datetime


class Why(IntEnum):
    """Why something is signed now; the most urgent first."""

    CHANGED = 0
    MISSING = 1
    AGEING = 2


@dataclass(frozen=True, slots=True, order=True)
class Due:
    """Something to sign now: `since` is when it became due."""

    why: Why
    since: datetime
    key: str


def due(
    wanted: Iterable[tuple[str, bytes]],
    published: Mapping[str, Published],
    at: datetime,
    limit: int,
    settle: timedelta = timedelta(0),
) -> tuple[Due, ...]:
    """
    Return what to sign now, at most `limit`, the most urgent first: what changed, what is missing, what ages.

    Args:
        wanted: every key with the digest of what should be published under it.
        published: what is published.
        at: now.
        limit: how much one batch may sign.
        settle: how old something has to be before a change makes it be signed again.

    """
    found = (_due(key, digest, published.get(key), at, settle) for key, digest in wanted)
    return tuple(heapq.nsmallest(limit, (each for each in found if each is not None)))


def obsolete(wanted: Iterable[str], published: Mapping[str, Published]) -> frozenset[str]:
    """Return the keys under which nothing is published any longer: partitions of an earlier count, the expired."""
    return frozenset(published) - frozenset(wanted)


def refresh_at(key: str, published: Published) -> datetime:
    """Return when an unchanged list or response is signed again: between half and three quarters of its life."""
    hashed = hashlib.sha256(key.encode()).digest()[:_SPREAD_BYTES]
    share = int.from_bytes(hashed, "big") / (1 << 8 * _SPREAD_BYTES)
    life = published.next_update - published.this_update
    return published.this_update + life * (REFRESH_FROM + share * (REFRESH_TO - REFRESH_FROM))


def next_due(published: Mapping[str, Published]) -> datetime | None:
    """Return when the first of these is due although nothing changes; None when there is nothing."""
    return min((refresh_at(key, each) for key, each in published.items()), default=None)


def next_number(at: datetime, earlier: Published | None) -> int:
    """Return the number of a list made at this time: it grows even when the clock does not."""
    return max(number_at(at), 0 if earlier is None else earlier.number + 1)


def _due(key: str, digest: bytes, published: Published | None, at: datetime, settle: timedelta) -> Due | None:
    if published is None:
        return Due(Why.MISSING, at, key)
    if published.digest != digest and published.this_update + settle <= at:
        return Due(Why.CHANGED, published.this_update, key)
    refresh = refresh_at(key, published)
    return Due(Why.AGEING, refresh, key) if refresh <= at else None


# --- what is signed because somebody asks ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SigningBudget:
    """
    How many signatures strangers may cause: what cannot be made before it is asked for.

    Those are `unknown` for a serial that was never issued, and one response for several certificates. At most `burst`
    at once, and `per_s` each second from then on.
    """

    per_s: float
    burst: int
    left: float
    at: datetime

    @classmethod
    def full(cls, per_s: float, burst: int, at: datetime) -> "SigningBudget":
        """Return a budget of which nothing is spent."""
        return cls(per_s, burst, float(burst), at)

    def spend(self, at: datetime) -> "SigningBudget | None":
        """Return the budget after one signature at this time; None when there is none left."""
        passed_s = max(0.0, (at - self.at).total_seconds())
        left = min(float(self.burst), self.left + passed_s * self.per_s) - 1
        return None if left < 0 else replace(self, left=left, at=max(at, self.at))


# --- what is handed out ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signed:
    """A list or a response (DER), and its times."""

    body: bytes
    this_update: datetime
    next_update: datetime
    tag: str = field(init=False)
    """The strong entity tag of the body."""

    def __post_init__(self) -> None:
        """Compute the tag once: the same list is handed out many times."""
        object.__setattr__(self, "tag", entity_tag(self.body))


@dataclass(frozen=True, slots=True)
class Kept:
    """A list that was found right a while ago; `fresh` when that was within the last second."""

    signed: Signed
    fresh: bool


def cache_headers(signed: Signed, at: datetime, max_age_s: int) -> dict[str, str]:
    """
    Return the HTTP headers with which caches may keep this (RFC 9919 §5, §6.2), never beyond its end.

    `max_age_s` bounds how late a cache's clients learn of a change.
    """
    left_s = max(0, int((signed.next_update - at).total_seconds()))
    return {
        "Cache-Control": f"max-age={min(max_age_s, left_s)}, public, no-transform, must-revalidate",
        "ETag": signed.tag,
        "Expires": format_datetime(signed.next_update, usegmt=True),
        "Last-Modified": format_datetime(signed.this_update, usegmt=True),
    }


def entity_tag(body: bytes) -> str:
    """Return the strong tag of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


def matches(tags: str, signed: Signed) -> bool:
    """Say whether an If-None-Match header holds the tag of this, or any (RFC 9110 §13.1.2)."""
    found: Sequence[str] = [each.strip().removeprefix("W/") for each in tags.split(",")]
    return "*" in found or signed.tag in found
