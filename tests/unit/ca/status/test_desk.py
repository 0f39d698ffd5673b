# SPDX-License-Identifier: Apache-2.0
"""Lists, OCSP and the feed of a real ledger; openssl judges the responses."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.errors import NotNow, Refused
from birthmark.ca.issuing.signers import DEFAULT_ISSUER, Signers
from birthmark.ca.life.lifecycle import ADMINISTRATOR, Lifecycle
from birthmark.ca.life.units import Move
from birthmark.ca.status.desk import SigningDesk, StatusIssuer, StatusTerms
from birthmark.ca.status.publishing import Signed, SigningBudget
from birthmark.core.errors import StoreError
from birthmark.core.revocation import decode_page, encode_page
from birthmark.core.roles import Role
from birthmark.net.asgi import NOBODY, Peer
from birthmark.pki.crl import Partition, RevocationList, read_crl
from birthmark.pki.ocsp import CertID, CertStatus, ErrorStatus
from birthmark.pki.ocsp_verification import read_response
from birthmark.testing.forge import new_key
from support.ca_parts import UNIT, CAParts, FaultyStore, renewed
from support.ocsp_parts import responder_of
from support.officers import Person

BASE = "http://crl.example/v1/crl"
COUNT = 4


def desk(parts: CAParts, *, ocsp: bool = True, store: FaultyStore | None = None, count: int = COUNT) -> SigningDesk:
    at = parts.clock()
    terms = StatusTerms(
        partitions=count,
        list_life=timedelta(hours=1),
        response_life=timedelta(hours=8),
        budget=SigningBudget.full(0.001, 3, at),
    )
    responder = responder_of(parts.forge.issuing, at) if ocsp else None
    marks = Signers(parts.forge.issuing).issued_by(DEFAULT_ISSUER)
    issuer = StatusIssuer(authority=parts.forge.issuing, marks=marks, list_base=BASE, responder=responder)
    return SigningDesk(store or parts.store, {DEFAULT_ISSUER: issuer}, terms, parts.policy.trust, parts.clock)


def read(parts: CAParts, signed: Signed | None, partition: Partition | None = None) -> RevocationList:
    assert signed is not None
    return read_crl(signed.body, parts.forge.issuing.certificate, parts.clock(), partition)


def said(parts: CAParts, status: SigningDesk, certificate: x509.Certificate) -> CertStatus:
    issuing = parts.forge.issuing.certificate
    answer = status.ocsp((CertID.of(issuing, certificate.serial_number),))
    assert isinstance(answer, Signed)
    return read_response(answer.body, issuing, certificate.serial_number, parts.clock()).standing.status


@pytest.fixture
def life(parts: CAParts) -> Lifecycle:
    return Lifecycle(parts.store, parts.clock)


def test_a_list_is_signed_again_when_it_would_say_something_else(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    certificate = parts.confirmed(parts.board())
    first = status.full_list()
    parts.clock.forward(seconds=5)
    assert status.full_list() == first
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    parts.clock.forward(seconds=1)
    second = status.full_list()
    assert read(parts, second).serials == {certificate.serial_number}
    read(parts, second).require_follows(read(parts, first))


def test_a_list_says_what_dies_of_time_alone_and_is_renewed_before_it_ends(parts: CAParts) -> None:
    status = desk(parts)
    certificate = parts.born(parts.board())
    first = status.full_list()
    assert read(parts, first).serials == frozenset()
    parts.clock.forward(minutes=50)
    assert read(parts, status.full_list()).number > read(parts, first).number if first else False
    parts.clock.forward(days=1)
    assert read(parts, status.full_list()).serials == {certificate.serial_number}


def test_workers_hand_out_one_list_with_growing_numbers(parts: CAParts, life: Lifecycle) -> None:
    one, other = desk(parts), desk(parts)
    parts.confirmed(parts.board())
    assert one.full_list() == other.full_list()
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    parts.clock.forward(seconds=1)
    assert other.full_list() == one.full_list()
    assert desk(parts).full_list() == one.full_list()


def test_each_certificate_is_on_the_list_of_its_partition_alone(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    certificate = parts.confirmed(parts.board())
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    found = [Partition(BASE, COUNT, index) for index in range(COUNT)]
    named = [read(parts, status.partition_list(COUNT, each.index), each).serials for each in found]
    assert [bool(serials) for serials in named] == [each.covers(certificate.serial_number) for each in found]
    assert status.partition_list(COUNT + 1, 0) is None
    assert status.partition_list(COUNT, COUNT) is None
    assert desk(parts, count=0).partition_list(1, 0) is None


def test_what_has_expired_leaves_the_lists_after_it_stood_on_one(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    certificate = parts.confirmed(parts.board())
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    parts.clock.forward(days=1824)
    assert read(parts, status.full_list()).serials == {certificate.serial_number}
    parts.clock.forward(days=2)
    assert read(parts, status.full_list()).serials == {certificate.serial_number}
    parts.clock.forward(hours=2)
    assert read(parts, status.full_list()).serials == frozenset()


def test_ocsp_follows_a_suspension_and_its_release(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    certificate = parts.confirmed(parts.board())
    assert said(parts, status, certificate) is CertStatus.GOOD
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    assert said(parts, status, certificate) is CertStatus.REVOKED
    with parts.store.writing() as ledger:
        ledger.release([f"{certificate.serial_number:x}"], parts.clock())
    parts.clock.forward(seconds=1)
    assert said(parts, status, certificate) is CertStatus.GOOD


def test_responses_are_made_before_they_are_asked_for(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    board = parts.board()
    certificate = parts.confirmed(board)
    assert status.presign() == 1
    assert status.presign() == 0
    renewed(parts, board, certificate, new_key())
    assert status.presign() == 2  # the new one; and the old one, whose end was decided
    parts.clock.forward(days=7)
    assert status.presign() == 2  # one has died of time, the other's response has aged
    silent = FaultyStore(parts.store, [StoreError("no writes")] * 9)
    assert said(parts, desk(parts, store=silent), certificate) is CertStatus.REVOKED
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    with pytest.raises(NotNow):
        said(parts, desk(parts, store=silent), parts.confirmed(parts.board("BM-000002")))


def test_strangers_cause_few_signatures(parts: CAParts) -> None:
    status, issuing = desk(parts), parts.forge.issuing.certificate
    unknown = (CertID.of(issuing, 0x4711),)
    answers = [status.ocsp(unknown) for _ in range(4)]
    assert [isinstance(each, Signed) for each in answers] == [True, True, True, False]
    assert answers[-1] is ErrorStatus.TRY_LATER
    assert status.ocsp((CertID.of(parts.operations.certificate, 0x4711),)) is ErrorStatus.UNAUTHORIZED


def test_without_a_responder_there_is_no_ocsp(parts: CAParts) -> None:
    status = desk(parts, ocsp=False)
    assert status.presign() == 0
    with pytest.raises(Refused) as refused:
        status.ocsp((CertID.of(parts.forge.issuing.certificate, 0x4711),))
    assert (refused.value.finding, refused.value.status) == ("ca.ocsp.none", 404)


def test_openssl_believes_what_the_ledger_says(parts: CAParts, life: Lifecycle, tmp_path: Path) -> None:
    status = desk(parts)
    certificate = parts.confirmed(parts.board())
    chain = (parts.forge.issuing.certificate, parts.forge.root.certificate)
    for name, each in (("issuing", chain[0]), ("root", chain[1]), ("device", certificate)):
        tmp_path.joinpath(f"{name}.pem").write_bytes(each.public_bytes(Encoding.PEM))
    life.move(ADMINISTRATOR, UNIT, Move.SUSPEND, "stolen?")
    parts.clock.now = parts.clock.now.replace(microsecond=0)
    answer = status.ocsp((CertID.of(chain[0], certificate.serial_number),))
    assert isinstance(answer, Signed)
    tmp_path.joinpath("answer.der").write_bytes(answer.body)
    command = ["openssl", "ocsp", "-respin", "answer.der", "-issuer", "issuing.pem", "-cert", "device.pem"]
    at = str(int(parts.clock().timestamp()) + 1)
    command += ["-CAfile", "root.pem", "-verify_other", "issuing.pem", "-attime", at, "-validity_period", "999999999"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Response verify OK" in done.stderr, done.stderr
    assert "device.pem: revoked" in done.stdout
    assert "certificateHold" in done.stdout


def follower(parts: CAParts, role: Role) -> Peer:
    der = Person.hired(parts.operations, "cloud", role, parts.clock()).certificate.public_bytes(Encoding.DER)
    return Peer(der, (der,))


def test_the_feed_says_every_decision_in_order_without_a_gap(parts: CAParts, life: Lifecycle) -> None:
    status, client = desk(parts), follower(parts, Role.FOLLOWER)
    board = parts.board()
    first = parts.confirmed(board)
    second = renewed(parts, board, first, new_key())
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    page = decode_page(encode_page(status.changes(client, 0)), 0)
    serials = [f"{each.serial_number:x}" for each in (first, first, second)]
    assert [(each.serial, each.ending) for each in page.changes] == list(
        zip(serials, ("rotated", "revoked", "revoked"), strict=True)
    )
    later = status.changes(client, 2)
    assert (later.head, [each.number for each in later.changes]) == (3, [3])
    assert status.changes(client, 3).changes == ()
    assert status.changes(client, 9).head == 3


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER])
def test_who_reads_everything_reads_the_feed_too(parts: CAParts, role: Role) -> None:
    assert desk(parts).changes(follower(parts, role), 0).changes == ()


@pytest.mark.parametrize("client", [None, Role.LINE_LEAD, Role.APPROVER])
def test_who_may_not_read_the_feed_is_refused(parts: CAParts, client: Role | None) -> None:
    with pytest.raises(Refused) as refused:
        desk(parts).changes(NOBODY if client is None else follower(parts, client), 0)
    assert (refused.value.finding, refused.value.status) == ("ca.feed.client", 403)


def test_a_list_says_up_to_where_it_holds_the_feed(parts: CAParts, life: Lifecycle) -> None:
    status = desk(parts)
    board = parts.board()
    first = parts.confirmed(board)
    life.revoke_unit(ADMINISTRATOR, UNIT, "stolen")
    board = parts.board("BM-000002")
    first = parts.confirmed(board)
    renewed(parts, board, first, new_key())  # its old certificate dies in a week: that holds the number back
    assert read(parts, status.full_list()).feed_position == 1
    parts.clock.forward(days=7)
    assert read(parts, status.full_list()).feed_position == 2
