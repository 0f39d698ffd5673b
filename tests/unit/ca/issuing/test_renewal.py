# SPDX-License-Identifier: Apache-2.0
"""Rotation: a device renews itself, with a new key in the same chip, over its own certificate."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from birthmark.ca.errors import Refused
from birthmark.core.issuance import ChipID
from birthmark.est.messages import NonceRequest
from birthmark.pki.crl import read_crl
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.testing.forge import new_key
from support.ca_parts import UNIT, Board, CAParts, a_nonce, nonce_for, order, renewed


def revoked(parts: CAParts) -> frozenset[int]:
    return read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock()).serials


def test_a_device_gets_a_certificate_for_its_next_key_under_the_same_names(parts: CAParts) -> None:
    board = parts.board()
    current, key = parts.confirmed(board), new_key()
    new = renewed(parts, board, current, key)
    assert new.subject == current.subject
    san = x509.SubjectAlternativeName
    assert new.extensions.get_extension_for_class(san) == current.extensions.get_extension_for_class(san)
    assert new.public_key() == key.public_key()
    assert parts.states() == ["confirmed", "confirmed"]


def test_the_old_certificate_dies_after_the_overlap_and_the_new_one_does_not(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    renewed(parts, board, current, new_key())
    parts.clock.forward(days=7, seconds=-1)
    assert revoked(parts) == frozenset()
    parts.clock.forward(seconds=1)
    assert revoked(parts) == {current.serial_number}
    assert parts.states() == ["superseded", "confirmed"]


def test_a_renewal_takes_no_quota_and_needs_no_open_order(parts: CAParts) -> None:
    parts.put_order(order(quantity=1))
    board = parts.board()
    current = parts.confirmed(board)
    parts.close_order("order-1")
    parts.clock.forward(days=1000)
    renewed(parts, board, current, new_key())
    assert parts.units_taken() == 1


def test_the_same_renewal_again_gets_the_same_certificate(parts: CAParts) -> None:
    board, key = parts.board(), new_key()
    current = parts.confirmed(board)
    csr = board.renewal_csr(key, nonce_for(parts, current), current)
    first = parts.ca.renew(parts.device(current), csr)
    assert parts.ca.renew(parts.device(current), csr) == first
    assert parts.ca.renew(parts.device(current), board.renewal_csr(key, nonce_for(parts, current), current)) == first


def test_a_renewal_whose_answer_was_lost_is_replaced_by_the_next(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    lost = renewed(parts, board, current, new_key())
    renewed(parts, board, current, new_key())
    assert revoked(parts) == {lost.serial_number}
    assert len(parts.living()) == 2


def test_a_second_renewal_from_one_certificate_does_not_prolong_it(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    renewed(parts, board, current, new_key())
    dies = parts.issuance(current)["dies"]
    parts.clock.forward(days=6)
    renewed(parts, board, current, new_key())
    assert parts.issuance(current)["dies"] == dies


def test_a_revoked_unit_does_not_renew_with_the_certificate_that_it_had_before(parts: CAParts) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    second = renewed(parts, board, first, new_key())
    csr = board.renewal_csr(new_key(), nonce_for(parts, first), first)
    parts.administration.revoke(f"{second.serial_number:x}", "stolen")
    with pytest.raises(Refused) as refused:
        parts.ca.renew(parts.device(first), csr)
    assert refused.value.finding == "ca.re.revoked"
    assert revoked(parts) == {first.serial_number, second.serial_number}


def test_the_certificate_before_can_be_revoked_without_the_one_in_use(parts: CAParts) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    renewed(parts, board, first, new_key())
    parts.administration.revoke(f"{first.serial_number:x}", "rotated early")
    assert parts.states() == ["revoked", "confirmed"]


def test_a_rig_that_holds_the_units_lease_does_not_keep_the_device_from_renewing(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    parts.nonce(board.unit, "rig-b")
    renewed(parts, board, current, new_key())
    assert parts.states() == ["confirmed", "confirmed"]


def test_a_device_renews_again_and_again(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    for _ in range(3):
        current = renewed(parts, board, current, new_key())
        parts.clock.forward(days=30)
    assert parts.states() == ["superseded", "superseded", "superseded", "confirmed"]


def test_a_line_does_not_touch_a_unit_that_lives_on_a_renewed_key(parts: CAParts) -> None:
    board = parts.board()
    renewed(parts, board, parts.confirmed(board), new_key())
    parts.clock.forward(days=8)
    with pytest.raises(Refused) as refused:
        parts.born(replace(board, key=new_key()))
    assert refused.value.finding == "ca.7.chip-alive"


Attempt = Callable[[CAParts, Board, x509.Certificate], object]


def another_subject(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    key, nonce = new_key(), nonce_for(parts, current)
    bundle = board.chip.bundle(board.chip.attest(key.public_key(), nonce))
    san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    parts.ca.renew(parts.device(current), build_csr(key, request_subject(UNIT), bundle, san))


def no_san(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    key, nonce = new_key(), nonce_for(parts, current)
    bundle = board.chip.bundle(board.chip.attest(key.public_key(), nonce))
    parts.ca.renew(parts.device(current), build_csr(key, current.subject, bundle))


def another_chip(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    renewed(parts, replace(board, chip=parts.forge.maker.chip()), current, new_key())


def same_key(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    renewed(parts, board, current, board.key)


def after_revocation(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    csr = board.renewal_csr(new_key(), nonce_for(parts, current), current)
    parts.administration.revoke(parts.issuance(current)["serial"], "stolen")
    parts.ca.renew(parts.device(current), csr)


def nonce_after_revocation(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    del board
    parts.administration.revoke(parts.issuance(current)["serial"], "stolen")
    nonce_for(parts, current)


def with_a_rigs_certificate(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    parts.ca.renew(parts.client(), board.renewal_csr(new_key(), a_nonce(), current))


def without_a_certificate(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    parts.ca.renew(None, board.renewal_csr(new_key(), a_nonce(), current))


def with_a_rigs_nonce(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    csr = board.renewal_csr(new_key(), parts.nonce(), current)
    parts.ca.renew(parts.device(current), csr)


def denied_chip(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    parts.administration.deny_chip(ChipID(parts.forge.maker.name, board.chip.serial), "retired")
    renewed(parts, board, current, new_key())


def nonce_for_another_unit(parts: CAParts, board: Board, current: x509.Certificate) -> None:
    del board
    parts.ca.grant_nonce(parts.device(current), None, NonceRequest(unit="BM-000009"))


REFUSALS: tuple[tuple[Attempt, int, str], ...] = (
    (another_subject, 403, "ca.re.subject"),
    (no_san, 403, "ca.re.subject"),
    (another_chip, 403, "ca.re.chip"),
    (same_key, 409, "ca.re.same-key"),
    (after_revocation, 403, "ca.re.revoked"),
    (nonce_after_revocation, 403, "ca.re.revoked"),
    (with_a_rigs_certificate, 403, "ca.1.device"),
    (without_a_certificate, 403, "ca.1.device"),
    (with_a_rigs_nonce, 403, "ca.6.nonce-rig"),
    (denied_chip, 403, "ca.7.denied"),
    (nonce_for_another_unit, 403, "ca.6.unit"),
)


@pytest.mark.parametrize(("attempt", "status", "finding"), REFUSALS, ids=[row[0].__name__ for row in REFUSALS])
def test_a_renewal_that_is_not_the_devices_own_is_refused(
    parts: CAParts, attempt: Attempt, status: int, finding: str
) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    with pytest.raises(Refused) as refused:
        attempt(parts, board, current)
    assert (refused.value.status, refused.value.finding) == (status, finding)
    assert len(parts.states()) == 1


def test_a_certificate_that_nobody_confirmed_cannot_renew_itself(parts: CAParts) -> None:
    board = parts.board()
    current = parts.born(board)
    with pytest.raises(Refused) as refused:
        nonce_for(parts, current)
    assert (refused.value.status, refused.value.finding) == (409, "ca.re.unconfirmed")


def test_a_superseded_certificate_renews_during_its_overlap_only(parts: CAParts) -> None:
    board = parts.board()
    current = parts.confirmed(board)
    renewed(parts, board, current, new_key())
    parts.clock.now += timedelta(days=7)
    with pytest.raises(Refused) as refused:
        renewed(parts, board, current, new_key())
    assert refused.value.finding == "ca.re.revoked"


@pytest.fixture
def lenient() -> CAParts:
    """An authority whose profile lets a key be certified again for thirty days."""
    parts = CAParts()
    terms = {name: replace(each, same_key_days=30) for name, each in parts.policy.terms.items()}
    parts.policy = replace(parts.policy, terms=terms)
    parts.ca = parts.service(parts.store)
    return parts


def test_a_profile_may_let_a_key_be_certified_again_with_fresh_evidence(lenient: CAParts) -> None:
    board = lenient.board()
    first = lenient.confirmed(board)
    lenient.clock.forward(days=29)
    second = renewed(lenient, board, first, board.key)
    assert second.public_key() == first.public_key()
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc > first.not_valid_after_utc
    lenient.clock.forward(days=7)
    assert lenient.states() == ["superseded", "confirmed"]


def test_a_key_s_time_counts_from_its_first_certificate(lenient: CAParts) -> None:
    board = lenient.board()
    first = lenient.confirmed(board)
    lenient.clock.forward(days=29)
    second = renewed(lenient, board, first, board.key)
    lenient.clock.forward(days=1)
    with pytest.raises(Refused) as refused:
        renewed(lenient, board, second, board.key)
    assert (refused.value.status, refused.value.finding) == (409, "ca.re.old-key")
    assert "30 days after 2026-11-23" in refused.value.message
    renewed(lenient, board, second, new_key())


def test_a_renewal_of_the_same_key_whose_answer_was_lost_gets_the_same_certificate(lenient: CAParts) -> None:
    board = lenient.board()
    current = lenient.confirmed(board)
    csr = board.renewal_csr(board.key, nonce_for(lenient, current), current)
    once, again = (lenient.ca.renew(lenient.device(current), csr) for _ in range(2))
    assert once == again
    assert len(lenient.states()) == 2


def test_a_renewal_of_the_same_key_needs_a_fresh_nonce(lenient: CAParts) -> None:
    board = lenient.board()
    current = lenient.confirmed(board)
    with pytest.raises(Refused) as refused:
        lenient.ca.renew(lenient.device(current), board.renewal_csr(board.key, a_nonce(), current))
    assert refused.value.finding == "ca.6.nonce-unknown"


def test_an_older_key_is_not_certified_again(parts: CAParts) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    second = renewed(parts, board, first, new_key())
    with pytest.raises(Refused) as refused:
        renewed(parts, board, second, board.key)
    assert refused.value.finding == "ca.re.same-key"
