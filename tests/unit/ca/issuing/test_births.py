# SPDX-License-Identifier: Apache-2.0
"""Birth records: only the rig that signed one may bring it, and only for a certificate that it describes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from birthmark.ca.errors import Refused
from birthmark.core.birth import BIRTH_MAX_BYTES, sign_birth
from birthmark.core.issuance import Unit, UnitState
from birthmark.pki.crl import read_crl
from birthmark.testing.forge import new_key
from support.ca_parts import ORDER, UNIT, CAParts, birth_record, renewed


def test_a_birth_record_lets_the_certificate_live(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    parts.clock.forward(days=1800)
    parts.certify_rigs()
    assert parts.states() == ["confirmed"]
    assert read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock()).serials == frozenset()
    assert certificate


def test_the_record_is_kept_as_it_came_and_a_repeat_changes_nothing(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.born(board)
    first, again = parts.birth(board, certificate), parts.birth(board, certificate)
    assert first != again
    for token in (first, first, again):
        parts.ca.take_birth(parts.client(), token)
    sha256 = parts.issuance(certificate)["certificate_sha256"]
    with parts.store.reading() as ledger:
        assert ledger.birth(sha256) == first.decode()
    assert [row["act"] for row in parts.administration.audit()].count("birth") == 1


def test_a_record_may_come_late_but_not_after_the_grace_time(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board))
    parts.clock.forward(days=1)
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert (refused.value.status, refused.value.finding) == (409, "ca.birth.dead")


def test_a_repeat_is_taken_even_when_the_certificate_died_since(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    token = parts.birth(board, certificate)
    parts.administration.revoke(parts.issuance(certificate)["serial"], "stolen")
    parts.ca.take_birth(parts.client(), token)
    assert parts.states() == ["revoked"]


@pytest.mark.parametrize("state", [each for each in UnitState if each.dark], ids=lambda state: state.value)
def test_a_birth_that_is_refused_for_its_unit_confirms_nothing(parts: CAParts, state: UnitState) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board))
    # No act leaves such a certificate alive. The birth must not be the act that lets one live on if ever one does.
    dark = Unit(serial=UNIT, chip=None, state=state, since=parts.clock(), order=ORDER)
    with parts.store.writing() as ledger:
        ledger.put_units([dark])
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert refused.value.finding == "ca.unit.transition"
    assert parts.states() == ["issued"]
    with parts.store.reading() as ledger:
        assert ledger.unit(UNIT) == dark
    parts.clock.forward(days=1)
    assert parts.states() == ["revoked"]


def test_a_record_that_another_rig_brings_is_refused(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board), rig="rig-a")
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client("rig-b"), token)
    assert (refused.value.status, refused.value.finding) == (403, "ca.birth.signature")


def test_a_record_in_another_rigs_name_is_refused(parts: CAParts) -> None:
    board = parts.board()
    record = birth_record(board, parts.born(board), rig="rig-b")
    token = sign_birth(record, parts.rig_keys["rig-a"], parts.rigs["rig-a"]).encode()
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client("rig-a"), token)
    assert refused.value.finding == "ca.birth.rig"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit_serial", "BM-000002"),
        ("chip_serial", "FFFFFFFF"),
        ("chip_model", "swtpm"),
        ("product", "Another"),
        ("certificate_serial", "40"),
        ("key_sha256", "0" * 64),
        ("evidence_sha256", "0" * 64),
    ],
)
def test_a_record_that_contradicts_the_ledger_is_refused(parts: CAParts, field: str, value: str) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board), **{field: value})
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert (refused.value.status, refused.value.finding) == (409, "ca.birth.mismatch")
    assert parts.states() == ["issued"]


def test_a_repeat_that_says_something_else_is_refused(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.confirmed(board), unit_serial="BM-000002")
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert refused.value.finding == "ca.birth.mismatch"


def test_a_record_of_a_renewed_certificate_does_not_take_back_its_end(parts: CAParts) -> None:
    board, key = parts.board(), new_key()
    second = renewed(parts, board, parts.confirmed(board), key)
    third = renewed(parts, board, second, new_key())
    parts.administration.revoke(f"{third.serial_number:x}", "stolen")
    dies = parts.issuance(second)["dies"]
    with pytest.raises(Refused):
        parts.ca.take_birth(parts.client(), parts.birth(replace(board, key=key), second))
    assert parts.issuance(second)["dies"] == dies


def test_a_renewed_certificate_is_not_born(parts: CAParts) -> None:
    board, key = parts.board(), new_key()
    second = renewed(parts, board, parts.confirmed(board), key)
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), parts.birth(replace(board, key=key), second))
    assert refused.value.finding == "ca.birth.mismatch"


def test_a_record_of_an_order_that_does_not_name_the_rig_is_refused(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board), rig="rig-z")
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client("rig-z"), token)
    assert refused.value.finding == "ca.1.order-rig"


def test_a_record_of_an_unknown_certificate_is_refused(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board), certificate_sha256="0" * 64)
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert (refused.value.status, refused.value.finding) == (404, "ca.birth.unknown")


@pytest.mark.parametrize("token", [b"", b"a.b.c", b"\xff", b"x" * (BIRTH_MAX_BYTES + 1)])
def test_what_is_no_birth_record_is_refused(parts: CAParts, token: bytes) -> None:
    with pytest.raises(Refused):
        parts.ca.take_birth(parts.client(), token)
    assert parts.last_audit()["act"] == "birth"


def test_a_device_brings_no_birth_records(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.device(certificate), parts.birth(board, certificate))
    assert refused.value.finding == "ca.1.rig"


def test_a_superseded_certificate_is_not_confirmed_any_more(parts: CAParts) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board))
    parts.clock.forward(seconds=timedelta(minutes=5).total_seconds())
    parts.born(type(board)(UNIT, board.chip))
    with pytest.raises(Refused) as refused:
        parts.ca.take_birth(parts.client(), token)
    assert refused.value.finding == "ca.birth.dead"
