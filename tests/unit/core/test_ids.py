# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.core import ids
from birthmark.core.errors import DecodeError


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (ids.unit_serial, "BM-000001"),
        (ids.unit_serial, "X01"),
        (ids.order_id, "order-2026-11"),
        (ids.chip_serial, "00A1B2C3D4E5F607"),
        (ids.chip_serial, "53:57:54:50:00:01"),
    ],
)
def test_a_well_formed_id_is_itself(check: Callable[[str], str], text: str) -> None:
    assert check(text) == text


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (ids.unit_serial, ""),
        (ids.unit_serial, "bm-1"),
        (ids.unit_serial, "-BM1"),
        (ids.unit_serial, "BM-1\n"),
        (ids.unit_serial, "B" * 33),
        (ids.order_id, "Order"),
        (ids.order_id, "a/b"),
        (ids.chip_serial, "no"),
    ],
)
def test_a_malformed_id_is_refused_and_shown(check: Callable[[str], str], text: str) -> None:
    with pytest.raises(DecodeError) as caught:
        check(text)
    assert caught.value.finding == "id.malformed"
    assert repr(text[:64]) in str(caught.value)


@given(st.text(max_size=40))
def test_any_text_is_a_unit_serial_or_a_decode_error(text: str) -> None:
    try:
        assert ids.unit_serial(text) == text
    except DecodeError:
        return
    assert text.isascii()
