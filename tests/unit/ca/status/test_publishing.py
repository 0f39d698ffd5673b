# SPDX-License-Identifier: Apache-2.0
"""What is published and when it is signed anew: decisions without a clock, a key or a store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.status.publishing import (
    REFRESH_FROM,
    REFRESH_TO,
    Due,
    Published,
    Signed,
    SigningBudget,
    Why,
    cache_headers,
    digest_of_lines,
    digest_of_standing,
    due,
    entity_tag,
    listed,
    matches,
    next_due,
    next_number,
    obsolete,
    partitioned,
    refresh_at,
    standing,
)
from birthmark.core.issuance import Ending, Revocation
from birthmark.pki.crl import Partition, RevokedCertificate
from birthmark.pki.ocsp import CertStatus

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def revocation(serial: int = 5, at: datetime = AT, expires_at: datetime = AT + 9 * DAY) -> Revocation:
    return Revocation(f"{serial:x}", at, Ending.REVOKED, expires_at)


def published(digest: bytes = b"same", *, at: datetime = AT, life: timedelta = 4 * HOUR, number: int = 1) -> Published:
    return Published(digest, number, at, at + life)


# --- lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "stands"),
    [
        pytest.param(None, True, id="no list before: it has never stood on one beyond its end"),
        pytest.param(AT + 8 * DAY, True, id="the list before was made in its life"),
        pytest.param(AT + 9 * DAY, True, id="the list before was made at its end"),
        pytest.param(AT + 9 * DAY + HOUR, False, id="it stood on a list that was made after its end"),
    ],
)
def test_an_expired_certificate_stands_on_one_list_more(earlier: datetime | None, stands: bool) -> None:  # noqa: FBT001 a column
    assert bool(listed([revocation()], earlier)) is stands


def test_what_is_revoked_after_its_end_stands_on_a_list_all_the_same() -> None:
    late = revocation(at=AT + 12 * DAY)
    assert listed([late], AT + 11 * DAY)
    assert not listed([late], AT + 13 * DAY)


@given(
    ends=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=12),
)
def test_every_revocation_stands_on_a_list_that_was_made_after_its_end(
    ends: list[tuple[int, int]], steps: list[int]
) -> None:
    ledger = [
        revocation(n + 1, AT + timedelta(hours=at), AT + timedelta(hours=end)) for n, (at, end) in enumerate(ends)
    ]
    earlier, now, seen_after_end = None, AT, set[int]()
    for step in steps:
        now += timedelta(hours=step)
        serials = {line.serial for line in listed((r for r in ledger if r.at <= now), earlier)}
        for r in (r for r in ledger if r.at <= now):
            serial = int(r.serial, 16)
            assert serial in serials or serial in seen_after_end
            if serial in serials and now > r.expires_at:
                seen_after_end.add(serial)
        earlier = now


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (Ending.UNCONFIRMED, x509.ReasonFlags.cessation_of_operation),
        (Ending.SUPERSEDED, x509.ReasonFlags.superseded),
        (Ending.ROTATED, x509.ReasonFlags.superseded),
        (Ending.REVOKED, x509.ReasonFlags.unspecified),
    ],
)
def test_lists_and_responses_give_the_same_reason(ending: Ending, reason: x509.ReasonFlags) -> None:
    ended = replace(revocation(), ending=ending)
    assert listed([ended], None)[0].reason is reason
    assert standing(5, ended, issued=True).reason is reason


def test_a_serial_is_unknown_good_or_revoked() -> None:
    assert standing(5, None, issued=False).status is CertStatus.UNKNOWN
    assert standing(5, None, issued=True).status is CertStatus.GOOD
    revoked = standing(5, revocation(at=AT + timedelta(microseconds=9)), issued=True)
    assert (revoked.status, revoked.revoked_at) == (CertStatus.REVOKED, AT)


@given(serials=st.sets(st.integers(1, 1 << 126)), count=st.integers(1, 40))
def test_partitions_together_are_the_full_list(serials: set[int], count: int) -> None:
    lines = [RevokedCertificate(serial, AT) for serial in serials]
    parts = partitioned(lines, "http://crl.example", count)
    assert list(parts) == [Partition("http://crl.example", count, index) for index in range(count)]
    assert all(partition.covers(line.serial) for partition, members in parts.items() for line in members)
    assert {line.serial for members in parts.values() for line in members} == serials


def test_a_digest_changes_exactly_when_a_line_does() -> None:
    one, other = RevokedCertificate(5, AT), RevokedCertificate(6, AT)
    assert digest_of_lines([one, other]) == digest_of_lines([other, one])
    changed = [[one], [one, replace(other, serial=7)], [one, replace(other, revoked_at=AT + HOUR)]]
    changed.append([one, replace(other, reason=x509.ReasonFlags.superseded)])
    digests = {digest_of_lines(lines) for lines in [[one, other], *changed]}
    assert len(digests) == 5


def test_the_digest_of_a_standing_changes_when_it_does() -> None:
    standings = [
        standing(5, None, issued=True),
        standing(5, None, issued=False),
        standing(5, revocation(), issued=True),
        standing(5, revocation(at=AT + HOUR), issued=True),
        standing(5, replace(revocation(), ending=Ending.ROTATED), issued=True),
    ]
    assert len({digest_of_standing(each) for each in standings}) == 5


# --- schedule --------------------------------------------------------------------------------------------------


def test_nothing_is_due_while_it_is_fresh_and_unchanged() -> None:
    assert due([("a", b"same")], {"a": published()}, AT + HOUR, 10) == ()


def test_a_change_comes_before_what_is_missing_and_what_ages() -> None:
    held = {"old": published(at=AT - 3 * HOUR), "changed": published(), "older": published(at=AT - 4 * HOUR)}
    wanted = [(key, b"same") for key in ("old", "older", "missing")] + [("changed", b"other")]
    found = due(wanted, held, AT + HOUR, 10)
    assert [each.key for each in found][:2] == ["changed", "missing"]
    assert {each.key for each in found[2:]} == {"old", "older"}
    assert [each.why for each in found] == [Why.CHANGED, Why.MISSING, Why.AGEING, Why.AGEING]
    assert due(wanted, held, AT + HOUR, 2) == found[:2]


def test_what_ages_comes_in_the_order_in_which_it_became_due() -> None:
    held = {f"{n}": published(at=AT - timedelta(minutes=n)) for n in range(50)}
    found = due([(key, b"same") for key in held], held, AT + 4 * HOUR, 50)
    assert [each.since for each in found] == sorted(refresh_at(key, each) for key, each in held.items())


def test_a_change_waits_until_the_last_list_has_settled() -> None:
    arguments = ([("a", b"other")], {"a": published()})
    settle = timedelta(seconds=5)
    assert due(*arguments, AT + timedelta(seconds=4), 10, settle) == ()
    assert due(*arguments, AT + settle, 10, settle) == (Due(Why.CHANGED, AT, "a"),)


@given(key=st.text(max_size=20), life_s=st.integers(60, 10**6))
def test_an_unchanged_response_is_made_anew_well_before_its_end(key: str, life_s: int) -> None:
    held = published(life=timedelta(seconds=life_s))
    moment = refresh_at(key, held)
    share = (moment - AT) / (held.next_update - AT)
    assert REFRESH_FROM - 1e-6 <= share <= REFRESH_TO + 1e-6
    assert not due([(key, b"same")], {key: held}, moment - timedelta(microseconds=1), 1)
    assert due([(key, b"same")], {key: held}, moment, 1)
    assert next_due({key: held}) == moment


def test_what_was_signed_together_is_not_due_together() -> None:
    moments = sorted(refresh_at(f"{serial:x}", published()) for serial in range(1000))
    busiest = max(sum(start <= each < start + timedelta(minutes=6) for each in moments) for start in moments)
    assert busiest < 200, "a tenth of the hour over which they spread holds a tenth of them, about"


def test_nothing_published_is_never_due() -> None:
    assert next_due({}) is None


def test_keys_under_which_nothing_is_wanted_are_obsolete() -> None:
    assert obsolete(["a"], {"a": published(), "b": published()}) == {"b"}


@given(numbers=st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=20))
def test_numbers_grow_although_the_clock_goes_back(numbers: list[int]) -> None:
    earlier: Published | None = None
    for offset_ms in numbers:
        number = next_number(AT + timedelta(milliseconds=offset_ms), earlier)
        assert earlier is None or number > earlier.number
        earlier = published(number=number)


# --- what strangers cause --------------------------------------------------------------------------------------


def spent(budget: SigningBudget, at: datetime, times: int) -> tuple[SigningBudget, int]:
    granted = 0
    for _ in range(times):
        left = budget.spend(at)
        if left is not None:
            budget, granted = left, granted + 1
    return budget, granted


def test_a_budget_grants_its_burst_and_then_its_rate() -> None:
    budget, granted = spent(SigningBudget.full(2.0, 5, AT), AT, 20)
    assert granted == 5
    budget, granted = spent(budget, AT + timedelta(seconds=1), 20)
    assert granted == 2
    budget, granted = spent(budget, AT, 20)
    assert granted == 0, "a clock that goes back gives nothing"
    assert spent(budget, AT + DAY, 20)[1] == 5


@given(gaps_ms=st.lists(st.integers(-500, 3000), max_size=60))
def test_a_budget_never_grants_more_than_its_burst_and_its_rate(gaps_ms: list[int]) -> None:
    budget, granted, now, latest = SigningBudget.full(2.0, 5, AT), 0, AT, AT
    for gap_ms in gaps_ms:
        now += timedelta(milliseconds=gap_ms)
        latest = max(now, latest)
        budget, more = spent(budget, now, 1)
        granted += more
        assert granted <= 5 + 2.0 * (latest - AT).total_seconds() + 1e-6


# --- caches ----------------------------------------------------------------------------------------------------


def test_caches_are_told_times_tag_and_age() -> None:
    signed = Signed(b"body", AT, AT + HOUR)
    headers = cache_headers(signed, AT + timedelta(minutes=10), 600)
    assert headers == {
        "Cache-Control": "max-age=600, public, no-transform, must-revalidate",
        "ETag": '"230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5"',
        "Expires": "Mon, 23 Nov 2026 10:30:00 GMT",
        "Last-Modified": "Mon, 23 Nov 2026 09:30:00 GMT",
    }


@pytest.mark.parametrize(("minutes", "age_s"), [(0, 600), (55, 300), (60, 0), (90, 0)])
def test_nothing_is_kept_beyond_its_end(minutes: int, age_s: int) -> None:
    headers = cache_headers(Signed(b"body", AT, AT + HOUR), AT + timedelta(minutes=minutes), 600)
    assert headers["Cache-Control"].startswith(f"max-age={age_s},")


def test_a_tag_matches_in_every_form_that_a_client_may_send() -> None:
    tag = entity_tag(b"body")
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        assert matches(header, Signed(b"body", AT, AT + HOUR))
    for header in ("", '"other"', tag.strip('"')):
        assert not matches(header, Signed(b"body", AT, AT + HOUR))
