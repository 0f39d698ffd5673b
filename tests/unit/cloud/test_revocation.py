# SPDX-License-Identifier: Apache-2.0
"""The revocation feed: which list is in force, and when nobody can be judged."""

import logging

import pytest

from birthmark.cloud.errors import RevocationFetch, RevocationUnknown
from birthmark.cloud.ports import CRLAnswer
from birthmark.cloud.revocation import ListSource
from birthmark.core.errors import BirthmarkError
from birthmark.testing.forge import Forge
from support.cloud_parts import NOW, CloudParts, crl


def in_force(parts: CloudParts) -> frozenset[int]:
    held = parts.feed.current(parts.clock.now)
    return held.by_issuer[parts.forge.issuing.certificate.subject].lists[0].serials


def test_before_the_first_list_nobody_can_be_judged(parts: CloudParts) -> None:
    with pytest.raises(RevocationUnknown) as caught:
        parts.feed.current(NOW)
    assert caught.value.finding == "cloud.revocation-unknown"


def test_a_list_is_in_force_until_its_next_update(parts: CloudParts) -> None:
    parts.feed.pull()
    parts.clock.forward(seconds=3599)
    assert in_force(parts) == frozenset()
    parts.clock.forward(seconds=1)
    with pytest.raises(RevocationUnknown):
        parts.feed.current(parts.clock.now)


def test_a_failed_pull_leaves_the_earlier_list_in_force_and_one_line_in_the_log(
    parts: CloudParts, caplog: pytest.LogCaptureFixture
) -> None:
    parts.feed.pull()
    parts.published = b"no list"
    with caplog.at_level(logging.WARNING):
        parts.feed.pull_or_log()
    assert in_force(parts) == frozenset()
    assert [record.getMessage().split()[0] for record in caplog.records] == ["finding=cloud.revocation-fetch"]


def test_an_unreachable_ca_is_a_failed_pull(parts: CloudParts) -> None:
    def away(_tag: str) -> CRLAnswer:
        raise BirthmarkError("nobody answers", finding="net.unreachable")

    parts.feed._sources = (ListSource(away),)
    with pytest.raises(RevocationFetch, match="nobody answers"):
        parts.feed.pull()


def test_an_earlier_list_cannot_be_put_back_in_force(parts: CloudParts) -> None:
    earlier = parts.published
    parts.clock.forward(seconds=10)
    parts.publish(7)
    parts.published = earlier
    with pytest.raises(RevocationFetch) as caught:
        parts.feed.pull()
    assert caught.value.finding == "cloud.revocation-rollback"
    assert in_force(parts) == {7}


def test_a_list_of_a_stranger_is_refused(parts: CloudParts) -> None:
    parts.published = crl(Forge.at(NOW).issuing)
    with pytest.raises(RevocationFetch):
        parts.feed.pull()


def test_a_list_that_has_run_out_is_refused(parts: CloudParts) -> None:
    parts.clock.forward(hours=2)
    with pytest.raises(RevocationFetch):
        parts.feed.pull()
