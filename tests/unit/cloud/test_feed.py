# SPDX-License-Identifier: Apache-2.0
"""The pushed changes beside the lists: dark at once, light only by a list, nothing lost between the two."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from birthmark.cloud.errors import RevocationFetch, RevocationUnknown
from birthmark.cloud.ports import CRLAnswer
from birthmark.cloud.revocation import ListSource, RevocationFeed
from birthmark.cloud.verification import Revocations
from birthmark.core.errors import BirthmarkError
from birthmark.core.revocation import RELEASED, RevocationChange, RevocationPage, encode_page
from birthmark.pki.authorities import make_sub_ca
from birthmark.pki.crl import Edition, Partition, RevokedCertificate, build_crl, number_at, read_crl
from birthmark.testing.forge import Device, Forge, new_key
from support.cloud_parts import NOW, Clock, crl

HOUR_S = 3600
BASE = "https://ca.example/v1/crl"
FORGE = Forge.at(NOW)
ISSUING = FORGE.issuing
NAME = ISSUING.certificate.subject


@dataclass
class Authority:
    """A CA that publishes its list, in parts if it is told to, and its feed. Each list is of the moment of asking."""

    clock: Clock = field(default_factory=Clock)
    changes: list[RevocationChange] = field(default_factory=list)
    count: int = 0
    page_size: int = 100
    stuck: dict[int, CRLAnswer] = field(default_factory=dict)
    """Lists that are published again and again, although there are newer changes."""

    def change(self, serial: int, ending: str = "revoked", at: datetime | None = None) -> None:
        number, moment = len(self.changes) + 1, at or self.clock.now
        self.changes.append(RevocationChange(number=number, serial=f"{serial:x}", ending=ending, at=moment))

    def revoked(self) -> frozenset[int]:
        latest = {change.serial: change for change in self.changes}
        now = self.clock.now
        return frozenset(int(s, 16) for s, each in latest.items() if each.ending != RELEASED and each.at <= now)

    def position(self) -> int:
        ahead = [change.number for change in self.changes if change.at > self.clock.now]
        return min(ahead, default=len(self.changes) + 1) - 1

    def list_of(self, index: int, tag: str) -> CRLAnswer | None:
        answer = self.stuck.get(index) or self.made(index)
        return None if tag and tag == answer.tag else answer

    def made(self, index: int) -> CRLAnswer:
        partition = Partition(BASE, self.count, index) if self.count else None
        now = self.clock.now
        lines = [RevokedCertificate(each, now) for each in self.revoked() if not partition or partition.covers(each)]
        edition = Edition(number_at(now), partition, self.position())
        data = build_crl(lines, ISSUING.key, ISSUING.certificate, now, HOUR_S, edition)
        return CRLAnswer(data, f'"{edition.number}"')

    def page(self, after: int, _wait_s: float) -> bytes:
        changes = tuple(self.changes[after : after + self.page_size])
        return encode_page(RevocationPage(after=after, head=len(self.changes), changes=changes))

    def feed(self) -> RevocationFeed:
        def source(index: int) -> ListSource:
            partition = Partition(BASE, self.count, index) if self.count else None
            return ListSource(lambda tag: self.list_of(index, tag), partition)

        sources = [source(index) for index in range(max(1, self.count))]
        return RevocationFeed(sources, [ISSUING.certificate], self.clock, self.page)


def dark(authority: Authority, feed: RevocationFeed, serials: Iterable[int] = range(1, 10)) -> set[int]:
    now = authority.clock.now
    held = feed.current(now)
    return {serial for serial in serials if not held.clear(NAME, serial, now)}


def test_a_change_counts_before_any_list_names_it() -> None:
    authority = Authority()
    feed = authority.feed()
    feed.pull()
    authority.change(5)
    assert dark(authority, feed) == set()
    feed.follow(0)
    assert dark(authority, feed) == {5}


def test_a_change_that_lies_ahead_counts_when_its_moment_comes() -> None:
    authority = Authority()
    feed = authority.feed()
    feed.pull()
    authority.change(5, "rotated", NOW + timedelta(minutes=10))
    feed.follow(0)
    authority.clock.forward(minutes=9)
    feed.pull()
    assert dark(authority, feed) == set()
    authority.clock.forward(minutes=1)
    assert dark(authority, feed) == {5}, "although the list was made after the change, it cannot name it yet"


def test_the_feed_lets_nobody_in_before_the_lists_have_come() -> None:
    authority = Authority()
    feed = authority.feed()
    authority.change(5)
    feed.follow(0)
    with pytest.raises(RevocationUnknown):
        feed.current(NOW)
    feed.pull()
    assert dark(authority, feed) == {5}


def test_what_is_released_is_light_again_once_the_list_says_so() -> None:
    authority = Authority()
    feed = authority.feed()
    authority.change(5, "suspended")
    feed.pull()
    authority.change(5, RELEASED)
    feed.follow(0)
    assert dark(authority, feed) == {5}
    authority.clock.forward(seconds=1)
    feed.pull()
    assert dark(authority, feed) == set()


def test_after_a_start_the_feed_goes_on_where_the_list_ends() -> None:
    authority = Authority()
    for serial in range(1, 5):
        authority.change(serial)
    asked: list[int] = []
    feed = authority.feed()
    page = authority.page
    feed._fetch_changes = lambda after, wait_s: (asked.append(after), page(after, wait_s))[1]
    feed.pull()
    feed.follow(0)
    assert asked == [4]


def test_many_changes_come_page_by_page() -> None:
    authority = Authority(page_size=2)
    feed = authority.feed()
    feed.pull()
    for serial in range(1, 6):
        authority.change(serial)
    for expected in ({1, 2}, {1, 2, 3, 4}, {1, 2, 3, 4, 5}):
        feed.follow(0)
        assert dark(authority, feed) == expected


def test_what_the_lists_name_is_forgotten() -> None:
    authority = Authority()
    feed = authority.feed()
    feed.pull()
    authority.change(5)
    feed.follow(0)
    authority.clock.forward(seconds=1)
    feed.pull()
    assert dark(authority, feed) == {5}
    assert not feed._pushed


def test_an_authority_that_was_set_back_is_said_and_takes_nothing_back() -> None:
    authority = Authority()
    feed = authority.feed()
    feed.pull()
    authority.change(5)
    authority.change(6)
    feed.follow(0)
    authority.changes.pop()
    authority.changes.pop()
    with pytest.raises(RevocationFetch) as caught:
        feed.follow(0)
    assert caught.value.finding == "cloud.feed-rollback"
    authority.change(7)
    feed.follow(0)
    assert dark(authority, feed) == {5, 6, 7}, "heard again from the number on that the lists hold"


@pytest.mark.parametrize("page", [b"", b"{}", b'{"after":1,"changes":[],"head":1}'])
def test_a_page_that_is_not_the_one_asked_for_changes_nothing(page: bytes) -> None:
    authority = Authority()
    feed = authority.feed()
    feed.pull()
    feed._fetch_changes = lambda _after, _wait_s: page
    with pytest.raises(RevocationFetch) as caught:
        feed.follow(0)
    assert caught.value.finding == "cloud.revocation-fetch"
    assert feed.follow_or_log(0) is False
    assert dark(authority, feed) == set()


def test_a_feed_that_is_not_configured_cannot_be_followed() -> None:
    with pytest.raises(RevocationFetch):
        RevocationFeed([], [], Clock()).follow(0)


# --- partitions ------------------------------------------------------------------------------------------------


def test_nobody_is_let_in_until_every_partition_has_come() -> None:
    authority = Authority(count=4)
    feed = authority.feed()

    def away(_tag: str) -> CRLAnswer:
        raise BirthmarkError("nobody answers", finding="net.unreachable")

    sources = feed._sources
    feed._sources = (*sources[:3], ListSource(away, sources[3].partition))
    with pytest.raises(RevocationFetch):
        feed.pull()
    with pytest.raises(RevocationUnknown):
        feed.current(NOW)
    feed._sources = sources
    feed.pull()
    assert dark(authority, feed) == set()


def test_each_partition_decides_about_its_own_serials() -> None:
    authority = Authority(count=4)
    for serial in (1, 2, 5, 8):
        authority.change(serial)
    feed = authority.feed()
    feed.pull()
    assert dark(authority, feed) == {1, 2, 5, 8}


def test_a_partition_in_the_place_of_another_is_refused() -> None:
    authority = Authority(count=4)
    authority.stuck[2] = authority.made(3)
    feed = authority.feed()
    with pytest.raises(RevocationFetch, match=r"is not https://ca\.example/v1/crl/4/2"):
        feed.pull()


def test_a_partition_that_is_not_made_anew_loses_no_change() -> None:
    authority = Authority(count=4)
    authority.stuck[1] = authority.made(1)
    authority.change(1)
    authority.change(2)
    feed = authority.feed()
    authority.clock.forward(seconds=1)
    feed.pull()
    assert dark(authority, feed) == {2}, "the list of 2 is newer than the one of 1"
    feed.follow(0)
    assert dark(authority, feed) == {1, 2}
    authority.clock.forward(seconds=1)
    feed.pull()
    assert dark(authority, feed) == {1, 2}, "what one list does not hold yet is not forgotten"


# --- several CAs -----------------------------------------------------------------------------------------------


def test_each_ca_has_its_own_lists(forge: Forge) -> None:
    """While a fleet moves from one issuing CA to the next, both speak of their own certificates."""
    other = make_sub_ca(forge.root, "Next issuing CA", new_key(), NOW)
    lists = [
        (ca.certificate, read_crl(crl(ca, serial), ca.certificate, NOW))
        for ca, serial in ((forge.issuing, 5), (other, 6))
    ]
    revocations = Revocations.of(lists)
    for ca, serial in ((forge.issuing, 5), (other, 6)):
        name = ca.certificate.subject
        assert [revocations.clear(name, each, NOW) for each in (serial, 7)] == [False, True]
    assert not revocations.clear(forge.root.certificate.subject, 7, NOW), "a CA without a list is not known"
    assert not Revocations.of([*lists, lists[0]]).clear(forge.issuing.certificate.subject, 7, NOW), (
        "two full lists of one"
    )


def test_a_list_counts_for_the_key_that_signed_it_under_whichever_certificate(forge: Forge, device: Device) -> None:
    again = make_sub_ca(forge.root, "again", forge.issuing.key, NOW).certificate
    stranger = Forge.at(NOW).issuing.certificate
    revocations = Revocations.of(
        [(forge.issuing.certificate, read_crl(crl(forge.issuing), forge.issuing.certificate, NOW))]
    )
    leaf = device.certificate
    revocations.require_not_revoked((leaf, again), NOW)
    for path in ((leaf, stranger), (leaf,)):
        with pytest.raises(RevocationUnknown):
            revocations.require_not_revoked(path, NOW)


class Follower(RuleBasedStateMachine):
    """
    A cloud beside an authority, in any order of changes, pulls, pages, lists that lag and starts.

    What was revoked in a list or page that the cloud has taken stays dark while it is revoked.
    """

    @initialize(count=st.sampled_from([0, 1, 3]))
    def begin(self, count: int) -> None:
        self.authority = Authority(count=count, page_size=2)
        self.start_again()

    def known(self) -> None:
        """Note what the cloud has to know by now."""
        self.told = self.authority.revoked() & (self.told | dark(self.authority, self.feed))

    @rule()
    def start_again(self) -> None:
        self.feed = self.authority.feed()
        self.feed.pull()
        self.told: frozenset[int] | set[int] = frozenset()

    @rule(serial=st.integers(1, 9), ahead_s=st.sampled_from([0, 0, 5]))
    def revoke(self, serial: int, ahead_s: int) -> None:
        self.authority.change(serial, at=self.authority.clock.now + timedelta(seconds=ahead_s))
        self.told -= {serial}

    @rule(serial=st.integers(1, 9))
    def release(self, serial: int) -> None:
        self.authority.change(serial, RELEASED)
        self.told -= {serial}

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.authority.clock.forward(seconds=seconds)

    @rule(index=st.integers(0, 2))
    def lag(self, index: int) -> None:
        self.authority.stuck[index] = self.authority.made(index % max(1, self.authority.count))

    @rule()
    def catch_up(self) -> None:
        self.authority.stuck.clear()

    @precondition(lambda self: not self.authority.stuck)
    @rule()
    def pull(self) -> None:
        self.authority.clock.forward(seconds=1)
        self.feed.pull()
        assert self.authority.revoked() <= dark(self.authority, self.feed)

    @rule()
    def pull_what_lags(self) -> None:
        self.authority.clock.forward(seconds=1)
        self.feed.pull_or_log()

    @rule()
    def follow_to_the_end(self) -> None:
        while self.feed._position < len(self.authority.changes):
            self.feed.follow(0)
        assert self.authority.revoked() <= dark(self.authority, self.feed)
        self.told = self.authority.revoked()

    @invariant()
    def what_was_told_stays_dark(self) -> None:
        assert self.told <= dark(self.authority, self.feed)
        self.known()


TestFollower = Follower.TestCase
TestFollower.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
