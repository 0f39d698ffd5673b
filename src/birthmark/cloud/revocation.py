# SPDX-License-Identifier: Apache-2.0
"""
What is revoked, from two sides: the CAs' lists, pulled, and their feed of changes, followed.

The feed makes a device go dark within seconds. The lists are the safety net: they alone let anybody in, for the feed
only ever adds to what they name. `pull` and `follow` run beside the requests, `current` in each of them. A list that
cannot be fetched leaves the earlier one in force until its nextUpdate; from then on, as before the first list, nobody
is let in. A feed that is away takes nothing back.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from birthmark.cloud.errors import RevocationFetch, RevocationUnknown
from birthmark.cloud.ports import FetchChanges, FetchCRL
from birthmark.cloud.verification import Revocations
from birthmark.core.clock import Clock
from birthmark.core.errors import BirthmarkError
from birthmark.core.revocation import RELEASED, RevocationChange, RevocationPage, decode_page
from birthmark.pki.crl import Partition, RevocationList, read_crl

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ListSource:
    """Where one list comes from, and which one it has to be: a partition, or the full list."""

    fetch: FetchCRL
    partition: Partition | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """A list that was accepted, whose it is, and the tag under which it was fetched."""

    issuer: x509.Certificate
    crl: RevocationList
    tag: str


class RevocationFeed:
    """One thread calls `pull`, one `follow`; any number call `current`, an attribute read and a comparison."""

    def __init__(
        self,
        sources: Sequence[ListSource],
        issuers: Sequence[x509.Certificate],
        clock: Clock,
        fetch_changes: FetchChanges | None = None,
    ) -> None:
        self._sources = tuple(sources)
        self._issuers = tuple(issuers)
        self._clock = clock
        self._fetch_changes = fetch_changes
        self._held: dict[int, _Held] = {}
        self._pushed: dict[str, RevocationChange] = {}
        self._position = 0
        self._in_force: Revocations | None = None
        self._writing = threading.Lock()

    def current(self, at: datetime) -> Revocations:
        """
        Return what is revoked at this time.

        Raises:
            RevocationUnknown: a list has not come yet, or is past its nextUpdate.

        """
        held = self._in_force
        if held is None:
            raise RevocationUnknown("not every revocation list has been fetched yet")
        if at >= held.until:
            raise RevocationUnknown(f"a revocation list ran out at {held.until:%Y-%m-%d %H:%M:%S} UTC")
        return held

    def pull(self) -> None:
        """
        Fetch each list once and put in force what is acceptable.

        Raises:
            RevocationFetch: the first that is not reachable, not signed by an issuing CA that we trust, not the list
                that was asked for, run out, or older than ours.

        """
        failures = [failure for index in range(len(self._sources)) if (failure := self._pull_one(index))]
        with self._writing:
            self._forget_listed()
            self._publish()
        if failures:
            raise failures[0]

    def follow(self, wait_s: float) -> None:
        """
        Ask for the changes after the last one that is known, for at most `wait_s` seconds, and put them in force.

        Raises:
            RevocationFetch: the feed is not reachable, its page is malformed, or it lies behind what it said before.

        """
        if self._fetch_changes is None:
            raise RevocationFetch("no revocation feed is configured")
        after = self._position
        try:
            page = decode_page(self._fetch_changes(after, wait_s), after)
        except BirthmarkError as error:
            raise RevocationFetch(f"revocation feed: {error.message}", hint=error.hint) from error
        with self._writing:
            self._take(page)

    def pull_or_log(self) -> None:
        """Fetch the lists once; a failure is one line in the log with its finding."""
        _logged(self.pull)

    def follow_or_log(self, wait_s: float) -> bool:
        """Follow the feed once; a failure is one line in the log with its finding, and False."""
        return _logged(lambda: self.follow(wait_s))

    def _pull_one(self, index: int) -> RevocationFetch | None:
        held = self._held.get(index)
        try:
            fresh = self._fetched(self._sources[index], held)
        except BirthmarkError as error:
            finding = "cloud.revocation-rollback" if error.finding == "pki.crl.rollback" else ""
            return RevocationFetch(f"revocation list: {error.message}", hint=error.hint, finding=finding)
        if fresh is not None:
            self._held[index] = fresh
        return None

    def _fetched(self, source: ListSource, held: _Held | None) -> _Held | None:
        """Return a list that may take the place of what is held; None when there is no newer one."""
        answer = source.fetch(held.tag if held else "")
        if answer is None:
            return None
        issuer = self._issuer_of(answer.body)
        crl = read_crl(answer.body, issuer, self._clock(), source.partition)
        if held is not None and held.issuer == issuer:
            crl.require_follows(held.crl)
        return _Held(issuer, crl, answer.tag)

    def _issuer_of(self, der: bytes) -> x509.Certificate:
        try:
            name = x509.load_der_x509_crl(der).issuer
        except ValueError as error:
            raise RevocationFetch(f"not a revocation list: {error}") from error
        issuer = next((ca for ca in self._issuers if ca.subject == name), None)
        if issuer is None:
            raise RevocationFetch(f"signed by {name.rfc4514_string()!r}, which device_trust does not hold")
        return issuer

    def _take(self, page: RevocationPage) -> None:
        if page.head < page.after:
            # The authority was set back. What was pushed stays dark; what it says anew is heard from the lists on.
            self._position = self._listed_position()
            raise RevocationFetch(
                f"the feed ends at {page.head}, and had reached {page.after}", finding="cloud.feed-rollback"
            )
        for change in page.changes:
            if change.ending == RELEASED:
                self._pushed.pop(change.serial, None)
            else:
                self._pushed[change.serial] = change
        self._position = page.after + len(page.changes)
        if page.changes:
            self._publish()

    def _listed_position(self) -> int:
        """Return the number up to which every list says all changes."""
        return min((held.crl.feed_position or 0 for held in self._held.values()), default=0)

    def _forget_listed(self) -> None:
        """Drop what every list says by now, and do not ask for it again."""
        if len(self._held) < len(self._sources):
            return
        listed = self._listed_position()
        self._pushed = {serial: change for serial, change in self._pushed.items() if change.number > listed}
        self._position = max(self._position, listed)

    def _publish(self) -> None:
        if len(self._held) < len(self._sources):
            return
        pushed = {int(serial, 16): change.at for serial, change in self._pushed.items()}
        self._in_force = Revocations.of([(held.issuer, held.crl) for held in self._held.values()], pushed)


def _logged(act: Callable[[], None]) -> bool:
    try:
        act()
    except RevocationFetch as error:
        _LOG.warning("finding=%s %s", error.finding, error.message)
        return False
    return True
