# SPDX-License-Identifier: Apache-2.0
"""
Failures in the middle: the process dies, the disk is full, the issuing key does not answer.

Whatever happens and wherever, the same request afterwards gives exactly one living certificate and takes one unit.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuing.signers import Signers
from birthmark.core.errors import StoreError
from birthmark.est.messages import NonceRequest
from birthmark.pki.authorities import Authority
from birthmark.pki.crl import read_crl
from birthmark.pki.errors import TokenFailed
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import new_key
from support.ca_parts import DONE, NOT_DONE, ORDER, CAParts, Crash, FaultyStore

FULL = StoreError("database or disk is full", finding="store.full")


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[CAParts]:
    store = SQLiteCAStore(tmp_path / "ca.sqlite")
    yield CAParts(store)
    store.close()


class DeadKey(ec.EllipticCurvePrivateKey):
    """An issuing key whose token does not answer."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    def sign(self, data: object, signature_algorithm: object) -> bytes:  # noqa: ARG002 pyca's signature
        raise TokenFailed("the session is gone")

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    def exchange(self, algorithm: object, peer_public_key: object) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        raise NotImplementedError

    def private_bytes(self, encoding: object, format: object, encryption_algorithm: object) -> bytes:  # noqa: A002 pyca's name
        raise NotImplementedError

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def __copy__(self) -> "DeadKey":
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> "DeadKey":
        return self


def dead(parts: CAParts) -> Authority:
    return Authority(parts.forge.issuing.certificate, DeadKey(parts.forge.issuing.key))


def one_living(parts: CAParts) -> dict[str, str]:
    (living,) = parts.living()
    assert parts.units_taken() == 1
    return living


CRASHES = {
    "before the intent is written": [NOT_DONE],
    "between intent and signature": [DONE],
    "between signature and record": [None, NOT_DONE],
    "after the record, before the answer": [None, DONE],
}


@pytest.mark.parametrize("faults", CRASHES.values(), ids=CRASHES.keys())
def test_a_repeat_after_a_crash_finishes_what_was_begun(parts: CAParts, faults: list[str | None]) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).enrol(parts.client(), ORDER, csr)
    certificate = parts.enrol(csr)
    assert one_living(parts)["serial"] == f"{certificate.serial_number:x}"
    assert len(parts.states()) == 1
    assert parts.enrol(csr) == certificate


@pytest.mark.parametrize("faults", CRASHES.values(), ids=CRASHES.keys())
def test_a_new_key_after_a_crash_replaces_what_was_begun(parts: CAParts, faults: list[str | None]) -> None:
    board = parts.board()
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).enrol(parts.client(), ORDER, board.csr(parts.nonce()))
    parts.clock.forward(seconds=60)
    certificate = parts.born(replace(board, key=new_key()), "rig-b")
    assert one_living(parts)["serial"] == f"{certificate.serial_number:x}"
    begun = {row["serial"] for row in parts.administration.certificates()} - {one_living(parts)["serial"]}
    revoked = read_crl(parts.crl(), parts.forge.issuing.certificate, parts.clock()).serials
    assert {f"{serial:x}" for serial in revoked} == begun


def test_what_is_finished_after_a_crash_is_what_was_intended(parts: CAParts) -> None:
    board = parts.board()
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, [DONE])).enrol(parts.client(), ORDER, board.csr(parts.nonce()))
    (intended,) = parts.administration.certificates()
    assert intended["state"] == "intended"
    parts.clock.forward(hours=3)
    certificate = parts.born(board, "rig-b")
    assert f"{certificate.serial_number:x}" == intended["serial"]
    assert certificate.not_valid_before_utc.hour == 11


def test_what_was_begun_is_not_signed_after_its_order_was_closed(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, [DONE])).enrol(parts.client(), ORDER, csr)
    parts.close_order(ORDER)
    with pytest.raises(Refused) as refused:
        parts.enrol(csr)
    assert refused.value.finding == "ca.8.order-closed"
    assert parts.states() == ["intended"]


@pytest.mark.parametrize("faults", [[NOT_DONE], [DONE], [None, NOT_DONE], [None, DONE]])
def test_a_renewal_is_repeated_after_a_crash(parts: CAParts, faults: list[str | None]) -> None:
    board, key = parts.board(), new_key()
    current = parts.confirmed(board)
    device = parts.device(current)
    csr = board.renewal_csr(key, parts.ca.grant_nonce(device, None, NonceRequest()).nonce, current)
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).renew(device, csr)
    new = x509.load_der_x509_certificate(parts.ca.renew(device, csr))
    assert [row["serial"] for row in parts.living()] == [f"{c.serial_number:x}" for c in (current, new)]


@pytest.mark.parametrize("faults", [[NOT_DONE], [DONE]])
def test_a_birth_record_is_repeated_after_a_crash(parts: CAParts, faults: list[str | None]) -> None:
    board = parts.board()
    token = parts.birth(board, parts.born(board))
    with pytest.raises(Crash):
        parts.service(FaultyStore(parts.store, faults)).take_birth(parts.client(), token)
    parts.ca.take_birth(parts.client(), token)
    assert parts.states() == ["confirmed"]


def test_on_a_full_disk_nothing_is_signed(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(NotNow) as refused:
        # A signature would be a different failure: this key cannot make one.
        parts.service(FaultyStore(parts.store, [FULL]), dead(parts)).enrol(parts.client(), ORDER, csr)
    assert (refused.value.status, refused.value.finding) == (503, "ca.store")
    assert refused.value.retry_after_s > 0
    assert parts.states() == []
    assert parts.enrol(csr)
    one_living(parts)


def test_a_disk_that_is_full_after_the_signature_gives_nothing_out(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(NotNow) as refused:
        parts.service(FaultyStore(parts.store, [None, FULL])).enrol(parts.client(), ORDER, csr)
    assert refused.value.finding == "ca.store"
    assert parts.states() == ["intended"]
    assert parts.enrol(csr)
    one_living(parts)


def test_a_refusal_that_cannot_be_audited_is_not_answered_as_one(parts: CAParts) -> None:
    with pytest.raises(NotNow) as refused:
        parts.service(FaultyStore(parts.store, [FULL])).enrol(parts.client("rig-z"), ORDER, b"")
    assert refused.value.finding == "ca.store"


def test_an_issuing_key_that_does_not_answer_is_503_and_the_repeat_succeeds(parts: CAParts) -> None:
    csr = parts.board().csr(parts.nonce())
    with pytest.raises(NotNow) as refused:
        parts.service(parts.store, dead(parts)).enrol(parts.client(), ORDER, csr)
    assert (refused.value.status, refused.value.finding) == (503, "ca.signer")
    assert parts.enrol(csr)
    one_living(parts)


def test_a_revocation_list_that_cannot_be_signed_is_503(parts: CAParts) -> None:
    with pytest.raises(NotNow) as refused:
        parts.status(Signers(dead(parts))).full_list()
    assert refused.value.finding == "ca.signer"


def test_a_crash_leaves_a_lease_that_ends_by_itself(parts: CAParts) -> None:
    parts.nonce(rig="rig-a")
    with pytest.raises(Refused):
        parts.nonce(rig="rig-b")
    parts.clock.forward(seconds=60)
    parts.nonce(rig="rig-b")
