# SPDX-License-Identifier: Apache-2.0
"""The nine demands, in their order: who fails one gets its finding and status, an audit row, and no certificate."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import CertificateSigningRequestBuilder, SubjectAlternativeName

from birthmark.ca.demands import Client
from birthmark.ca.errors import Refused
from birthmark.core.issuance import ChipID
from birthmark.est.messages import NonceRequest
from birthmark.pki.authorities import make_root
from birthmark.pki.csr import build_csr
from birthmark.pki.names import hardware_module_name, request_subject
from birthmark.testing.forge import TPM, Forge, new_key
from birthmark.testing.statements import PKIX_LIES, TPM_LIES, Lie, PKIXSays, TPMSays
from support.ca_parts import NOW, ORDER, UNIT, Board, CAParts, a_nonce, order

Attempt = Callable[[CAParts], object]


def no_client(parts: CAParts) -> None:
    parts.ca.enrol(None, ORDER, parts.board().csr(a_nonce()))


def device_as_rig(parts: CAParts) -> None:
    certificate = parts.confirmed(parts.board())
    parts.ca.enrol(parts.device(certificate), ORDER, parts.board().csr(a_nonce()))


def rig_of_another_root(parts: CAParts) -> None:
    stranger = CAParts()
    parts.ca.enrol(stranger.client(), ORDER, parts.board().csr(a_nonce()))


def expired_rig(parts: CAParts) -> None:
    parts.put_order(order(not_after=NOW + timedelta(days=9999)))
    parts.clock.forward(days=400)
    parts.ca.enrol(parts.client(), ORDER, parts.board().csr(a_nonce()))


def unknown_order(parts: CAParts) -> None:
    parts.ca.enrol(parts.client(), "order-9", parts.board().csr(a_nonce()))


def no_order(parts: CAParts) -> None:
    parts.ca.enrol(parts.client(), None, parts.board().csr(a_nonce()))


def rig_outside_its_order(parts: CAParts) -> None:
    parts.ca.enrol(parts.client("rig-z"), ORDER, parts.board().csr(a_nonce()))


def no_csr(parts: CAParts) -> None:
    parts.enrol(b"0\x03\x02\x01\x00")


def no_possession(parts: CAParts) -> None:
    csr = bytearray(parts.board().csr(parts.nonce()))
    csr[-1] ^= 1
    parts.enrol(bytes(csr))


def weak_key(parts: CAParts) -> None:
    weak = rsa.generate_private_key(65_537, 1024)  # noqa: S505 weakness is the point
    builder = CertificateSigningRequestBuilder().subject_name(request_subject(UNIT))
    parts.enrol(builder.sign(weak, hashes.SHA256()).public_bytes(Encoding.DER))


def more_names_than_the_unit(parts: CAParts) -> None:
    board = parts.board()
    bundle = board.chip.bundle(board.chip.attest(board.key.public_key(), parts.nonce()))
    subject = parts.rigs["rig-a"].subject
    parts.enrol(build_csr(board.key, subject, bundle))


def a_san_of_its_own(parts: CAParts) -> None:
    board = parts.board()
    bundle = board.chip.bundle(board.chip.attest(board.key.public_key(), parts.nonce()))
    san = SubjectAlternativeName([hardware_module_name(board.chip.model.hw_type, board.chip.serial)])
    parts.enrol(build_csr(board.key, request_subject(UNIT), bundle, san))


def no_evidence(parts: CAParts) -> None:
    parts.enrol(build_csr(new_key(), request_subject(UNIT), None))


def evidence_that_is_no_bundle(parts: CAParts) -> None:
    parts.enrol(build_csr(new_key(), request_subject(UNIT), b"0\x00"))


def unendorsed_maker(parts: CAParts) -> None:
    board = replace(parts.board(), chip=Forge.at(NOW).maker.chip())
    parts.enrol(board.csr(parts.nonce()))


def evidence_of_another_key(parts: CAParts) -> None:
    board = parts.board()
    bundle = board.chip.bundle(board.chip.attest(new_key().public_key(), parts.nonce()))
    parts.enrol(build_csr(board.key, request_subject(UNIT), bundle))


def foreign_nonce(parts: CAParts) -> None:
    parts.enrol(parts.board().csr(a_nonce()))


def nonce_of_the_other_rig(parts: CAParts) -> None:
    parts.enrol(parts.board().csr(parts.nonce(rig="rig-b")))


def nonce_of_another_unit(parts: CAParts) -> None:
    parts.enrol(parts.board().csr(parts.nonce("BM-000002")))


def used_nonce(parts: CAParts) -> None:
    board, nonce = parts.board(), parts.nonce()
    parts.enrol(board.csr(nonce))
    parts.enrol(replace(board, key=new_key()).csr(nonce))


def expired_nonce(parts: CAParts) -> None:
    nonce = parts.nonce()
    parts.clock.forward(seconds=60)
    parts.enrol(parts.board().csr(nonce))


def replaced_nonce(parts: CAParts) -> None:
    nonce = parts.nonce()
    parts.nonce()
    parts.enrol(parts.board().csr(nonce))


def unit_in_work_elsewhere(parts: CAParts) -> None:
    parts.nonce(rig="rig-a")
    parts.nonce(rig="rig-b")


def denied_chip(parts: CAParts) -> None:
    board = parts.board()
    parts.administration.deny_chip(ChipID(parts.forge.maker.name, board.chip.serial), "lost at the forwarder")
    parts.born(board)


def revoked_key(parts: CAParts) -> None:
    board = parts.board()
    parts.administration.revoke(parts.issuance(parts.born(board))["serial"], "scrapped")
    parts.born(board)


def chip_that_lives_in_another_unit(parts: CAParts) -> None:
    board = parts.board()
    parts.born(board)
    parts.born(replace(board, unit="BM-000002", key=new_key()))


def new_key_for_a_confirmed_chip(parts: CAParts) -> None:
    board = parts.board()
    parts.confirmed(board)
    parts.born(replace(board, key=new_key()))


def confirmed_chip_under_another_order(parts: CAParts) -> None:
    parts.put_order(order("order-2"))
    board = parts.board()
    parts.confirmed(board)
    parts.born(board, label="order-2")


def unit_that_lives_with_another_chip(parts: CAParts) -> None:
    parts.born(parts.board())
    parts.born(parts.board())


def closed_order(parts: CAParts) -> None:
    parts.close_order(ORDER)
    parts.born(parts.board())


def order_of_the_past(parts: CAParts) -> None:
    parts.put_order(order(not_after=NOW - timedelta(seconds=1)))
    parts.born(parts.board())


def order_of_the_future(parts: CAParts) -> None:
    parts.put_order(order(not_before=NOW + timedelta(seconds=1)))
    parts.born(parts.board())


def order_for_other_chips(parts: CAParts) -> None:
    parts.put_order(order(chip_models=("optiga-trust-m",)))
    parts.born(parts.board(model=TPM))


def one_unit_too_many(parts: CAParts) -> None:
    parts.put_order(order(quantity=1))
    parts.born(parts.board())
    parts.born(parts.board("BM-000002"))


def profile_that_is_not_there(parts: CAParts) -> None:
    parts.put_order(order(profile="device-1999"))
    parts.born(parts.board())


def retired_profile(parts: CAParts) -> None:
    parts.put_order(order(profile="device-2016"))
    parts.born(parts.board())


def key_that_the_profile_does_not_certify(parts: CAParts) -> None:
    parts.born(replace(parts.board(), key=new_key(ec.SECP384R1())))


REFUSALS: tuple[tuple[Attempt, int, str], ...] = (
    (no_client, 403, "ca.1.rig"),
    (device_as_rig, 403, "ca.1.rig"),
    (rig_of_another_root, 403, "ca.1.rig"),
    (expired_rig, 403, "ca.1.rig"),
    (unknown_order, 404, "ca.8.unknown"),
    (no_order, 404, "ca.8.unknown"),
    (rig_outside_its_order, 403, "ca.1.order-rig"),
    (no_csr, 400, "csr.malformed"),
    (no_possession, 400, "csr.possession"),
    (weak_key, 400, "csr.algorithm"),
    (more_names_than_the_unit, 400, "ca.2.csr"),
    (a_san_of_its_own, 400, "ca.2.csr"),
    (no_evidence, 400, "ca.3.evidence"),
    (evidence_that_is_no_bundle, 400, "evidence.malformed"),
    (unendorsed_maker, 403, "evidence.ak.unendorsed"),
    (evidence_of_another_key, 403, "evidence.key.mismatch"),
    (foreign_nonce, 403, "ca.6.nonce-unknown"),
    (nonce_of_the_other_rig, 403, "ca.6.nonce-rig"),
    (nonce_of_another_unit, 403, "ca.6.nonce-unit"),
    (used_nonce, 403, "ca.6.nonce-used"),
    (expired_nonce, 403, "ca.6.nonce-expired"),
    (replaced_nonce, 403, "ca.6.nonce-unknown"),
    (unit_in_work_elsewhere, 409, "ca.6.unit-in-work"),
    (denied_chip, 403, "ca.7.denied"),
    (revoked_key, 403, "ca.7.denied"),
    (chip_that_lives_in_another_unit, 409, "ca.7.chip-alive"),
    (new_key_for_a_confirmed_chip, 409, "ca.7.chip-alive"),
    (confirmed_chip_under_another_order, 409, "ca.7.chip-alive"),
    (unit_that_lives_with_another_chip, 409, "ca.7.unit-taken"),
    (closed_order, 403, "ca.8.order-closed"),
    (order_of_the_past, 403, "ca.8.window"),
    (order_of_the_future, 403, "ca.8.window"),
    (order_for_other_chips, 403, "ca.8.chip-model"),
    (one_unit_too_many, 403, "ca.8.quota"),
    (profile_that_is_not_there, 403, "ca.9.profile"),
    (retired_profile, 403, "ca.9.profile"),
    (key_that_the_profile_does_not_certify, 403, "ca.9.algorithm"),
)


@pytest.mark.parametrize(("attempt", "status", "finding"), REFUSALS, ids=[row[0].__name__ for row in REFUSALS])
def test_who_fails_a_demand_is_refused(parts: CAParts, attempt: Attempt, status: int, finding: str) -> None:
    with pytest.raises(Refused) as refused:
        attempt(parts)
    assert (refused.value.status, refused.value.finding) == (status, finding)


@pytest.mark.parametrize(("attempt", "status", "finding"), REFUSALS[1:], ids=[row[0].__name__ for row in REFUSALS[1:]])
def test_a_refusal_is_audited_and_leaves_nothing_else(
    parts: CAParts, attempt: Attempt, status: int, finding: str
) -> None:
    del status
    with pytest.raises(Refused):
        attempt(parts)
    row = parts.last_audit()
    assert row["finding"] == finding
    assert len(row["fingerprint"]) == 64
    assert "intended" not in parts.states()


def test_a_client_without_a_certificate_writes_nothing_to_the_disk(parts: CAParts) -> None:
    before = list(parts.administration.audit())
    with pytest.raises(Refused):
        no_client(parts)
    assert list(parts.administration.audit()) == before


def test_the_audit_row_names_rig_unit_and_chip(parts: CAParts) -> None:
    board = parts.board()
    with pytest.raises(Refused):
        parts.enrol(board.csr(a_nonce()))
    row = parts.last_audit()
    assert (row["act"], row["who"], row["unit"], row["chip"]) == ("enrol", "rig:rig-a", UNIT, board.chip.serial)
    assert row["order"] == ORDER


@pytest.mark.parametrize("lie", PKIX_LIES, ids=lambda lie: lie.name)
def test_no_lie_of_an_apdu_chip_gets_a_certificate(parts: CAParts, lie: Lie[PKIXSays]) -> None:
    board = parts.board()
    told_lie(parts, board, lie.finding, lie.told(board.chip.pkix_says(board.key.public_key(), parts.nonce())))


@pytest.mark.parametrize("lie", TPM_LIES, ids=lambda lie: lie.name)
def test_no_lie_of_a_tpm_gets_a_certificate(parts: CAParts, lie: Lie[TPMSays]) -> None:
    board = parts.board(model=TPM)
    told_lie(parts, board, lie.finding, lie.told(board.chip.tpm_says(board.key.public_key(), parts.nonce())))


@pytest.mark.parametrize("nonce", [bytes.fromhex("00ff55aa"), bytes(31), bytes(33)])
def test_a_tpms_evidence_with_a_nonce_that_is_not_ours_gets_no_certificate(parts: CAParts, nonce: bytes) -> None:
    board = parts.board(model=TPM)
    parts.nonce()
    told_lie(parts, board, "ca.6.nonce-unknown", board.chip.tpm_says(board.key.public_key(), nonce))


def told_lie(parts: CAParts, board: Board, finding: str, says: PKIXSays | TPMSays) -> None:
    csr = build_csr(board.key, request_subject(UNIT), board.chip.bundle(board.chip.state(says)))
    with pytest.raises(Refused) as refused:
        parts.enrol(csr)
    assert refused.value.finding == finding
    assert parts.states() == []


def test_waiting_for_a_leased_unit_is_said_in_seconds(parts: CAParts) -> None:
    parts.nonce(rig="rig-a")
    parts.clock.forward(seconds=18)
    with pytest.raises(Refused) as refused:
        parts.nonce(rig="rig-b")
    assert refused.value.retry_after_s == 42
    parts.clock.forward(seconds=42)
    assert parts.nonce(rig="rig-b")


@pytest.mark.parametrize("length", [8, 31, 33, 64])
def test_a_nonce_of_another_length_is_not_given(parts: CAParts, length: int) -> None:
    with pytest.raises(Refused) as refused:
        parts.ca.grant_nonce(parts.client(), ORDER, NonceRequest(length=length, unit=UNIT))
    assert refused.value.finding == "ca.6.nonce-length"


@pytest.mark.parametrize("unit", [None, "no serial", "bm-1"])
def test_a_rig_must_name_a_unit(parts: CAParts, unit: str | None) -> None:
    with pytest.raises(Refused) as refused:
        parts.ca.grant_nonce(parts.client(), ORDER, NonceRequest(unit=unit))
    assert refused.value.finding == "ca.6.unit"


def test_a_client_that_is_its_own_root_is_nobody(parts: CAParts) -> None:
    root = make_root("Mallory", "root", new_key(), NOW)
    with pytest.raises(Refused) as refused:
        parts.ca.enrol(Client(root.certificate, ()), ORDER, b"")
    assert refused.value.finding == "ca.1.rig"
