# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - the statements are those of this file
"""`birthmark ca ledger check`: a sound ledger has nothing to tell; every row that was touched is told of."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
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


def tamper(folder: Path, *statements: str) -> None:
    """Change the database as somebody would who has its file, without its constraints."""
    with closing(sqlite3.connect(folder / "ca.sqlite", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_a_ledger_in_which_everything_has_happened_agrees_with_its_log(lived: CAParts) -> None:
    assert list(lived.administration.check()) == []


@pytest.mark.parametrize("faults", [["not done"], ["done"], [None, "not done"], [None, "done"]])
def test_a_crash_anywhere_leaves_a_ledger_that_agrees_with_its_log(parts: CAParts, faults: list[str | None]) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).enrol(parts.client(), ORDER, csr)
    assert list(parts.administration.check()) == []


FIRST = "(SELECT serial FROM issuance WHERE number = 1)"
TAMPERED = {
    "a certificate is replaced": ("UPDATE certificate SET der = x'3000'", "ledger.certificate.digest"),
    "a certificate is filed under another digest": (
        f"UPDATE certificate SET sha256 = '00' WHERE serial = {FIRST}",
        "ledger.certificate.filed",
    ),
    "a certificate is deleted": (f"DELETE FROM certificate WHERE serial = {FIRST}", "ledger.certificate.missing"),
    "its issuance is deleted": ("DELETE FROM issuance WHERE number = 2", "ledger.issuance.gap"),
    "its life is deleted": (f"DELETE FROM life WHERE serial = {FIRST}", "ledger.certificate.missing"),
    "its entry is deleted": (
        'DELETE FROM leaf WHERE CAST(entry AS TEXT) LIKE \'%"act":"enrol"%\'',
        "ledger.certificate.unlogged",
    ),
    "a birth is deleted": ("DELETE FROM birth", "ledger.birth.missing"),
    "a birth is edited": ("UPDATE birth SET jws = jws || 'x'", "ledger.birth.digest"),
    "a birth is undone": (
        "UPDATE life SET confirmed_us = NULL WHERE unit_serial = 'BM-000002'",
        "ledger.birth.state",
    ),
    "a birth is invented": ("UPDATE life SET confirmed_us = 1 WHERE confirmed_us IS NULL", "ledger.birth.missing"),
    "the entry of a birth is deleted": (
        'DELETE FROM leaf WHERE CAST(entry AS TEXT) LIKE \'%"act":"birth"%\'',
        "ledger.birth.unlogged",
    ),
    "an ending is deleted": ("DELETE FROM ending", "ledger.ending.missing"),
    "a revocation is taken back": (
        "UPDATE life SET dies_us = NULL, ending = NULL WHERE ending = 'revoked'",
        "ledger.ending.life",
    ),
    "the first ending is deleted": ("DELETE FROM ending WHERE number = 0", "ledger.ending.gap"),
    "the entry of an ending is deleted": (
        'DELETE FROM leaf WHERE CAST(entry AS TEXT) LIKE \'%"act":"revoke"%\'',
        "ledger.ending.unlogged",
    ),
    "a quota is given back": ("UPDATE production_order SET units = units - 1", "ledger.quota.count"),
    "a unit loses its place": ("DELETE FROM order_unit WHERE unit_serial = 'BM-000001'", "ledger.quota.place"),
    "a place is taken by nobody": (
        f"INSERT INTO order_unit (order_id, unit_serial) VALUES ('{ORDER}', 'BM-000099')",
        "ledger.quota.stray",
    ),
    "an order rests on a document that is not there": (
        "UPDATE production_order SET document = 'ab'",
        "ledger.order.document",
    ),
    "an entry is deleted": ("DELETE FROM leaf WHERE number = 1", "ledger.entry.gap"),
    "an entry in the middle of a unit's life is deleted": (
        'DELETE FROM leaf WHERE CAST(entry AS TEXT) LIKE \'%"act":"birth"%\'',
        "ledger.entry.previous",
    ),
    "an entry is no entry": ("UPDATE leaf SET entry = x'ff' WHERE number = 1", "ledger.entry.malformed"),
    "an entry is filed under another unit": (
        "UPDATE leaf SET unit_serial = 'BM-000009' WHERE number = 2",
        "ledger.entry.unit",
    ),
}


@pytest.mark.parametrize(("statement", "finding"), TAMPERED.values(), ids=TAMPERED.keys())
def test_whatever_is_touched_in_the_tables_or_the_log_is_told(
    lived: CAParts, tmp_path: Path, statement: str, finding: str
) -> None:
    tamper(tmp_path, statement)
    assert finding in findings(lived)


def test_everything_about_a_certificate_deleted_from_the_tables_is_told(lived: CAParts, tmp_path: Path) -> None:
    last = "(SELECT serial FROM issuance ORDER BY number DESC LIMIT 1)"
    tamper(
        tmp_path,
        f"DELETE FROM certificate WHERE serial = {last}",
        f"DELETE FROM life WHERE serial = {last}",
        f"DELETE FROM issuance WHERE serial = {last}",
    )
    assert "ledger.certificate.missing" in findings(lived)


def test_an_entry_about_a_certificate_that_was_never_issued_is_told(parts: CAParts) -> None:
    invented = AuditRow(at=NOW, who="rig:rig-a", act="enrol", unit_serial=UNIT, certificate="dead", about="00" * 32)
    assert encode_row(invented)
    with parts.store.writing() as ledger:
        ledger.append([invented])
    assert findings(parts) == {"ledger.certificate.missing"}
