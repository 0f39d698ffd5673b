# SPDX-License-Identifier: Apache-2.0
"""Pages of the revocation feed: one form, no gaps, no page in place of another."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core.errors import DecodeError
from birthmark.core.revocation import (
    PAGE_MAX_BYTES,
    PAGE_MAX_CHANGES,
    RevocationChange,
    RevocationPage,
    decode_page,
    encode_page,
)

AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
EXAMPLE = (
    b'{"after":41,"changes":[{"at":"2026-11-23T09:30:00Z","ending":"revoked","number":42,"serial":"5c0f"}],"head":42}'
)


def change(number: int, serial: int = 0x5C0F, ending: str = "revoked", at: datetime = AT) -> RevocationChange:
    return RevocationChange(number=number, serial=f"{serial:x}", ending=ending, at=at)


@st.composite
def pages(draw: st.DrawFn) -> RevocationPage:
    after = draw(st.integers(0, 1 << 40))
    moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 hypothesis adds the zone
    rows = draw(st.lists(st.tuples(st.integers(1, (1 << 160) - 1), st.sampled_from(["revoked", "released"]), moments)))
    changes = tuple(change(after + 1 + index, *row) for index, row in enumerate(rows))
    return RevocationPage(after=after, head=after + len(rows), changes=changes)


def refusal(data: bytes, after: int = 41) -> str:
    with pytest.raises(DecodeError) as refused:
        decode_page(data, after)
    assert refused.value.finding == "feed.page"
    return refused.value.message


@given(page=pages())
def test_a_page_that_is_written_is_read(page: RevocationPage) -> None:
    assert decode_page(encode_page(page), page.after) == page


def test_a_page_has_one_form() -> None:
    assert encode_page(RevocationPage(after=41, head=42, changes=(change(42),))) == EXAMPLE


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b":41", b": 41"),
        (b'"after":41,', b""),
        (b'"head":42', b'"head":42,"more":1'),
        (b'"head":42', b'"head":42.0'),
        (b"09:30:00Z", b"09:30:00.000Z"),
        (b"09:30:00Z", b"10:30:00+01:00"),
        (b"09:30:00Z", b"09:30:00"),
        (b"5c0f", b"05c0f"),
        (b"5c0f", b"5C0F"),
        (b"5c0f", b"0"),
        (b"5c0f", b"5" * 41),
        (b"5c0f", b"5c0f\\n"),
        (b'"revoked"', b'""'),
        (b'"revoked"', b'"Revoked!"'),
        (b'"number":42', b'"number":43'),
        (b'"number":42', b'"number":41'),
        (b'"head":42', b'"head":41'),
        (b'"head":42', b'"head":-1'),
        (b'"head":42', b'"head":9223372036854775808'),
    ],
)
def test_a_page_in_another_form_is_refused(old: bytes, new: bytes) -> None:
    assert old in EXAMPLE
    refusal(EXAMPLE.replace(old, new))


@pytest.mark.parametrize("data", [b"", EXAMPLE[:-1], EXAMPLE + b"\n", b"[]", b"\xff", bytes(PAGE_MAX_BYTES + 1)])
def test_a_damaged_page_is_refused(data: bytes) -> None:
    refusal(data)


def test_the_page_after_another_number_is_refused() -> None:
    assert "instead of 40" in refusal(EXAMPLE, after=40)


def test_a_page_with_a_gap_is_not_written() -> None:
    for numbers, head in (([42, 44], 44), ([43], 43), ([42, 42], 42), ([42], 41), ([], 42)):
        page = RevocationPage(after=41, head=head, changes=tuple(change(number) for number in numbers))
        with pytest.raises(DecodeError):
            encode_page(page)


def test_a_page_whose_head_lies_behind_tells_that_changes_were_lost() -> None:
    page = RevocationPage(after=41, head=7, changes=())
    assert decode_page(encode_page(page), 41).head == 7


def test_the_fullest_page_fits() -> None:
    late = AT + timedelta(microseconds=1)
    first = (1 << 63) - 1 - PAGE_MAX_CHANGES
    changes = tuple(change(first + 1 + n, (1 << 160) - 1, "x" * 32, late) for n in range(PAGE_MAX_CHANGES))
    data = encode_page(RevocationPage(after=first, head=first + PAGE_MAX_CHANGES, changes=changes))
    assert len(data) <= PAGE_MAX_BYTES
    assert len(decode_page(data, first).changes) == PAGE_MAX_CHANGES
    longer = msgspec.json.encode({"after": 0, "changes": [{}] * (PAGE_MAX_CHANGES + 1), "head": 0})
    refusal(longer, after=0)


@given(at=st.integers(0, len(EXAMPLE) - 1), byte=st.integers(0, 255))
def test_an_altered_page_says_something_else_or_is_refused(at: int, byte: int) -> None:
    altered = EXAMPLE[:at] + bytes((byte,)) + EXAMPLE[at + 1 :]
    try:
        assert (decode_page(altered, 41) == decode_page(EXAMPLE, 41)) is (altered == EXAMPLE)
    except DecodeError as error:
        assert error.finding == "feed.page"  # noqa: PT017 both outcomes are right
