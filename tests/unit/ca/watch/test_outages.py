# SPDX-License-Identifier: Apache-2.0
"""Each outage of a token is one entry of the log, whatever the ledger does meanwhile."""

import pytest

from birthmark.ca.watch.outages import ACT, Outages
from birthmark.core.errors import StoreError
from birthmark.pki.keys.pkcs11 import Ending, Outage
from support.ca_parts import DONE, NOT_DONE, CAParts, Crash, FaultyStore

AWAY = StoreError("the database does not answer", finding="store.unreachable")


def outage(number: int = 0, ending: Ending = Ending.HEALED) -> Outage:
    return Outage("hsm", ending, f"failure {number}", 100.0 + number, 102.5 + number, 3)


def told(parts: CAParts) -> list[dict[str, str]]:
    return [row for row in parts.administration.audit() if row["act"] == ACT]


def test_an_outage_is_told_once(parts: CAParts) -> None:
    outages = Outages(parts.clock)
    outages.note(outage())
    assert [outages.write(parts.store) for _ in range(3)] == [1, 0, 0]
    (row,) = told(parts)
    assert (row["who"], row["finding"]) == ("authority", "")
    assert row["detail"] == (
        "hsm: healed after 2.5 s, 3 attempts to reopen it; away since 2026-11-23T11:59:57.500+00:00: failure 0"
    )


def test_a_token_that_is_lost_is_told_with_its_finding(parts: CAParts) -> None:
    outages = Outages(parts.clock)
    outages.note(outage(ending=Ending.LOST))
    outages.write(parts.store)
    assert [row["finding"] for row in told(parts)] == ["key.pin"]


@pytest.mark.parametrize("fault", [AWAY, NOT_DONE, DONE], ids=["away", "failed and not done", "failed but done"])
def test_a_ledger_that_fails_meanwhile_costs_no_entry_and_none_comes_twice(
    parts: CAParts, fault: str | StoreError
) -> None:
    outages = Outages(parts.clock)
    outages.note(outage(1))
    with pytest.raises((Crash, StoreError)):
        outages.write(FaultyStore(parts.store, [fault]))
    outages.note(outage(2))
    parts.nonce()  # others go on writing
    outages.write(parts.store)
    outages.write(parts.store)
    assert [row["detail"].rpartition(": ")[2] for row in told(parts)] == ["failure 1", "failure 2"]


def test_what_no_chore_has_come_to_is_written_at_the_end(parts: CAParts) -> None:
    outages = Outages(parts.clock)
    with outages.kept(parts.store):
        outages.note(outage())
        assert told(parts) == []
    assert len(told(parts)) == 1


def test_a_ledger_that_is_away_at_the_end_does_not_hide_why_it_ended(parts: CAParts) -> None:
    outages = Outages(parts.clock)
    outages.note(outage())
    with pytest.raises(KeyboardInterrupt), outages.kept(FaultyStore(parts.store, [AWAY])):
        raise KeyboardInterrupt
