# SPDX-License-Identifier: Apache-2.0
"""A client that asks for nothing good cannot fill the disk with the log of it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from birthmark.ca.errors import Refused
from birthmark.ca.refusals import CLIENTS_MAX, REFUSAL_EVERY, RefusalShares
from birthmark.core.issuance import UnitRange
from support.ca_parts import NOW, CAParts, order

CLIENT = "aa" * 32


def test_a_share_that_is_used_up_comes_back_one_by_one() -> None:
    shares = RefusalShares(2)
    for _ in range(2):
        shares.demand(CLIENT, NOW)
        shares.spend(CLIENT, NOW)
    with pytest.raises(Refused) as refused:
        shares.demand(CLIENT, NOW + REFUSAL_EVERY - timedelta(microseconds=1))
    assert (refused.value.status, refused.value.finding) == (429, "ca.1.refusals")
    shares.demand("bb" * 32, NOW)
    shares.demand(CLIENT, NOW + REFUSAL_EVERY)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_no_more_are_taken_than_the_share_and_what_came_back(waits_s: list[int]) -> None:
    shares, at, taken = RefusalShares(3), NOW, 0
    for wait_s in waits_s:
        at += timedelta(seconds=wait_s)
        try:
            shares.demand(CLIENT, at)
        except Refused:
            continue
        shares.spend(CLIENT, at)
        taken += 1
    assert taken <= 3 + (at - NOW) / REFUSAL_EVERY


def test_clients_are_forgotten_in_the_order_of_their_last_refusal() -> None:
    shares = RefusalShares(1)
    for number in range(CLIENTS_MAX + 1):
        shares.spend(str(number), NOW)
    shares.demand("0", NOW)
    with pytest.raises(Refused):
        shares.demand(str(CLIENTS_MAX), NOW)


def test_beyond_its_share_a_rig_is_turned_away_without_an_entry() -> None:
    parts = CAParts()
    parts.ca._shares = RefusalShares(2)
    for _ in range(2):
        with pytest.raises(Refused):
            parts.enrol(b"no request")
    with parts.store.reading() as ledger:
        before = ledger.log_size()
    with pytest.raises(Refused) as refused:
        parts.enrol(b"no request")
    assert refused.value.finding == "ca.1.refusals"
    with parts.store.reading() as ledger:
        assert ledger.log_size() == before
    parts.clock.forward(seconds=10)
    with pytest.raises(Refused) as refused:
        parts.enrol(b"no request")
    assert refused.value.finding != "ca.1.refusals"


def test_a_rig_leases_no_unit_of_another_order() -> None:
    parts = CAParts()
    parts.put_order(order("order-2", units=UnitRange("BM-000500", "BM-000599")))
    with pytest.raises(Refused) as refused:
        parts.nonce("BM-000001", label="order-2")
    assert refused.value.finding == "ca.8.unit-range"
    parts.nonce("BM-000500", label="order-2")
