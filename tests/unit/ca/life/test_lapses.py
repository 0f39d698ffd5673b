# SPDX-License-Identifier: Apache-2.0
"""A certificate without a birth record is revoked by itself, and the log says so once."""

from birthmark.ca.life.lapses import write_lapses
from support.ca_parts import UNIT, CAParts


def test_a_certificate_that_nobody_confirmed_lapses_once() -> None:
    parts = CAParts()
    certificate = parts.born(parts.board())
    parts.confirmed(parts.board("BM-000002"))
    assert write_lapses(parts.store, parts.clock) == 0
    parts.clock.forward(days=1)
    assert write_lapses(parts.store, parts.clock) == 1
    row = parts.last_audit()
    assert (row["act"], row["who"], row["unit"]) == ("lapse", "authority", UNIT)
    assert row["certificate"] == f"{certificate.serial_number:x}"
    assert write_lapses(parts.store, parts.clock) == 0
    with parts.store.reading() as ledger:
        ((_, end),) = ledger.endings(-1, 10)
    assert end.serial == row["certificate"]


def test_all_that_are_due_lapse_together() -> None:
    parts = CAParts()
    for number in range(3):
        parts.born(parts.board(f"BM-{number:06d}"))
    parts.clock.forward(days=2)
    assert write_lapses(parts.store, parts.clock) == 3
    assert parts.states() == ["revoked"] * 3
