# SPDX-License-Identifier: Apache-2.0
"""A first certificate: what it says, who gets the same one again, and what a new key supersedes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.errors import Pending, Refused
from birthmark.est import wishes
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.verdict import require
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.cmw import read_cmw
from birthmark.pki.crl import read_crl
from birthmark.pki.csr import read_csr
from birthmark.pki.names import HardwareModule, device_subject, read_hardware_module_name
from birthmark.pki.paths import Purpose, TrustAnchors, validate_path
from birthmark.testing.forge import APDU, ORGANIZATION, PRODUCT, TPM, Model, new_key
from support.ca_parts import NOW, ORDER, UNIT, CAParts, order


def revoked(parts: CAParts) -> frozenset[int]:
    return read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock()).serials


@pytest.mark.parametrize("model", [APDU, TPM], ids=["apdu", "tpm"])
def test_the_certificate_names_the_unit_its_chip_and_carries_the_requests_evidence(
    parts: CAParts, model: Model
) -> None:
    board = parts.board(model=model)
    csr = board.csr(parts.nonce())
    certificate = parts.enrol(csr)
    assert certificate.subject == device_subject(UNIT, PRODUCT, ORGANIZATION)
    assert read_hardware_module_name(certificate) == HardwareModule(model.hw_type, board.chip.serial)
    assert read_cmw(certificate) == read_csr(csr).bundle
    assert len(certificate.public_bytes(Encoding.DER)) <= 1728
    trust = TrustAnchors((parts.forge.root.certificate,), (parts.forge.issuing.certificate,))
    assert validate_path(certificate, (), trust, NOW, Purpose.CLIENT)
    require(appraise(read_cmw(certificate), read_csr(csr).spki, parts.forge.endorsements(), NOW))


def test_the_certificate_lives_as_long_as_its_profile_says(parts: CAParts) -> None:
    certificate = parts.born(parts.board())
    assert certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert certificate.not_valid_after_utc == NOW + timedelta(days=1825)


def test_the_same_request_again_gets_the_same_certificate_and_takes_no_quota(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    assert parts.enrol(csr) == parts.enrol(csr)
    assert parts.units_taken() == 1


def test_a_used_nonce_serves_its_own_request_even_after_it_expired(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    first = parts.enrol(csr)
    parts.clock.forward(minutes=10)
    assert parts.enrol(csr) == first


def test_the_same_key_through_the_other_rig_gets_the_same_certificate(parts: CAParts) -> None:
    board = parts.board()
    first = parts.born(board, "rig-a")
    assert parts.born(board, "rig-b") == first
    assert parts.units_taken() == 1
    assert parts.states() == ["issued"]


def test_a_finished_unit_gets_its_certificate_again(parts: CAParts) -> None:
    board = parts.board()
    first = parts.confirmed(board)
    assert parts.born(board, "rig-b") == first
    assert parts.states() == ["confirmed"]


def test_a_new_key_supersedes_a_certificate_that_was_never_confirmed(parts: CAParts) -> None:
    board = parts.board()
    first = parts.born(board)
    second = parts.born(replace(board, key=new_key()), "rig-b")
    assert parts.states() == ["superseded", "issued"]
    assert revoked(parts) == {first.serial_number}
    assert second.serial_number != first.serial_number
    assert parts.units_taken() == 1


def test_an_unconfirmed_certificate_revokes_itself_after_its_grace_time(parts: CAParts) -> None:
    certificate = parts.born(parts.board())
    parts.clock.forward(days=1, seconds=-1)
    assert revoked(parts) == frozenset()
    parts.clock.forward(seconds=1)
    assert revoked(parts) == {certificate.serial_number}
    assert parts.states() == ["revoked"]


def test_a_unit_whose_certificate_died_unconfirmed_may_come_back_with_its_key(parts: CAParts) -> None:
    board = parts.board()
    first = parts.born(board)
    parts.clock.forward(days=2)
    second = parts.born(board)
    assert second.serial_number != first.serial_number
    assert parts.states() == ["revoked", "issued"]
    assert parts.units_taken() == 1


def test_a_revoked_unit_stays_bound_to_its_chip(parts: CAParts) -> None:
    first = parts.confirmed(parts.board())
    parts.administration.revoke(parts.issuance(first)["serial"], "board scrapped")
    with pytest.raises(Refused) as refused:
        parts.born(parts.board())
    assert refused.value.finding == "ca.7.unit-chip"


def test_an_expired_certificate_leaves_its_unit_and_chip_free(parts: CAParts) -> None:
    parts.put_order(order("order-2", not_after=NOW + timedelta(days=9000)))
    board = parts.board()
    parts.confirmed(board)
    parts.clock.forward(days=1825)
    parts.certify_rigs()
    parts.born(replace(board, key=new_key()), label="order-2")
    assert len(parts.living()) == 1


def test_the_quota_counts_units_and_not_requests(parts: CAParts) -> None:
    parts.put_order(order(quantity=2))
    first, second = parts.board(), parts.board("BM-000002")
    for board in (first, second, first, second, replace(first, key=new_key())):
        parts.born(board)
    assert parts.units_taken() == 2
    with pytest.raises(Refused, match="all 2 units"):
        parts.born(parts.board("BM-000003"))


def test_a_quota_that_is_raised_lets_the_order_go_on(parts: CAParts) -> None:
    parts.put_order(order(quantity=1))
    parts.born(parts.board())
    parts.put_order(order(quantity=2))
    parts.born(parts.board("BM-000002"))
    assert parts.units_taken() == 2


def test_a_refused_request_leaves_its_nonce_unused(parts: CAParts) -> None:
    parts.put_order(order(chip_models=("swtpm",)))
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(Refused, match="not for chips"):
        parts.enrol(csr)
    parts.put_order(order())
    assert parts.enrol(csr)


def test_a_second_chip_with_the_same_serial_is_the_same_chip(parts: CAParts) -> None:
    board = parts.board()
    parts.born(board)
    twin = replace(board, unit="BM-000002", key=new_key(), chip=parts.forge.maker.chip(APDU, board.chip.serial))
    with pytest.raises(Refused) as refused:
        parts.born(twin)
    assert refused.value.finding == "ca.7.chip-alive"


def test_a_granted_request_is_audited_with_its_certificate(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.born(board)
    row = parts.last_audit()
    assert (row["act"], row["finding"], row["who"], row["order"]) == ("enrol", "", "rig:rig-a", ORDER)
    assert (row["unit"], row["chip"]) == (UNIT, board.chip.serial)
    assert row["certificate"] == f"{certificate.serial_number:x}"


def test_no_nonce_is_kept_or_audited(parts: CAParts) -> None:
    nonce = parts.nonce()
    kept = repr(parts.store.__dict__) + repr(list(parts.administration.audit()))
    assert nonce.hex() not in kept
    assert repr(nonce) not in kept


def test_a_p384_key_is_certified_where_the_profile_says_so(parts: CAParts) -> None:
    parts.put_order(order(profile="device-p384"))
    certificate = parts.born(replace(parts.board(), key=new_key(ec.SECP384R1())))
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"


def test_the_state_of_a_certificate_is_told_to_rigs_only(parts: CAParts) -> None:
    board = parts.board()
    certificate = parts.confirmed(board)
    sha256 = parts.issuance(certificate)["certificate_sha256"]
    told = parts.ca.certificate_state(parts.client("rig-b"), sha256)
    assert told == {"unit_serial": UNIT, "chip_serial": board.chip.serial, "state": "confirmed", "order": ORDER}
    with pytest.raises(Refused) as refused:
        parts.ca.certificate_state(parts.device(certificate), sha256)
    assert refused.value.finding == "ca.1.rig"
    with pytest.raises(Refused) as refused:
        parts.ca.certificate_state(parts.client(), "0" * 64)
    assert (refused.value.status, refused.value.finding) == (404, "ca.certificate.unknown")


def test_the_ca_says_which_attributes_it_wants(parts: CAParts) -> None:
    first, renewal = (wishes.read(parts.attributes.wanted(None, label)) for label in (ORDER, None))
    for each in (first, renewal):
        assert each.attestation
        assert each.key is not None
        assert wishes.algorithm_of(each.key) is KeyAlgorithm.P256
    assert [len(each.subject or ()) for each in (first, renewal)] == [1, 3]


def test_labels_that_name_no_order_leave_nothing_in_memory_whoever_asks_about_them(parts: CAParts) -> None:
    for number in range(100):
        assert parts.attributes.wanted(None, f"no-order-{number}")
        assert parts.attributes.known(None, f"no-order-{number}") is None
    assert parts.attributes.wanted(None, ORDER)
    assert len(parts.attributes._known) == 1


def test_a_request_that_waits_for_an_approval_keeps_its_nonce(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    parts.put_order(order(approved_at=None))
    parts.clock.forward(seconds=1)
    with pytest.raises(Pending) as told:
        parts.enrol(csr)
    assert told.value.finding == "ca.8.unapproved"
    parts.clock.forward(seconds=told.value.retry_after_s + 1)
    parts.put_order(order(approved_at=parts.clock()))
    assert parts.enrol(csr)
