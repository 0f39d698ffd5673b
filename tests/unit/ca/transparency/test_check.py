# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca ledger check`: a sound ledger has nothing to tell. What is found of others: tests/contract."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from birthmark.core.audit import AuditRow, encode_row
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import new_key
from support.ca_parts import NOW, ORDER, UNIT, CAParts, Crash, FaultyStore, renewed


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[CAParts]:
    store = SQLiteCAStore(tmp_path / "ca.sqlite")
    yield CAParts(store)
    store.close()


@pytest.fixture
def lived(parts: CAParts) -> CAParts:
    """One of everything: confirmed, renewed, unconfirmed and lapsed, revoked, superseded, refused."""
    board = parts.board(UNIT)
    certificate = parts.confirmed(board)
    renewed(parts, board, certificate, new_key())
    parts.confirmed(parts.board("BM-000002"))
    parts.administration.revoke(parts.issuance(parts.confirmed(parts.board("BM-000003")))["serial"], "stolen")
    again = parts.board("BM-000004")
    parts.born(again)
    parts.clock.forward(seconds=61)
    parts.born(replace(again, key=new_key()))
    parts.born(parts.board("BM-000005"))
    return parts


def findings(parts: CAParts) -> set[str]:
    return {each.finding for each in parts.administration.check()}


def test_a_ledger_in_which_everything_has_happened_agrees_with_its_log(lived: CAParts) -> None:
    assert list(lived.administration.check()) == []


@pytest.mark.parametrize("faults", [["not done"], ["done"], [None, "not done"], [None, "done"]])
def test_a_crash_anywhere_leaves_a_ledger_that_agrees_with_its_log(parts: CAParts, faults: list[str | None]) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).enrol(parts.client(), ORDER, csr)
    assert list(parts.administration.check()) == []


def test_an_entry_about_a_certificate_that_was_never_issued_is_told(parts: CAParts) -> None:
    invented = AuditRow(at=NOW, who="rig:rig-a", act="enrol", unit_serial=UNIT, certificate="dead", about="00" * 32)
    assert encode_row(invented)
    with parts.store.writing() as ledger:
        ledger.append([invented])
    assert findings(parts) == {"ledger.certificate.missing"}
