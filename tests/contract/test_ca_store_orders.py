# SPDX-License-Identifier: Apache-2.0
"""What every store of the issuing authority must keep of orders: what two persons signed, and what became of places."""

from dataclasses import replace

import pytest

from birthmark.ca.ports import CAStore
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import (
    Ask,
    ChipID,
    End,
    Ending,
    OrderAccount,
    OrderUse,
    UnitMark,
)
from birthmark.core.proposals import Proposal, Ruling, State
from support.ledger_values import AT, CHIP, INTENT, ORDER, SECOND

# --- acts that need two persons --------------------------------------------------------------------------------

RULING = Ruling(
    state=State.APPROVED,
    decided_by="approver:Bob",
    decided_at=AT + SECOND,
    reason="read",
    document="c.d.e",
    certificate=b"\x30\x00",
)


def a_proposal(number: int = 0, ruling: Ruling | None = None) -> Proposal:
    return Proposal(
        id=f"{number:064x}",
        act="order.create",
        subject=ORDER.id,
        document=f"a.{number}.c",
        certificate=b"\x30\x01\x00",
        proposed_by="security-officer:Ada",
        proposed_at=AT,
        expires_at=AT + number * SECOND,
        ruling=ruling,
    )


@pytest.mark.parametrize("ruling", [None, RULING])
def test_a_proposal_comes_back_as_it_was_put(store: CAStore, ruling: Ruling | None) -> None:
    with store.writing() as ledger:
        ledger.put_proposal(a_proposal(ruling=ruling))
    with store.reading() as ledger:
        assert ledger.proposal(a_proposal().id) == a_proposal(ruling=ruling)
        assert ledger.proposal("f" * 64) is None


def test_a_proposal_and_its_ruling_are_written_once(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.put_proposal(a_proposal())
        ledger.rule(a_proposal().id, RULING)
    with pytest.raises(StoreError, match=r"."), store.writing() as ledger:
        ledger.put_proposal(a_proposal())
    with pytest.raises(StoreError, match=r"."), store.writing() as ledger:
        ledger.rule(a_proposal().id, replace(RULING, state=State.REJECTED))
    with store.reading() as ledger:
        assert ledger.proposals(10) == (a_proposal(ruling=RULING),)


def test_the_latest_proposals_come_first(store: CAStore) -> None:
    with store.writing() as ledger:
        for number in range(4):
            ledger.put_proposal(a_proposal(number))
    with store.reading() as ledger:
        assert ledger.proposals(2) == (a_proposal(3), a_proposal(2))
        assert ledger.proposals(2, 1) == (a_proposal(2), a_proposal(1))
        assert ledger.proposals(2, 4) == ()


def test_overdue_are_proposals_whose_time_is_over_and_that_nobody_decided(store: CAStore) -> None:
    with store.writing() as ledger:
        for number in range(4):
            ledger.put_proposal(a_proposal(number))
        ledger.rule(a_proposal(1).id, RULING)
    with store.reading() as ledger:
        assert ledger.overdue_proposals(AT + 2 * SECOND, 10) == (a_proposal(0), a_proposal(2))
        assert ledger.overdue_proposals(AT + 2 * SECOND, 1) == (a_proposal(0),)


def test_a_scrapped_unit_keeps_its_place_until_it_is_reworked(store: CAStore) -> None:
    with store.writing() as ledger:
        ledger.take_quota([(ORDER.id, "BM-000001")])
        ledger.mark_unit(ORDER.id, "BM-000001", UnitMark.SCRAPPED)
    with store.reading() as ledger:
        assert ledger.order_use(ORDER.id, "BM-000001") == OrderUse(1, holds_unit=True, scrapped=True)
        (facts,) = ledger.facts([Ask(ORDER.id, "00" * 32, CHIP, "BM-000001")])
        assert facts.use == OrderUse(1, holds_unit=True, scrapped=True)
        assert ledger.order_account(ORDER.id, AT) == OrderAccount(ordered=2, scrapped=1)
    with store.writing() as ledger:
        ledger.mark_unit(ORDER.id, "BM-000001", UnitMark.REWORKED)
        ledger.mark_unit(ORDER.id, "BM-000001", UnitMark.REWORKED)
    with store.reading() as ledger:
        assert ledger.order_use(ORDER.id, "BM-000001") == OrderUse(1, holds_unit=True, reworked=2)
        assert ledger.order_account(ORDER.id, AT) == OrderAccount(ordered=2, lapsed=1, reworked=2)


def test_only_a_unit_with_a_place_is_marked(store: CAStore) -> None:
    with pytest.raises(StoreError, match="no place"), store.writing() as ledger:
        ledger.mark_unit(ORDER.id, "BM-000001", UnitMark.SCRAPPED)


def test_an_account_counts_the_furthest_life_of_each_unit(store: CAStore) -> None:
    second = replace(INTENT, serial="40bb", unit_serial="BM-000002", chip=ChipID("Smith", "FEDCBA9876543210"))
    with store.writing() as ledger:
        ledger.intend([INTENT, second])
        ledger.take_quota([(ORDER.id, "BM-000001"), (ORDER.id, "BM-000002")])
        ledger.record([("40bb", b"certificate")])
        ledger.confirm([(fingerprint(b"certificate"), "a.b.c")], AT)
    with store.reading() as ledger:
        assert ledger.order_account(ORDER.id, AT) == OrderAccount(ordered=2, confirmed=1, unconfirmed=1)
        assert ledger.order_account(ORDER.id, AT + SECOND) == OrderAccount(ordered=2, confirmed=1, lapsed=1)
    with store.writing() as ledger:
        ledger.end([End("40bb", AT, Ending.REVOKED)])
    with store.reading() as ledger:
        assert ledger.order_account(ORDER.id, AT) == OrderAccount(ordered=2, ended=1, unconfirmed=1)
        assert [each.serial for each in ledger.issuances_of_unit("BM-000002")] == ["40bb"]
